//! One instruction in a guest of its own.

use super::table::Row;
use crate::cpu::soft::testing::{self, CODE, HANDLERS};
use crate::cpu::{Cpu, CpuConfig, Engine, Exit, Vcpu};

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Met {
    /// An exception.
    Fault(u64),
    /// It retired with these registers.
    Value {
        /// RAX.
        rax: u64,
        /// RDX.
        rdx: u64,
        /// How often the caller was asked for the time.
        asked: u64,
    },
    /// The engine gave up.
    Failed(String),
}

impl Met {
    /// It retired, and nobody was asked.
    pub fn value(rax: u64, rdx: u64) -> Met {
        Met::Value { rax, rdx, asked: 0 }
    }
}

/// The time that the caller answers with.
const TIME: u64 = 0x1234_5678_9ABC_DEF0;

/// [`TIME`] in EAX and EDX.
pub fn answer() -> (u64, u64) {
    (TIME & 0xFFFF_FFFF, TIME >> 32)
}

/// A load from an address that is not mapped: the one exception that any ring can raise and
/// that none of the instructions in the table does. `mov rcx, [0x4000_0000]`.
const END: [u8; 8] = [0x48, 0x8B, 0x0C, 0x25, 0, 0, 0, 0x40];
const PAGE_FAULT: u64 = 14;

/// Executes `row`'s instruction on `engine`.
pub fn execute(engine: Engine, row: &Row) -> Met {
    let code = [row.code, &END].concat();
    let (mut state, ram) = testing::state(&code, row.ring);
    state.cr4 |= row.cr4;
    for (register, value) in [(0, row.rax), (1, row.rcx), (2, row.rdx), (3, row.rbx)] {
        state.gpr[register] = value;
    }
    assert_eq!(state.rip, CODE);
    let mut cpu = match Cpu::new(engine, ram, CpuConfig::default()) {
        Ok(cpu) => cpu,
        Err(error) => return Met::Failed(error.to_string()),
    };
    cpu.set_state(state);
    let mut asked = 0;
    for _ in 0..100 {
        match cpu.run(u64::MAX, false) {
            Exit::Budget => {}
            Exit::ReadTsc => {
                asked += 1;
                cpu.complete(TIME);
            }
            Exit::Halt => {
                let state = cpu.state();
                // The handler's HLT has one byte, and handlers are 16 apart.
                let vector = state.rip.wrapping_sub(HANDLERS + 1) / 16;
                let (rax, rdx) = (state.gpr[0], state.gpr[2]);
                return match vector {
                    PAGE_FAULT => Met::Value { rax, rdx, asked },
                    _ => Met::Fault(vector),
                };
            }
            other => {
                let why = cpu.error().map(|error| error.to_string());
                return Met::Failed(why.unwrap_or_else(|| format!("{other:?}")));
            }
        }
    }
    Met::Failed("it did not end".into())
}
