//! General-purpose instructions: moves, arithmetic, logic, shifts, bits, strings, branches.
//!
//! Handlers are generic over the operand width and the kind of each operand, so that
//! every pair has a small function of its own and nothing is decided at run time that
//! was known when the block was translated.

mod alu;
mod bits;
mod branch;
mod exchange;
mod misc;
mod mov;
mod muldiv;
mod shift;
mod stack;
mod string;
#[cfg(test)]
mod tests;
mod unary;
pub mod word;

use iced_x86::{Instruction, OpKind, Register};

use super::op::{Handler, Op};

/// The value of an access, or the end of the handler.
macro_rules! access {
    ($e:expr) => {
        match $e {
            Ok(value) => value,
            Err(_) => return $crate::cpu::soft::op::Flow::Trap,
        }
    };
}
use access;

/// The instance of a generic handler, or of a function that picks one, for an operand of `$bits` bits.
macro_rules! by_width {
    ($bits:expr, $f:ident $(, $arg:ty)*) => {
        match $bits {
            8 => $f::<$($arg,)* u8>,
            16 => $f::<$($arg,)* u16>,
            32 => $f::<$($arg,)* u32>,
            _ => $f::<$($arg,)* u64>,
        }
    };
}
use by_width;

/// The kinds of a pair of operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    RegReg,
    RegImm,
    RegMem,
    MemReg,
    MemImm,
}

/// Width in bits of general-purpose or memory operand `n`.
fn width(i: &Instruction, n: u32) -> u32 {
    let bytes = match i.op_kind(n) {
        OpKind::Register => i.op_register(n).size(),
        _ => i.memory_size().size(),
    };
    bytes as u32 * 8
}

/// Fills in the first two operands; `None` if they are no general-purpose ones.
fn operands(i: &Instruction, op: &mut Op) -> Option<Form> {
    let is_gpr = |r: Register| r.is_gpr();
    let first = match i.op_kind(0) {
        OpKind::Register if is_gpr(i.op_register(0)) => {
            op.dst = Op::reg(i.op_register(0));
            false
        }
        OpKind::Memory => {
            op.set_memory(i);
            true
        }
        _ => return None,
    };
    match i.op_kind(1) {
        OpKind::Register if is_gpr(i.op_register(1)) => {
            op.src = Op::reg(i.op_register(1));
            Some(if first { Form::MemReg } else { Form::RegReg })
        }
        OpKind::Memory => {
            op.set_memory(i);
            Some(Form::RegMem)
        }
        OpKind::Register => None,
        _ => {
            op.imm = i.try_immediate(1).ok()?;
            Some(if first { Form::MemImm } else { Form::RegImm })
        }
    }
}

/// Picks the handler of `i` and fills in `op`; `None` if this family does not have it.
pub fn lower(i: &Instruction, op: &mut Op) -> Option<Handler> {
    alu::lower(i, op)
        .or_else(|| mov::lower(i, op))
        .or_else(|| branch::lower(i, op))
        .or_else(|| stack::lower(i, op))
        .or_else(|| unary::lower(i, op))
        .or_else(|| shift::lower(i, op))
        .or_else(|| bits::lower(i, op))
        .or_else(|| muldiv::lower(i, op))
        .or_else(|| exchange::lower(i, op))
        .or_else(|| string::lower(i, op))
        .or_else(|| misc::lower(i, op))
}
