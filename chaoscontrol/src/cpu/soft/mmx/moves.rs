//! Moves between MMX registers, memory and other registers, and EMMS.

use iced_x86::{Code, Instruction};

use super::register::{Mm, enter, get, ready, set};
use crate::cpu::soft::op::{Handler, Op};
use crate::cpu::soft::sse::operand::{Gpr32, Gpr64, M16, M32, M64, gpr, handler};
use crate::cpu::soft::sse::store_selected;

/// A handler that stores an MMX register.
macro_rules! store {
    ($word:ty) => {
        handler!(|core, op| {
            ready(core)?;
            let address = op.address(core);
            core.store::<$word>(address, get(core, op.src) as $word)?;
            enter(core);
        })
    };
}

/// A handler that sets the destination to the source.
macro_rules! load {
    ($i:expr, $memory:ty | $register:ty) => {
        with_half!($i, $memory | $register, |core, op, b| { set(core, op, b) })
    };
}

/// A handler that sets a general-purpose register to `$f(op, source)`.
macro_rules! to_gpr {
    ($f:expr) => {
        with_half!(Mm, |core, op, b| { *gpr(core, op) = $f(op, b) })
    };
}

/// The sign bits of the eight bytes.
fn signs(b: u64) -> u64 {
    (0..8).fold(0, |mask, n| mask | (b >> (8 * n + 7) & 1) << n)
}

/// Where word `imm` begins.
fn word(imm: u64) -> u64 {
    (imm & 3) * 16
}

pub fn lower(i: &Instruction) -> Option<Handler> {
    use Code::*;
    let to_memory = Op::is_memory(i, 0);
    Some(match i.code() {
        Movd_mm_rm32 => load!(i, M32 | Gpr32),
        Movq_mm_rm64 => load!(i, M64 | Gpr64),
        Movq_mm_mmm64 => load!(i, M64 | Mm),
        Movd_rm32_mm if to_memory => store!(u32),
        Movq_rm64_mm | Movq_mmm64_mm if to_memory => store!(u64),
        Movd_rm32_mm => to_gpr!(|_, b| b as u32 as u64),
        Movq_rm64_mm => to_gpr!(|_, b| b),
        Movq_mmm64_mm => load!(i, M64 | Mm),
        Movntq_m64_mm => store!(u64),
        Pmovmskb_r32_mm | Pmovmskb_r64_mm => to_gpr!(|_, b| signs(b)),
        Pextrw_r32_mm_imm8 | Pextrw_r64_mm_imm8 => {
            to_gpr!(|op: &Op, b: u64| (b >> word(op.imm)) as u16 as u64)
        }
        Pinsrw_mm_r32m16_imm8 | Pinsrw_mm_r64m16_imm8 => {
            with_half!(i, M16 | Gpr32, |core, op, b| {
                let at = word(op.imm);
                let value = get(core, op.dst) & !(0xFFFF << at) | (b & 0xFFFF) << at;
                set(core, op, value);
            })
        }
        Maskmovq_rDI_mm_mm => handler!(|core, op| {
            ready(core)?;
            let value = get(core, op.src).to_le_bytes();
            let mask = get(core, op.aux).to_le_bytes();
            let address = op.address(core);
            store_selected(core, address, &value, &mask)?;
            enter(core);
        }),
        Emms => handler!(|core, _op| {
            ready(core)?;
            core.s.fpu.top = 0;
            core.s.fpu.valid = 0;
        }),
        _ => return None,
    })
}
