//! MMX, and the instructions of the SSE sets that use its registers.
//!
//! An MMX register is the low half of an x87 register. Every instruction but EMMS marks
//! all of them valid, rewinds the stack and sets the exponent of what it writes to ones
//! (SDM volume 1, 9.5).

use iced_x86::Instruction;

use super::op::{Handler, Op};
use super::sse::operand;

#[macro_use]
mod register;
pub(super) mod convert;
mod lanes;
mod moves;

/// Picks the handler of `i` and fills in `op`; `None` if this family does not have it.
pub fn lower(i: &Instruction, op: &mut Op) -> Option<Handler> {
    let handler = moves::lower(i).or_else(|| lanes::lower(i))?;
    operand::fill(i, op);
    Some(handler)
}
