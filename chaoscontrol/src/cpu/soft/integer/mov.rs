//! MOV, MOVNTI, MOVZX, MOVSX, MOVSXD, LEA, CMOVcc and SETcc.

use iced_x86::{Instruction, Mnemonic, OpKind};

use super::word::Int;
use super::{Form, access, by_width, operands, width};
use crate::cpu::soft::core::Core;
use crate::cpu::soft::op::{Flow, Handler, Op, ea};

fn reg_reg<T: Int>(core: &mut Core, op: &Op) -> Flow {
    let v = T::read(core, op.src);
    T::write(core, op.dst, v);
    Flow::Next
}

fn reg_imm<T: Int>(core: &mut Core, op: &Op) -> Flow {
    T::write(core, op.dst, T::from64(op.imm));
    Flow::Next
}

fn reg_mem<T: Int>(core: &mut Core, op: &Op) -> Flow {
    let v = access!(core.load::<T>(op.address(core)));
    T::write(core, op.dst, v);
    Flow::Next
}

fn mem_reg<T: Int>(core: &mut Core, op: &Op) -> Flow {
    let v = T::read(core, op.src);
    access!(core.store(op.address(core), v));
    Flow::Next
}

fn mem_imm<T: Int>(core: &mut Core, op: &Op) -> Flow {
    access!(core.store(op.address(core), T::from64(op.imm)));
    Flow::Next
}

fn mov<T: Int>(form: Form) -> Handler {
    match form {
        Form::RegReg => reg_reg::<T>,
        Form::RegImm => reg_imm::<T>,
        Form::RegMem => reg_mem::<T>,
        Form::MemReg => mem_reg::<T>,
        Form::MemImm => mem_imm::<T>,
    }
}

/// Zero- or sign-extends `S` to `D`, from a register or from memory.
fn extend<const SIGNED: bool, const MEMORY: bool, S: Int, D: Int>(
    core: &mut Core,
    op: &Op,
) -> Flow {
    let v = if MEMORY {
        access!(core.load::<S>(op.address(core)))
    } else {
        S::read(core, op.src)
    };
    let v = if SIGNED { v.sext() } else { v.to64() };
    D::write(core, op.dst, D::from64(v));
    Flow::Next
}

fn pick_extend<const SIGNED: bool, const MEMORY: bool>(from: u32, to: u32) -> Handler {
    match (from, to) {
        (8, 16) => extend::<SIGNED, MEMORY, u8, u16>,
        (8, 32) => extend::<SIGNED, MEMORY, u8, u32>,
        (8, _) => extend::<SIGNED, MEMORY, u8, u64>,
        (16, 16) => extend::<SIGNED, MEMORY, u16, u16>,
        (16, 32) => extend::<SIGNED, MEMORY, u16, u32>,
        (16, _) => extend::<SIGNED, MEMORY, u16, u64>,
        // MOVSXD without REX.W.
        (_, 16) => extend::<SIGNED, MEMORY, u32, u16>,
        (_, 32) => extend::<SIGNED, MEMORY, u32, u32>,
        (_, _) => extend::<SIGNED, MEMORY, u32, u64>,
    }
}

fn lea<T: Int>(core: &mut Core, op: &Op) -> Flow {
    let address = op.address(core);
    T::write(core, op.dst, T::from64(address));
    Flow::Next
}

/// The source is read, and a 32-bit destination's upper half cleared, also when the
/// condition does not hold.
fn cmov<const CC: u8, T: Int>(core: &mut Core, op: &Op) -> Flow {
    let v = T::read(core, if core.cond(CC) { op.src } else { op.dst });
    T::write(core, op.dst, v);
    Flow::Next
}

fn cmov_mem<const CC: u8, T: Int>(core: &mut Core, op: &Op) -> Flow {
    let mut v = access!(core.load::<T>(op.address(core)));
    if !core.cond(CC) {
        v = T::read(core, op.dst);
    }
    T::write(core, op.dst, v);
    Flow::Next
}

