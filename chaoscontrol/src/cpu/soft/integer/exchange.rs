//! XCHG, XADD, CMPXCHG, CMPXCHG8B and CMPXCHG16B.
//!
//! There is one CPU, so LOCK needs nothing: an instruction is atomic anyway.

use iced_x86::{Code, Instruction, Mnemonic};

use super::word::Int;
use super::{Form, access, by_width, operands, width};
use crate::cpu::soft::core::Core;
use crate::cpu::soft::flags::{Kind, ZF};
use crate::cpu::soft::op::{Flow, Handler, Op};

const RAX: u8 = 0;
const RCX: u8 = 1;
const RDX: u8 = 2;
const RBX: u8 = 3;

fn xchg_reg<T: Int>(core: &mut Core, op: &Op) -> Flow {
    let (a, b) = (T::read(core, op.dst), T::read(core, op.src));
    T::write(core, op.src, a);
    T::write(core, op.dst, b);
    Flow::Next
}

fn xchg_mem<T: Int>(core: &mut Core, op: &Op) -> Flow {
    let address = op.address(core);
    let a: T = access!(core.load_for_store(address));
    let b = T::read(core, op.src);
    access!(core.store(address, b));
    T::write(core, op.src, a);
    Flow::Next
}

fn xadd_reg<T: Int>(core: &mut Core, op: &Op) -> Flow {
    let (a, b) = (T::read(core, op.dst), T::read(core, op.src));
    let sum = T::from64(a.to64().wrapping_add(b.to64()));
    T::write(core, op.src, a);
    T::write(core, op.dst, sum);
    core.note(Kind::Add, T::BITS, a.to64(), b.to64(), sum.to64());
    Flow::Next
}

fn xadd_mem<T: Int>(core: &mut Core, op: &Op) -> Flow {
    let address = op.address(core);
    let a: T = access!(core.load_for_store(address));
    let b = T::read(core, op.src);
    let sum = T::from64(a.to64().wrapping_add(b.to64()));
    access!(core.store(address, sum));
    T::write(core, op.src, a);
    core.note(Kind::Add, T::BITS, a.to64(), b.to64(), sum.to64());
    Flow::Next
}

#[inline(always)]
fn note_compare<T: Int>(core: &mut Core, a: T, b: T) {
    let (a, b) = (a.to64(), b.to64());
    let r = T::from64(a.wrapping_sub(b)).to64();
    core.note(Kind::Sub, T::BITS, a, b, r);
}

fn cmpxchg_reg<T: Int>(core: &mut Core, op: &Op) -> Flow {
    let (old, expected) = (T::read(core, op.dst), T::read(core, RAX));
    if old == expected {
        let new = T::read(core, op.src);
        T::write(core, op.dst, new);
    } else {
        T::write(core, RAX, old);
    }
    note_compare(core, expected, old);
    Flow::Next
}

fn cmpxchg_mem<T: Int>(core: &mut Core, op: &Op) -> Flow {
    let address = op.address(core);
    let old: T = access!(core.load_for_store(address));
    let expected = T::read(core, RAX);
    if old == expected {
        let new = T::read(core, op.src);
        access!(core.store(address, new));
    } else {
        T::write(core, RAX, old);
    }
    note_compare(core, expected, old);
    Flow::Next
}

/// `high:low` as one number.
#[inline(always)]
fn pair<T: Int>(core: &Core, high: u8, low: u8) -> u128 {
    (T::read(core, high).to64() as u128) << T::BITS | T::read(core, low).to64() as u128
}

/// Exchanges a pair of `T` at `address`, of which `old` was loaded; returns what to store.
#[inline(always)]
fn exchange_pair<T: Int>(core: &mut Core, old: u128) -> Option<u128> {
    let equal = old == pair::<T>(core, RDX, RAX);
    core.set_some(ZF, if equal { ZF } else { 0 });
    if equal {
        return Some(pair::<T>(core, RCX, RBX));
    }
    T::write(core, RAX, T::from64(old as u64));
    T::write(core, RDX, T::from64((old >> T::BITS) as u64));
    None
}

fn cmpxchg8b(core: &mut Core, op: &Op) -> Flow {
    let address = op.address(core);
    let old: u64 = access!(core.load_for_store(address));
    if let Some(new) = exchange_pair::<u32>(core, old as u128) {
        access!(core.store(address, new as u64));
    }
    Flow::Next
}

fn cmpxchg16b(core: &mut Core, op: &Op) -> Flow {
    let address = op.address(core);
    if address & 15 != 0 {
        return core.raise(13, Some(0));
    }
    let old: u128 = access!(core.load_for_store(address));
    if let Some(new) = exchange_pair::<u64>(core, old) {
        access!(core.store(address, new));
    }
    Flow::Next
}

pub(super) fn lower(i: &Instruction, op: &mut Op) -> Option<Handler> {
    match i.code() {
        Code::Cmpxchg8b_m64 => {
            op.set_memory(i);
            return Some(cmpxchg8b);
        }
        Code::Cmpxchg16b_m128 => {
            op.set_memory(i);
            return Some(cmpxchg16b);
        }
        _ => {}
    }
    let bits = width(i, 0);
    let (reg, mem): (Handler, Handler) = match i.mnemonic() {
        Mnemonic::Xchg => (by_width!(bits, xchg_reg), by_width!(bits, xchg_mem)),
        Mnemonic::Xadd => (by_width!(bits, xadd_reg), by_width!(bits, xadd_mem)),
        Mnemonic::Cmpxchg => (by_width!(bits, cmpxchg_reg), by_width!(bits, cmpxchg_mem)),
        _ => return None,
    };
    match operands(i, op)? {
        Form::RegReg => Some(reg),
        Form::MemReg => Some(mem),
        // XCHG is commutative; iced may give the memory operand second.
        Form::RegMem => {
            op.src = op.dst;
            Some(mem)
        }
        _ => None,
    }
}
