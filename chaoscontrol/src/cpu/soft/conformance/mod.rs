//! The software CPU against the host's: random instructions with random state run
//! natively and in `soft`, and everything a program could see is compared.
//!
//! `CHAOS_CONFORMANCE_SEED` repeats a run, `CHAOS_CONFORMANCE_CASES` makes it longer,
//! `CHAOS_CONFORMANCE_CODE` keeps to codes whose name contains it.

mod case;
mod compare;
pub mod excluded;
mod guest;
pub mod host;
mod prepare;
mod random;
pub mod sabotage;
pub mod state;
mod templates;
mod tests;

use state::Registers;

/// Where the code stands.
pub const CODE: u64 = 0x90_0000;
const CODE_SIZE: usize = 0x1000;
/// A page that code cannot change, with the host's two ways out; not mapped in `soft`.
pub const EXIT: u64 = 0x98_0000;
/// The memory that code works on.
pub const ARENA: u64 = 0xA0_0000;
pub const ARENA_SIZE: usize = 0x2000;
/// Bytes before and behind the arena that are not mapped.
const GUARD: u64 = 0x1_0000;

/// The 7 bytes of a jump through the pointer at `exit`.
fn jump_to(exit: u64) -> Vec<u8> {
    [&[0xFF, 0x24, 0x25], &(exit as u32).to_le_bytes()[..]].concat()
}

/// How a piece of code ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub registers: Registers,
    pub end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// At the first or second exit.
    Landed(u8),
    Fault {
        vector: u8,
        /// Of a page fault.
        error: u64,
        /// Of a page fault.
        address: u64,
        rip: u64,
    },
}

impl Outcome {
    fn landed(registers: Registers, exit: u8) -> Outcome {
        Outcome {
            registers,
            end: End::Landed(exit),
        }
    }

    fn fault(registers: Registers, vector: u8, error: u64, address: u64, rip: u64) -> Outcome {
        let paging = |v| if vector == 14 { v } else { 0 };
        Outcome {
            registers,
            end: End::Fault {
                vector,
                error: paging(error),
                address: paging(address),
                rip,
            },
        }
    }
}
