//! Lane-wise MMX instructions: those of XMM registers, which the host executes, on the
//! lower half.

use iced_x86::{Code, Instruction};

use super::register::{Mm, enter, get, ready, set};
use crate::cpu::soft::op::{Handler, Op};
use crate::cpu::soft::sse::operand::{M32, M64, handler, host};
use crate::cpu::soft::sse::shuffle::pick;

/// The lower half of `f` on the lower halves.
#[inline(always)]
fn same(f: impl Fn(u128, u128) -> u128, a: u64, b: u64) -> u64 {
    f(a as u128, b as u128) as u64
}

/// The upper half of `f` on the lower halves: what an unpack makes of the upper elements.
#[inline(always)]
fn high(f: impl Fn(u128, u128) -> u128, a: u64, b: u64) -> u64 {
    (f(a as u128, b as u128) >> 64) as u64
}

/// `f`, which makes one half of each operand, on both operands as one.
#[inline(always)]
fn packed(f: impl Fn(u128, u128) -> u128, a: u64, b: u64) -> u64 {
    f(a as u128 | (b as u128) << 64, 0) as u64
}

/// `f` with byte indexes of three bits.
#[inline(always)]
fn indexed(f: impl Fn(u128, u128) -> u128, a: u64, b: u64) -> u64 {
    f(a as u128, (b & 0x8787_8787_8787_8787) as u128) as u64
}

/// Bytes `count`.. of the 16 bytes in `high:low`.
fn align_right(high: u64, low: u64, count: u64) -> u64 {
    let both = low as u128 | (high as u128) << 64;
    if count < 16 {
        (both >> (8 * count)) as u64
    } else {
        0
    }
}

/// Rows of code, memory operand, use of the host's instruction, and that.
macro_rules! table {
    ($i:expr; $($code:ident $memory:ident $halves:ident $mnemonic:literal;)*) => {
        match $i.code() {
            $(Code::$code => with_half!($i, $memory | Mm, |core, op, b| {
                let a = get(core, op.dst);
                set(core, op, $halves(host!($mnemonic), a, b));
            }),)*
            _ => return by_immediate($i),
        }
    };
}

