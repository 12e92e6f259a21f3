//! ADD, OR, ADC, SBB, AND, SUB, XOR, CMP and TEST.

use iced_x86::{Instruction, Mnemonic};

use super::word::Int;
use super::{Form, access, by_width, operands, width};
use crate::cpu::soft::core::Core;
use crate::cpu::soft::flags::Kind;
use crate::cpu::soft::op::{Flow, Handler, Op};

/// One of the operations.
trait Alu {
    const KIND: Kind;
    /// Whether the result goes to the first operand.
    const WRITES: bool = true;
    fn apply(core: &Core, a: u64, b: u64) -> u64;
}

macro_rules! operation {
    ($name:ident, $kind:ident, $writes:expr, |$core:ident, $a:ident, $b:ident| $e:expr) => {
        struct $name;
        impl Alu for $name {
            const KIND: Kind = Kind::$kind;
            const WRITES: bool = $writes;
            #[inline(always)]
            fn apply($core: &Core, $a: u64, $b: u64) -> u64 {
                $e
            }
        }
    };
}

operation!(Add, Add, true, |_core, a, b| a.wrapping_add(b));
operation!(Adc, Adc, true, |core, a, b| a
    .wrapping_add(b)
    .wrapping_add(core.carry() as u64));
operation!(Sub, Sub, true, |_core, a, b| a.wrapping_sub(b));
operation!(Sbb, Sbb, true, |core, a, b| a
    .wrapping_sub(b)
    .wrapping_sub(core.carry() as u64));
operation!(And, Logic, true, |_core, a, b| a & b);
operation!(Or, Logic, true, |_core, a, b| a | b);
operation!(Xor, Logic, true, |_core, a, b| a ^ b);
operation!(Cmp, Sub, false, |_core, a, b| a.wrapping_sub(b));
operation!(Test, Logic, false, |_core, a, b| a & b);

#[inline(always)]
fn to_register<O: Alu, T: Int>(core: &mut Core, op: &Op, b: T) -> Flow {
    let (a, b) = (T::read(core, op.dst).to64(), b.to64());
    let r = T::from64(O::apply(core, a, b));
    core.note(O::KIND, T::BITS, a, b, r.to64());
    if O::WRITES {
        T::write(core, op.dst, r);
    }
    Flow::Next
}

#[inline(always)]
fn to_memory<O: Alu, T: Int>(core: &mut Core, op: &Op, b: T) -> Flow {
    let address = op.address(core);
    let a: T = if O::WRITES {
        access!(core.load_for_store(address))
    } else {
        access!(core.load(address))
    };
    let (a, b) = (a.to64(), b.to64());
    let r = T::from64(O::apply(core, a, b));
    if O::WRITES {
        access!(core.store(address, r));
    }
    core.note(O::KIND, T::BITS, a, b, r.to64());
    Flow::Next
}

fn reg_reg<O: Alu, T: Int>(core: &mut Core, op: &Op) -> Flow {
    let b = T::read(core, op.src);
    to_register::<O, T>(core, op, b)
}

fn reg_imm<O: Alu, T: Int>(core: &mut Core, op: &Op) -> Flow {
    to_register::<O, T>(core, op, T::from64(op.imm))
}

fn reg_mem<O: Alu, T: Int>(core: &mut Core, op: &Op) -> Flow {
    let b = access!(core.load::<T>(op.address(core)));
    to_register::<O, T>(core, op, b)
}

fn mem_reg<O: Alu, T: Int>(core: &mut Core, op: &Op) -> Flow {
    let b = T::read(core, op.src);
    to_memory::<O, T>(core, op, b)
}

fn mem_imm<O: Alu, T: Int>(core: &mut Core, op: &Op) -> Flow {
    to_memory::<O, T>(core, op, T::from64(op.imm))
}

fn handler<O: Alu, T: Int>(form: Form) -> Handler {
    match form {
        Form::RegReg => reg_reg::<O, T>,
        Form::RegImm => reg_imm::<O, T>,
        Form::RegMem => reg_mem::<O, T>,
        Form::MemReg => mem_reg::<O, T>,
        Form::MemImm => mem_imm::<O, T>,
    }
}

fn pick<O: Alu>(bits: u32, form: Form) -> Handler {
    by_width!(bits, handler, O)(form)
}

pub(super) fn lower(i: &Instruction, op: &mut Op) -> Option<Handler> {
    let pick = match i.mnemonic() {
        Mnemonic::Add => pick::<Add>,
        Mnemonic::Or => pick::<Or>,
        Mnemonic::Adc => pick::<Adc>,
        Mnemonic::Sbb => pick::<Sbb>,
        Mnemonic::And => pick::<And>,
        Mnemonic::Sub => pick::<Sub>,
        Mnemonic::Xor => pick::<Xor>,
        Mnemonic::Cmp => pick::<Cmp>,
        Mnemonic::Test => pick::<Test>,
        _ => return None,
    };
    let form = operands(i, op)?;
    Some(pick(width(i, 0), form))
}
