//! PUSH, POP, ENTER and LEAVE.

use iced_x86::{Code, Instruction, Mnemonic, OpKind, Register};

use super::access;
use super::word::Int;
use crate::cpu::soft::core::Core;
use crate::cpu::soft::mem::Blocked;
use crate::cpu::soft::op::{Flow, Handler, Op};

const RSP: usize = 4;
const RBP: usize = 5;

#[inline(always)]
fn push<T: Int>(core: &mut Core, v: T) -> Result<(), Blocked> {
    let sp = core.s.gpr[RSP].wrapping_sub(T::BITS as u64 / 8);
    core.store(sp, v)?;
    core.s.gpr[RSP] = sp;
    Ok(())
}

fn push_reg<T: Int>(core: &mut Core, op: &Op) -> Flow {
    let v = T::read(core, op.src);
    access!(push(core, v));
    Flow::Next
}

fn push_imm<T: Int>(core: &mut Core, op: &Op) -> Flow {
    access!(push(core, T::from64(op.imm)));
    Flow::Next
}

fn push_mem<T: Int>(core: &mut Core, op: &Op) -> Flow {
    let v: T = access!(core.load(op.address(core)));
    access!(push(core, v));
    Flow::Next
}

/// FS or GS, zero-extended.
fn push_segment<T: Int>(core: &mut Core, op: &Op) -> Flow {
    let selector = core.s.segs[op.src as usize].selector;
    access!(push(core, T::from64(selector as u64)));
    Flow::Next
}

fn pop_reg<T: Int>(core: &mut Core, op: &Op) -> Flow {
    let sp = core.s.gpr[RSP];
    let v: T = access!(core.load(sp));
    core.s.gpr[RSP] = sp.wrapping_add(T::BITS as u64 / 8);
    T::write(core, op.dst, v);
    Flow::Next
}

/// The destination's address is computed with RSP already incremented.
fn pop_mem<T: Int>(core: &mut Core, op: &Op) -> Flow {
    let sp = core.s.gpr[RSP];
    let v: T = access!(core.load(sp));
    core.s.gpr[RSP] = sp.wrapping_add(T::BITS as u64 / 8);
    let address = op.address(core);
    if core.store(address, v).is_err() {
        core.s.gpr[RSP] = sp;
        return Flow::Trap;
    }
    Flow::Next
}

fn leave<T: Int>(core: &mut Core, _op: &Op) -> Flow {
    let bp = core.s.gpr[RBP];
    let v: T = access!(core.load(bp));
    core.s.gpr[RSP] = bp.wrapping_add(T::BITS as u64 / 8);
    T::write(core, RBP as u8, v);
    Flow::Next
}

/// ENTER with `imm` bytes of locals at nesting level `aux`. RSP and RBP change last.
fn enter<T: Int>(core: &mut Core, op: &Op) -> Flow {
    let size = T::BITS as u64 / 8;
    let (rsp, mut bp) = (core.s.gpr[RSP], core.s.gpr[RBP]);
    let mut sp = rsp.wrapping_sub(size);
    access!(core.store(sp, T::from64(bp)));
    let frame = sp;
    for _ in 1..op.aux {
        bp = bp.wrapping_sub(size);
        let link: T = access!(core.load(bp));
        sp = sp.wrapping_sub(size);
        access!(core.store(sp, link));
    }
    if op.aux > 0 {
        sp = sp.wrapping_sub(size);
        access!(core.store(sp, T::from64(frame)));
    }
    let sp = sp.wrapping_sub(op.imm);
    // The new top of stack has to be writable.
    access!(core.load_for_store::<T>(sp));
    T::write(core, RBP as u8, T::from64(frame));
    core.s.gpr[RSP] = sp;
    Flow::Next
}

fn lower_push(i: &Instruction, op: &mut Op) -> Option<Handler> {
    let word = matches!(
        i.code(),
        Code::Push_r16
            | Code::Push_rm16
            | Code::Push_imm16
            | Code::Pushw_imm8
            | Code::Pushw_FS
            | Code::Pushw_GS
    );
    let pick = |narrow: Handler, wide: Handler| Some(if word { narrow } else { wide });
    match i.op_kind(0) {
        OpKind::Memory => {
            op.set_memory(i);
            pick(push_mem::<u16>, push_mem::<u64>)
        }
        OpKind::Register if matches!(i.op0_register(), Register::FS | Register::GS) => {
            op.src = Op::reg(i.op0_register());
            pick(push_segment::<u16>, push_segment::<u64>)
        }
        OpKind::Register if i.op0_register().is_gpr() => {
            op.src = Op::reg(i.op0_register());
            pick(push_reg::<u16>, push_reg::<u64>)
        }
        OpKind::Register => None,
        _ => {
            op.imm = i.try_immediate(0).ok()?;
            pick(push_imm::<u16>, push_imm::<u64>)
        }
    }
}

pub(super) fn lower(i: &Instruction, op: &mut Op) -> Option<Handler> {
    match i.code() {
        _ if i.mnemonic() == Mnemonic::Push => lower_push(i, op),
        Code::Pop_r16 | Code::Pop_r64 | Code::Pop_rm16 | Code::Pop_rm64 => {
            let word = matches!(i.code(), Code::Pop_r16 | Code::Pop_rm16);
            let handlers: [Handler; 2] = if Op::is_memory(i, 0) {
                op.set_memory(i);
                [pop_mem::<u64>, pop_mem::<u16>]
            } else {
                op.dst = Op::reg(i.op0_register());
                [pop_reg::<u64>, pop_reg::<u16>]
            };
            Some(handlers[word as usize])
        }
        Code::Leaveq => Some(leave::<u64>),
        Code::Leavew => Some(leave::<u16>),
        Code::Enterq_imm16_imm8 | Code::Enterw_imm16_imm8 => {
            op.imm = i.immediate16() as u64;
            op.aux = i.immediate8_2nd() & 31;
            Some(if i.code() == Code::Enterq_imm16_imm8 {
                enter::<u64>
            } else {
                enter::<u16>
            })
        }
        _ => None,
    }
}
