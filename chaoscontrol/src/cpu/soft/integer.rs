//! General-purpose instructions: moves, arithmetic, logic, shifts, bits, strings, branches.

use iced_x86::Instruction;

use super::op::{Handler, Op};

/// Picks the handler of `i` and fills in `op`; `None` if this family does not have it.
pub fn lower(_i: &Instruction, _op: &mut Op) -> Option<Handler> {
    None
}
