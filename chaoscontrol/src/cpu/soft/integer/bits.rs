//! BT, BTS, BTR, BTC, BSF, BSR, POPCNT and CRC32.
//!
//! F3 0F BC and F3 0F BD, TZCNT and LZCNT on newer CPUs, are BSF and BSR here: this
//! CPU model is older than they are.

use iced_x86::{Instruction, Mnemonic};

use super::word::Int;
use super::{Form, access, by_width, operands, width};
use crate::cpu::soft::core::Core;
use crate::cpu::soft::flags::{CF, ZF};
use crate::cpu::soft::mem::Blocked;
use crate::cpu::soft::op::{Flow, Handler, Op};

/// Stands for the source register of an op whose source is memory.
const MEMORY: u8 = 0xFF;

/// What happens to the tested bit.
trait Change {
    const WRITES: bool = true;
    fn apply(value: u64, bit: u64) -> u64;
}

struct Keep;
impl Change for Keep {
    const WRITES: bool = false;
    fn apply(value: u64, _bit: u64) -> u64 {
        value
    }
}

struct Set;
impl Change for Set {
    fn apply(value: u64, bit: u64) -> u64 {
        value | bit
    }
}

struct Reset;
impl Change for Reset {
    fn apply(value: u64, bit: u64) -> u64 {
        value & !bit
    }
}

struct Complement;
impl Change for Complement {
    fn apply(value: u64, bit: u64) -> u64 {
        value ^ bit
    }
}

#[inline(always)]
fn note(core: &mut Core, set: bool) {
    core.set_some(CF, set as u64);
}

#[inline(always)]
fn in_register<C: Change, T: Int>(core: &mut Core, op: &Op, offset: u64) -> Flow {
    let bit = 1 << (offset as u32 & (T::BITS - 1));
    let v = T::read(core, op.dst).to64();
    note(core, v & bit != 0);
    if C::WRITES {
        T::write(core, op.dst, T::from64(C::apply(v, bit)));
    }
    Flow::Next
}

#[inline(always)]
fn in_memory<C: Change, T: Int>(core: &mut Core, address: u64, offset: u64) -> Flow {
    let bit = 1 << (offset as u32 & (T::BITS - 1));
    let v = if C::WRITES {
        let v = access!(core.load_for_store::<T>(address)).to64();
        access!(core.store(address, T::from64(C::apply(v, bit))));
        v
    } else {
        access!(core.load::<T>(address)).to64()
    };
    note(core, v & bit != 0);
    Flow::Next
}

fn reg_reg<C: Change, T: Int>(core: &mut Core, op: &Op) -> Flow {
    let offset = T::read(core, op.src).to64();
    in_register::<C, T>(core, op, offset)
}

fn reg_imm<C: Change, T: Int>(core: &mut Core, op: &Op) -> Flow {
    in_register::<C, T>(core, op, op.imm)
}

/// A bit string in memory: the register's signed offset reaches beyond the operand.
fn mem_reg<C: Change, T: Int>(core: &mut Core, op: &Op) -> Flow {
    let offset = T::read(core, op.src).sext() as i64;
    let units = offset >> T::BITS.trailing_zeros();
    let moved = Op {
        disp: op.disp.wrapping_add(units.wrapping_mul(T::BITS as i64 / 8)),
        ..*op
    };
    let address = moved.address(core);
    in_memory::<C, T>(core, address, offset as u64)
}

fn mem_imm<C: Change, T: Int>(core: &mut Core, op: &Op) -> Flow {
    let address = op.address(core);
    in_memory::<C, T>(core, address, op.imm)
}

fn handler<C: Change, T: Int>(form: Form) -> Option<Handler> {
    Some(match form {
        Form::RegReg => reg_reg::<C, T>,
        Form::RegImm => reg_imm::<C, T>,
        Form::MemReg => mem_reg::<C, T>,
        Form::MemImm => mem_imm::<C, T>,
        Form::RegMem => return None,
    })
}

