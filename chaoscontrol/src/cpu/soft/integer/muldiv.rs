//! MUL, IMUL, DIV and IDIV.

use iced_x86::{Instruction, Mnemonic};

use super::word::Int;
use super::{access, by_width, operands, width};
use crate::cpu::soft::core::Core;
use crate::cpu::soft::flags::{CF, Kind, OF};
use crate::cpu::soft::mem::Blocked;
use crate::cpu::soft::op::{Flow, Handler, Op};

const RAX: u8 = 0;
const RDX: u8 = 2;
/// `Op::reg` of AH.
const AH: u8 = 20;
/// Stands for the source register of an op whose source is memory.
const MEMORY: u8 = 0xFF;

#[inline(always)]
fn source<T: Int>(core: &mut Core, op: &Op) -> Result<T, Blocked> {
    if op.src == MEMORY {
        core.load(op.address(core))
    } else {
        Ok(T::read(core, op.src))
    }
}

/// The register of the upper half: AH for bytes, else xDX.
#[inline(always)]
fn upper<T: Int>() -> u8 {
    if T::BITS == 8 { AH } else { RDX }
}

#[inline(always)]
fn signed<T: Int>(v: T) -> i128 {
    v.sext() as i64 as i128
}

/// CF and OF tell that the product does not fit into its low half.
#[inline(always)]
fn note<T: Int>(core: &mut Core, overflows: bool, low: T) {
    let flags = if overflows { CF | OF } else { 0 };
    core.note(Kind::Mixed, T::BITS, flags, 0, low.to64());
}

fn mul<T: Int>(core: &mut Core, op: &Op) -> Flow {
    let b: T = access!(source(core, op));
    let product = T::read(core, RAX).to64() as u128 * b.to64() as u128;
    let (low, high) = (T::from64(product as u64), (product >> T::BITS) as u64);
    T::write(core, RAX, low);
    T::write(core, upper::<T>(), T::from64(high));
    note(core, high != 0, low);
    Flow::Next
}

fn imul<T: Int>(core: &mut Core, op: &Op) -> Flow {
    let b: T = access!(source(core, op));
    let product = signed(T::read(core, RAX)) * signed(b);
    let low = T::from64(product as u64);
    T::write(core, RAX, low);
    T::write(core, upper::<T>(), T::from64((product >> T::BITS) as u64));
    note(core, product != signed(low), low);
    Flow::Next
}

/// IMUL with two operands, or with three: `aux` tells whether `imm` is the second factor.
fn imul_to<T: Int>(core: &mut Core, op: &Op) -> Flow {
    let a: T = access!(source(core, op));
    let b = if op.aux != 0 {
        T::from64(op.imm)
    } else {
        T::read(core, op.dst)
    };
    let product = signed(a) * signed(b);
    let low = T::from64(product as u64);
    T::write(core, op.dst, low);
    note(core, product != signed(low), low);
    Flow::Next
}

fn div<T: Int>(core: &mut Core, op: &Op) -> Flow {
    let divisor = access!(source::<T>(core, op)).to64() as u128;
    let high = T::read(core, upper::<T>()).to64() as u128;
    let dividend = high << T::BITS | T::read(core, RAX).to64() as u128;
    // The quotient fits exactly when the upper half is below the divisor; so also #DE for 0.
    if high >= divisor {
        return core.raise(0, None);
    }
    T::write(core, RAX, T::from64((dividend / divisor) as u64));
    T::write(core, upper::<T>(), T::from64((dividend % divisor) as u64));
    Flow::Next
}

fn idiv<T: Int>(core: &mut Core, op: &Op) -> Flow {
    let divisor = signed(access!(source::<T>(core, op)));
    let high = signed(T::read(core, upper::<T>()));
    let dividend = high << T::BITS | T::read(core, RAX).to64() as i128;
    let Some(quotient) = dividend.checked_div(divisor) else {
        return core.raise(0, None);
    };
    if quotient != signed(T::from64(quotient as u64)) {
        return core.raise(0, None);
    }
    T::write(core, RAX, T::from64(quotient as u64));
    T::write(core, upper::<T>(), T::from64((dividend % divisor) as u64));
    Flow::Next
}

pub(super) fn lower(i: &Instruction, op: &mut Op) -> Option<Handler> {
    let bits = width(i, 0);
    let one_operand = i.op_count() == 1;
    let handler = match i.mnemonic() {
        Mnemonic::Mul => by_width!(bits, mul),
        Mnemonic::Imul if one_operand => by_width!(bits, imul),
        Mnemonic::Div => by_width!(bits, div),
        Mnemonic::Idiv => by_width!(bits, idiv),
        Mnemonic::Imul => {
            operands(i, op)?;
            if Op::is_memory(i, 1) {
                op.src = MEMORY;
            }
            op.aux = (i.op_count() == 3) as u8;
            op.imm = i.try_immediate(2).unwrap_or(0);
            return Some(by_width!(bits, imul_to));
        }
        _ => return None,
    };
    if Op::is_memory(i, 0) {
        op.set_memory(i);
        op.src = MEMORY;
    } else {
        op.src = Op::reg(i.op0_register());
    }
    Some(handler)
}
