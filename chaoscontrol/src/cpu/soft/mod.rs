//! The software CPU: x86-64 in Rust, exact to the instruction.
//!
//! Guest code is decoded once into cached basic blocks of [`op::Op`]s (`translate`),
//! which the run loop (`core`) executes. Caches are invisible: the guest behaves as
//! if there were no TLB and no block cache.
//!
//! `sse`, `mmx` and `x87` consist of the host's own instructions. On a host that lacks
//! these they are not there, and no machine is made: see [`super::supported`].

mod blocks;
mod code;
#[cfg(test)]
mod conformance;
pub mod core;
pub mod coverage;
mod exceptions;
mod fetch;
pub mod flags;
#[cfg(supported_host)]
mod floating;
pub mod integer;
pub mod mem;
mod mem_slow;
pub mod missing;
#[cfg(supported_host)]
pub mod mmx;
pub mod op;
mod paging;
mod run;
mod segments;
#[cfg(supported_host)]
pub mod sse;
pub mod system;
mod tlb;
pub mod translate;
#[cfg(supported_host)]
pub mod x87;

pub use self::mem_slow::DeviceWrite;
pub use self::run::SoftCpu;
pub use super::state::CpuState;
use super::{bits, state};

/// In place of the families that this host has no instructions for.
#[cfg(not(supported_host))]
mod floating {
    use super::op::{Handler, Op};

    pub fn lower(_: &iced_x86::Instruction, _: &mut Op, _: u8) -> Option<Handler> {
        None
    }
}

#[cfg(test)]
mod exceptions_tests;
#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod nmi_tests;
#[cfg(test)]
mod run_tests;
#[cfg(test)]
pub mod testing;
