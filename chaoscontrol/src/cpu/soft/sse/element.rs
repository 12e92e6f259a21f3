//! Single elements into and out of XMM registers.

use iced_x86::{Code, Instruction};

use super::operand::{dst, gpr, src};
use crate::cpu::soft::op::{Handler, Op};

/// A handler that replaces one element of `$word` size.
macro_rules! insert {
    ($i:expr, $memory:ident | $register:ident, $word:ty) => {
        with_source!($i, $memory | $register, |core, op, b| {
            let shift = position::<$word>(op.imm);
            let d = dst(core, op);
            *d = *d & !((<$word>::MAX as u128) << shift) | (b as $word as u128) << shift;
        })
    };
}

/// A handler that hands out one element of `$word` size, zero-extended.
macro_rules! extract {
    ($i:expr, $word:ty) => {
        if Op::is_memory($i, 0) {
            handler!(|core, op| {
                let value = (src(core, op) >> position::<$word>(op.imm)) as $word;
                let address = op.address(core);
                core.store::<$word>(address, value)?;
            })
        } else {
            handler!(|core, op| {
                let value = (src(core, op) >> position::<$word>(op.imm)) as $word;
                *gpr(core, op) = value as u64;
            })
        }
    };
}

/// Where element `index` begins; index bits that do not matter are ignored.
fn position<T>(index: u64) -> u32 {
    let size = size_of::<T>() as u32;
    (index as u32 & (16 / size - 1)) * size * 8
}

/// INSERTPS with the source element already in the low bits of `b`.
fn insert_single(a: u128, b: u128, imm: u64) -> u128 {
    const LANE: u128 = u32::MAX as u128;
    let to = position::<u32>(imm >> 4);
    let inserted = a & !(LANE << to) | (b & LANE) << to;
    (0..4)
        .filter(|n| imm >> n & 1 != 0)
        .fold(inserted, |value, n| value & !(LANE << (32 * n)))
}

pub fn lower(i: &Instruction) -> Option<Handler> {
    use Code::*;
    Some(match i.code() {
        Pinsrb_xmm_r32m8_imm8 | Pinsrb_xmm_r64m8_imm8 => insert!(i, M8 | Gpr32, u8),
        Pinsrw_xmm_r32m16_imm8 | Pinsrw_xmm_r64m16_imm8 => insert!(i, M16 | Gpr32, u16),
        Pinsrd_xmm_rm32_imm8 => insert!(i, M32 | Gpr32, u32),
        Pinsrq_xmm_rm64_imm8 => insert!(i, M64 | Gpr64, u64),
        Pextrb_r32m8_xmm_imm8 | Pextrb_r64m8_xmm_imm8 => extract!(i, u8),
        Pextrw_r32_xmm_imm8
        | Pextrw_r64_xmm_imm8
        | Pextrw_r32m16_xmm_imm8
        | Pextrw_r64m16_xmm_imm8 => extract!(i, u16),
        Pextrd_rm32_xmm_imm8 | Extractps_rm32_xmm_imm8 | Extractps_r64m32_xmm_imm8 => {
            extract!(i, u32)
        }
        Pextrq_rm64_xmm_imm8 => extract!(i, u64),
        Insertps_xmm_xmmm32_imm8 if Op::is_memory(i, 1) => {
            with_source!(M32, |core, op, b| {
                let imm = op.imm;
                let d = dst(core, op);
                *d = insert_single(*d, b, imm);
            })
        }
        Insertps_xmm_xmmm32_imm8 => with_source!(Xmm, |core, op, b| {
            let imm = op.imm;
            let d = dst(core, op);
            *d = insert_single(*d, b >> position::<u32>(imm >> 6), imm);
        }),
        _ => return None,
    })
}
