//! INC, DEC, NEG, NOT and BSWAP.

use iced_x86::{Instruction, Mnemonic};

use super::word::Int;
use super::{access, by_width, width};
use crate::cpu::soft::core::Core;
use crate::cpu::soft::flags::Kind;
use crate::cpu::soft::op::{Flow, Handler, Op};

/// One of the operations: the result, and the flags after it was written.
trait Unary {
    fn apply(a: u64) -> u64;
    fn note<T: Int>(core: &mut Core, a: u64, result: u64);
}

struct Inc;
impl Unary for Inc {
    #[inline(always)]
    fn apply(a: u64) -> u64 {
        a.wrapping_add(1)
    }
    #[inline(always)]
    fn note<T: Int>(core: &mut Core, _a: u64, result: u64) {
        let carry = core.carry() as u64;
        core.note(Kind::Inc, T::BITS, carry, 0, result);
    }
}

struct Dec;
impl Unary for Dec {
    #[inline(always)]
    fn apply(a: u64) -> u64 {
        a.wrapping_sub(1)
    }
    #[inline(always)]
    fn note<T: Int>(core: &mut Core, _a: u64, result: u64) {
        let carry = core.carry() as u64;
        core.note(Kind::Dec, T::BITS, carry, 0, result);
    }
}

struct Neg;
impl Unary for Neg {
    #[inline(always)]
    fn apply(a: u64) -> u64 {
        a.wrapping_neg()
    }
    #[inline(always)]
    fn note<T: Int>(core: &mut Core, a: u64, result: u64) {
        core.note(Kind::Sub, T::BITS, 0, a, result);
    }
}

struct Not;
impl Unary for Not {
    #[inline(always)]
    fn apply(a: u64) -> u64 {
        !a
    }
    #[inline(always)]
    fn note<T: Int>(_core: &mut Core, _a: u64, _result: u64) {}
}

fn in_register<O: Unary, T: Int>(core: &mut Core, op: &Op) -> Flow {
    let a = T::read(core, op.dst).to64();
    let r = T::from64(O::apply(a));
    O::note::<T>(core, a, r.to64());
    T::write(core, op.dst, r);
    Flow::Next
}

fn in_memory<O: Unary, T: Int>(core: &mut Core, op: &Op) -> Flow {
    let address = op.address(core);
    let a = access!(core.load_for_store::<T>(address)).to64();
    let r = T::from64(O::apply(a));
    access!(core.store(address, r));
    O::note::<T>(core, a, r.to64());
    Flow::Next
}

/// A 16-bit BSWAP is undefined; it clears the register's low 16 bits.
fn bswap<T: Int>(core: &mut Core, op: &Op) -> Flow {
    let v = T::read(core, op.dst).to64();
    let swapped = match T::BITS {
        16 => 0,
        bits => v.swap_bytes() >> (64 - bits),
    };
    T::write(core, op.dst, T::from64(swapped));
    Flow::Next
}

fn pick<O: Unary>(bits: u32, memory: bool) -> Handler {
    if memory {
        by_width!(bits, in_memory, O)
    } else {
        by_width!(bits, in_register, O)
    }
}

pub(super) fn lower(i: &Instruction, op: &mut Op) -> Option<Handler> {
    let pick = match i.mnemonic() {
        Mnemonic::Inc => pick::<Inc>,
        Mnemonic::Dec => pick::<Dec>,
        Mnemonic::Neg => pick::<Neg>,
        Mnemonic::Not => pick::<Not>,
        Mnemonic::Bswap => {
            op.dst = Op::reg(i.op0_register());
            return Some(by_width!(width(i, 0), bswap));
        }
        _ => return None,
    };
    let memory = Op::is_memory(i, 0);
    if memory {
        op.set_memory(i);
    } else {
        op.dst = Op::reg(i.op0_register());
    }
    Some(pick(width(i, 0), memory))
}