fn pick<C: Change>(bits: u32, form: Form) -> Option<Handler> {
    by_width!(bits, handler, C)(form)
}

#[inline(always)]
fn source<T: Int>(core: &mut Core, op: &Op) -> Result<T, Blocked> {
    if op.src == MEMORY {
        core.load(op.address(core))
    } else {
        Ok(T::read(core, op.src))
    }
}

/// BSF and BSR leave the destination alone when the source is zero.
fn scan<const FORWARD: bool, T: Int>(core: &mut Core, op: &Op) -> Flow {
    let v = access!(source::<T>(core, op)).to64();
    core.set_some(ZF, if v == 0 { ZF } else { 0 });
    if v != 0 {
        let index = if FORWARD {
            v.trailing_zeros()
        } else {
            63 - v.leading_zeros()
        };
        T::write(core, op.dst, T::from64(index as u64));
    }
    Flow::Next
}

fn bsf<T: Int>(core: &mut Core, op: &Op) -> Flow {
    scan::<true, T>(core, op)
}

fn bsr<T: Int>(core: &mut Core, op: &Op) -> Flow {
    scan::<false, T>(core, op)
}

fn popcnt<T: Int>(core: &mut Core, op: &Op) -> Flow {
    let v = access!(source::<T>(core, op)).to64();
    let count = v.count_ones() as u64;
    T::write(core, op.dst, T::from64(count));
    core.set_status(if v == 0 { ZF } else { 0 });
    Flow::Next
}

/// One step of CRC-32C, bit-reflected.
fn crc32c(crc: u32, data: u64, bits: u32) -> u32 {
    let mut crc = crc as u64 ^ data;
    let mut high = if bits == 64 { data >> 32 } else { 0 };
    if bits == 64 {
        crc &= 0xFFFF_FFFF;
    }
    for round in 0..bits {
        if bits == 64 && round == 32 {
            crc ^= high;
            high = 0;
        }
        crc = crc >> 1 ^ if crc & 1 != 0 { 0x82F6_3B78 } else { 0 };
    }
    crc as u32
}

fn crc32<T: Int>(core: &mut Core, op: &Op) -> Flow {
    let data = access!(source::<T>(core, op)).to64();
    let crc = u32::read(core, op.dst);
    u32::write(core, op.dst, crc32c(crc, data, T::BITS));
    Flow::Next
}

fn lower_change(i: &Instruction, op: &mut Op) -> Option<Handler> {
    let pick = match i.mnemonic() {
        Mnemonic::Bt => pick::<Keep>,
        Mnemonic::Bts => pick::<Set>,
        Mnemonic::Btr => pick::<Reset>,
        Mnemonic::Btc => pick::<Complement>,
        _ => return None,
    };
    let form = operands(i, op)?;
    pick(width(i, 0), form)
}

pub(super) fn lower(i: &Instruction, op: &mut Op) -> Option<Handler> {
    let bits = || width(i, 1);
    let handler = match i.mnemonic() {
        Mnemonic::Bsf | Mnemonic::Tzcnt => by_width!(bits(), bsf),
        Mnemonic::Bsr | Mnemonic::Lzcnt => by_width!(bits(), bsr),
        Mnemonic::Popcnt => by_width!(bits(), popcnt),
        Mnemonic::Crc32 => by_width!(bits(), crc32),
        _ => return lower_change(i, op),
    };
    if operands(i, op)? == Form::RegMem {
        op.src = MEMORY;
    }
    Some(handler)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32c_of_the_check_string() {
        let crc = b"123456789"
            .iter()
            .fold(!0, |crc, &b| crc32c(crc, b as u64, 8));
        assert_eq!(!crc, 0xE306_9283);
        let wide = crc32c(!0, u64::from_le_bytes(*b"12345678"), 64);
        assert_eq!(!crc32c(wide, b'9' as u64, 8), 0xE306_9283);
    }
}