fn set<const CC: u8>(core: &mut Core, op: &Op) -> Flow {
    let v = core.cond(CC) as u8;
    u8::write(core, op.dst, v);
    Flow::Next
}

fn set_mem<const CC: u8>(core: &mut Core, op: &Op) -> Flow {
    let v = core.cond(CC) as u8;
    access!(core.store(op.address(core), v));
    Flow::Next
}

/// The four handlers of a condition.
struct Conditional {
    cmov: fn(u32, bool) -> Handler,
    set: Handler,
    set_mem: Handler,
}

fn pick_cmov<const CC: u8>(bits: u32, memory: bool) -> Handler {
    match (bits, memory) {
        (16, false) => cmov::<CC, u16>,
        (32, false) => cmov::<CC, u32>,
        (_, false) => cmov::<CC, u64>,
        (16, true) => cmov_mem::<CC, u16>,
        (32, true) => cmov_mem::<CC, u32>,
        (_, true) => cmov_mem::<CC, u64>,
    }
}

macro_rules! conditionals {
    ($($cc:literal)*) => {
        [$(Conditional { cmov: pick_cmov::<$cc>, set: set::<$cc>, set_mem: set_mem::<$cc> },)*]
    };
}

/// By condition code.
static CONDITIONALS: [Conditional; 16] = conditionals!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);

fn lower_conditional(i: &Instruction, op: &mut Op) -> Option<Handler> {
    use Mnemonic::*;
    let (cc, is_set) = match i.mnemonic() {
        Cmovo => (0, false),
        Cmovno => (1, false),
        Cmovb => (2, false),
        Cmovae => (3, false),
        Cmove => (4, false),
        Cmovne => (5, false),
        Cmovbe => (6, false),
        Cmova => (7, false),
        Cmovs => (8, false),
        Cmovns => (9, false),
        Cmovp => (10, false),
        Cmovnp => (11, false),
        Cmovl => (12, false),
        Cmovge => (13, false),
        Cmovle => (14, false),
        Cmovg => (15, false),
        Seto => (0, true),
        Setno => (1, true),
        Setb => (2, true),
        Setae => (3, true),
        Sete => (4, true),
        Setne => (5, true),
        Setbe => (6, true),
        Seta => (7, true),
        Sets => (8, true),
        Setns => (9, true),
        Setp => (10, true),
        Setnp => (11, true),
        Setl => (12, true),
        Setge => (13, true),
        Setle => (14, true),
        Setg => (15, true),
        _ => return None,
    };
    let by_cc: &Conditional = &CONDITIONALS[cc];
    if is_set {
        if Op::is_memory(i, 0) {
            op.set_memory(i);
            return Some(by_cc.set_mem);
        }
        op.dst = Op::reg(i.op0_register());
        return Some(by_cc.set);
    }
    let form = operands(i, op)?;
    Some((by_cc.cmov)(width(i, 0), form == Form::RegMem))
}

pub(super) fn lower(i: &Instruction, op: &mut Op) -> Option<Handler> {
    match i.mnemonic() {
        Mnemonic::Mov | Mnemonic::Movnti => {
            let form = operands(i, op)?;
            Some(by_width!(width(i, 0), mov)(form))
        }
        Mnemonic::Movzx | Mnemonic::Movsx | Mnemonic::Movsxd => {
            operands(i, op)?;
            let memory = i.op_kind(1) == OpKind::Memory;
            let pick = match (i.mnemonic() == Mnemonic::Movzx, memory) {
                (true, false) => pick_extend::<false, false>,
                (true, true) => pick_extend::<false, true>,
                (false, false) => pick_extend::<true, false>,
                (false, true) => pick_extend::<true, true>,
            };
            // A 16-bit MOVSXD reads 16 bits.
            let from = if i.mnemonic() == Mnemonic::Movsxd && width(i, 0) == 16 {
                16
            } else {
                width(i, 1)
            };
            Some(pick(from, width(i, 0)))
        }
        Mnemonic::Lea => {
            operands(i, op)?;
            op.ea &= ea::ADDR32;
            Some(by_width!(width(i, 0), lea))
        }
        _ => lower_conditional(i, op),
    }
}
