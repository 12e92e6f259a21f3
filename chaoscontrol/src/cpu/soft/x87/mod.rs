//! x87 and FXSAVE.
//!
//! Operations that IEEE 754 fixes to the last bit (add to square root, conversions,
//! comparisons) run on the host's own x87 under the guest's control word (`host`), so
//! that masked and unmasked responses, rounding and precision control, flags and C1
//! are the processor's. Whatever may differ between processors is computed here:
//! stack faults, partial remainders and the transcendental functions.
//!
//! What manuals leave undefined: C0, C2 and C3 keep their values where an instruction
//! does not define them. FIP and FDP (as a linear address) are recorded by every
//! instruction that is not a control instruction, FOP only with an unmasked exception;
//! the selectors FCS and FDS read as zero. FDP keeps its value when there is no memory operand.

use iced_x86::{Instruction, OpKind};

use super::core::Core;
use super::op::{Flow, Handler, Op};

mod control;
mod registers;
mod save;

/// CR0.MP: WAIT heeds CR0.TS.
const CR0_MP: u64 = 1 << 1;
/// CR0.EM: there is no x87.
const CR0_EM: u64 = 1 << 2;
/// CR0.TS: the state is another task's.
const CR0_TS: u64 = 1 << 3;
/// CR0.NE: exceptions are reported by #MF.
const CR0_NE: u64 = 1 << 5;
/// Device not available.
const NM: u8 = 7;
/// x87 floating-point error.
const MF: u8 = 16;

/// Picks the handler of `i` and fills in `op`; `None` if this family does not have it.
pub fn lower(i: &Instruction, op: &mut Op) -> Option<Handler> {
    let handler = control::lower(i, op).or_else(|| save::lower(i, op))?;
    if (0..i.op_count()).any(|n| i.op_kind(n) == OpKind::Memory) {
        op.set_memory(i);
    }
    Some(handler)
}

/// Evaluates a memory access, or leaves the handler with the trap that it met.
macro_rules! access {
    ($access:expr) => {
        match $access {
            Ok(value) => value,
            Err(super::super::mem::Blocked) => return super::super::op::Flow::Trap,
        }
    };
}
use access;

/// The trap of an instruction that meets a disabled x87, also if it does not wait for exceptions.
#[inline]
fn unavailable(core: &mut Core) -> Option<Flow> {
    (core.s.cr0 & (CR0_EM | CR0_TS) != 0).then(|| core.raise(NM, None))
}

/// The trap of an instruction that meets a disabled x87 or a pending exception. With
/// CR0.NE clear nothing reports exceptions, as if IGNNE# were asserted.
#[inline]
fn blocked(core: &mut Core) -> Option<Flow> {
    unavailable(core).or_else(|| {
        (core.s.fpu.pending() && core.s.cr0 & CR0_NE != 0).then(|| core.raise(MF, None))
    })
}
