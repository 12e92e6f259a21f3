//! System instructions: control registers, tables, segments, interrupts, ports, and
//! whatever else only makes sense between a kernel and its CPU.
//!
//! Every block ends behind one of them, so that modes and mappings are looked at anew.

mod control;
mod far;
mod flags;
mod interrupt;
mod model;
mod port;
mod segment;
mod syscall;
mod tables;
#[cfg(test)]
mod tests;

use iced_x86::{Instruction, OpKind};

use super::core::Core;
use super::exceptions::Fault;
use super::mem::Blocked;
use super::op::{Flow, Handler, Op};
use super::segments::GP;

/// Picks the handler of `i` and fills in `op`; `None` if this family does not have it.
pub fn lower(i: &Instruction, op: &mut Op) -> Option<Handler> {
    port::lower(i, op)
        .or_else(|| flags::lower(i, op))
        .or_else(|| control::lower(i, op))
        .or_else(|| model::lower(i, op))
        .or_else(|| syscall::lower(i, op))
        .or_else(|| interrupt::lower(i, op))
        .or_else(|| tables::lower(i, op))
        .or_else(|| segment::lower(i, op))
        .or_else(|| far::lower(i, op))
}

/// The flow that raises `fault`.
fn fail(core: &mut Core, fault: Fault) -> Flow {
    core.raise(fault.vector, fault.error)
}

/// The end of a handler whose work may have failed.
fn finish(core: &mut Core, op: &Op, result: Result<(), Fault>) -> Flow {
    match result {
        Ok(()) => core.end_block(op),
        Err(fault) => fail(core, fault),
    }
}

/// #GP(0) outside of ring 0.
macro_rules! privileged {
    ($core:expr) => {
        if $core.s.cpl != 0 {
            return $core.raise(13, Some(0));
        }
    };
}
use privileged;

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

/// #GP(0).
fn gp0() -> Fault {
    Fault::new(GP, Some(0))
}

/// Takes over operand `n`, a register (`aux` = 0, `src`) or memory (`aux` = 1); `imm`
/// becomes its width in bytes.
fn set_operand(i: &Instruction, op: &mut Op, n: u32) {
    if i.op_kind(n) == OpKind::Memory {
        op.set_memory(i);
        op.aux = 1;
        op.imm = i.memory_size().size() as u64;
    } else {
        op.src = Op::reg(i.op_register(n));
        op.aux = 0;
        op.imm = i.op_register(n).size() as u64;
    }
}

/// Reads a 16-bit operand.
fn read16(core: &mut Core, op: &Op) -> Result<u16, Blocked> {
    if op.aux == 0 {
        Ok(core.s.gpr[op.src as usize] as u16)
    } else {
        core.load(op.address(core))
    }
}

/// Writes a selector or status word: 16 bits to memory, zero-extended to the width of a register.
fn write16(core: &mut Core, op: &Op, value: u64) -> Result<(), Blocked> {
    if op.aux != 0 {
        return core.store(op.address(core), value as u16);
    }
    write_register(core, op.src, op.imm, value);
    Ok(())
}

/// Writes a register of 2, 4 or 8 bytes.
fn write_register(core: &mut Core, register: u8, bytes: u64, value: u64) {
    let slot = &mut core.s.gpr[register as usize];
    *slot = match bytes {
        2 => *slot & !0xFFFF | value & 0xFFFF,
        4 => value & 0xFFFF_FFFF,
        _ => value,
    };
}