pub fn lower(i: &Instruction) -> Option<Handler> {
    Some(table! { i;
        Punpcklbw_mm_mmm32 M32 same "punpcklbw";
        Punpcklwd_mm_mmm32 M32 same "punpcklwd";
        Punpckldq_mm_mmm32 M32 same "punpckldq";
        Packsswb_mm_mmm64 M64 packed "packsswb";
        Pcmpgtb_mm_mmm64 M64 same "pcmpgtb";
        Pcmpgtw_mm_mmm64 M64 same "pcmpgtw";
        Pcmpgtd_mm_mmm64 M64 same "pcmpgtd";
        Packuswb_mm_mmm64 M64 packed "packuswb";
        Punpckhbw_mm_mmm64 M64 high "punpcklbw";
        Punpckhwd_mm_mmm64 M64 high "punpcklwd";
        Punpckhdq_mm_mmm64 M64 high "punpckldq";
        Packssdw_mm_mmm64 M64 packed "packssdw";
        Pcmpeqb_mm_mmm64 M64 same "pcmpeqb";
        Pcmpeqw_mm_mmm64 M64 same "pcmpeqw";
        Pcmpeqd_mm_mmm64 M64 same "pcmpeqd";
        Psrlw_mm_mmm64 M64 same "psrlw";
        Psrld_mm_mmm64 M64 same "psrld";
        Psrlq_mm_mmm64 M64 same "psrlq";
        Paddq_mm_mmm64 M64 same "paddq";
        Pmullw_mm_mmm64 M64 same "pmullw";
        Psubusb_mm_mmm64 M64 same "psubusb";
        Psubusw_mm_mmm64 M64 same "psubusw";
        Pminub_mm_mmm64 M64 same "pminub";
        Pand_mm_mmm64 M64 same "pand";
        Paddusb_mm_mmm64 M64 same "paddusb";
        Paddusw_mm_mmm64 M64 same "paddusw";
        Pmaxub_mm_mmm64 M64 same "pmaxub";
        Pandn_mm_mmm64 M64 same "pandn";
        Pavgb_mm_mmm64 M64 same "pavgb";
        Psraw_mm_mmm64 M64 same "psraw";
        Psrad_mm_mmm64 M64 same "psrad";
        Pavgw_mm_mmm64 M64 same "pavgw";
        Pmulhuw_mm_mmm64 M64 same "pmulhuw";
        Pmulhw_mm_mmm64 M64 same "pmulhw";
        Psubsb_mm_mmm64 M64 same "psubsb";
        Psubsw_mm_mmm64 M64 same "psubsw";
        Pminsw_mm_mmm64 M64 same "pminsw";
        Por_mm_mmm64 M64 same "por";
        Paddsb_mm_mmm64 M64 same "paddsb";
        Paddsw_mm_mmm64 M64 same "paddsw";
        Pmaxsw_mm_mmm64 M64 same "pmaxsw";
        Pxor_mm_mmm64 M64 same "pxor";
        Psllw_mm_mmm64 M64 same "psllw";
        Pslld_mm_mmm64 M64 same "pslld";
        Psllq_mm_mmm64 M64 same "psllq";
        Pmuludq_mm_mmm64 M64 same "pmuludq";
        Pmaddwd_mm_mmm64 M64 same "pmaddwd";
        Psadbw_mm_mmm64 M64 same "psadbw";
        Psubb_mm_mmm64 M64 same "psubb";
        Psubw_mm_mmm64 M64 same "psubw";
        Psubd_mm_mmm64 M64 same "psubd";
        Psubq_mm_mmm64 M64 same "psubq";
        Paddb_mm_mmm64 M64 same "paddb";
        Paddw_mm_mmm64 M64 same "paddw";
        Paddd_mm_mmm64 M64 same "paddd";
        Pshufb_mm_mmm64 M64 indexed "pshufb";
        Phaddw_mm_mmm64 M64 packed "phaddw";
        Phaddd_mm_mmm64 M64 packed "phaddd";
        Phaddsw_mm_mmm64 M64 packed "phaddsw";
        Pmaddubsw_mm_mmm64 M64 same "pmaddubsw";
        Phsubw_mm_mmm64 M64 packed "phsubw";
        Phsubd_mm_mmm64 M64 packed "phsubd";
        Phsubsw_mm_mmm64 M64 packed "phsubsw";
        Psignb_mm_mmm64 M64 same "psignb";
        Psignw_mm_mmm64 M64 same "psignw";
        Psignd_mm_mmm64 M64 same "psignd";
        Pmulhrsw_mm_mmm64 M64 same "pmulhrsw";
        Pabsb_mm_mmm64 M64 same "pabsb";
        Pabsw_mm_mmm64 M64 same "pabsw";
        Pabsd_mm_mmm64 M64 same "pabsd";
    })
}

/// Shifts and shuffles by an immediate.
fn by_immediate(i: &Instruction) -> Option<Handler> {
    macro_rules! shifts {
        ($($code:ident $mnemonic:literal;)*) => {
            match i.code() {
                $(Code::$code => handler!(|core, op| {
                    ready(core)?;
                    enter(core);
                    let a = get(core, op.dst);
                    set(core, op, same(host!($mnemonic), a, op.imm));
                }),)*
                Code::Pshufw_mm_mmm64_imm8 => with_half!(i, M64 | Mm, |core, op, b| {
                    let b = b as u128;
                    set(core, op, pick::<16>(b, b, op.imm) as u64);
                }),
                Code::Palignr_mm_mmm64_imm8 => with_half!(i, M64 | Mm, |core, op, b| {
                    let a = get(core, op.dst);
                    set(core, op, align_right(a, b, op.imm));
                }),
                _ => return None,
            }
        };
    }
    Some(shifts! {
        Psrlw_mm_imm8 "psrlw";
        Psraw_mm_imm8 "psraw";
        Psllw_mm_imm8 "psllw";
        Psrld_mm_imm8 "psrld";
        Psrad_mm_imm8 "psrad";
        Pslld_mm_imm8 "pslld";
        Psrlq_mm_imm8 "psrlq";
        Psllq_mm_imm8 "psllq";
    })
}
