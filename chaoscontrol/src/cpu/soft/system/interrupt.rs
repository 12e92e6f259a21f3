//! INT n and its kin, and the instructions that are undefined by definition.

use iced_x86::{Code, Instruction, Mnemonic};

use super::super::core::Core;
use super::super::exceptions::{Fault, Source};
use super::super::op::{Flow, Handler, Op};
use super::fail;

/// A software interrupt: a trap, so the frame points behind it.
fn int(core: &mut Core, op: &Op) -> Flow {
    let source = if op.aux == 0 {
        Source::Software
    } else {
        Source::Exception
    };
    let rip = core.s.rip;
    core.s.rip = op.next_rip(core);
    match core.deliver(Fault::new(op.imm as u8, None), source) {
        Ok(()) => Flow::Jump,
        Err(fault) => {
            core.s.rip = rip;
            fail(core, fault)
        }
    }
}

/// UD0, UD1, UD2, and SYSENTER and SYSEXIT, which this CPU's vendor has not got in long mode.
fn undefined(core: &mut Core, _: &Op) -> Flow {
    core.raise(6, None)
}

pub(super) fn lower(i: &Instruction, op: &mut Op) -> Option<Handler> {
    match i.code() {
        Code::Int_imm8 => {
            op.imm = u64::from(i.immediate8());
            return Some(int);
        }
        Code::Int3 => {
            op.imm = 3;
            return Some(int);
        }
        Code::Int1 => {
            op.imm = 1;
            op.aux = 1;
            return Some(int);
        }
        _ => {}
    }
    match i.mnemonic() {
        Mnemonic::Ud0 | Mnemonic::Ud1 | Mnemonic::Ud2 | Mnemonic::Sysenter | Mnemonic::Sysexit => {
            Some(undefined)
        }
        _ => None,
    }
}
