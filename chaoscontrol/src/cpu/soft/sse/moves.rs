//! Moves between XMM registers, memory and general-purpose registers.

use std::arch::asm;

use iced_x86::{Code, Instruction};

use super::operand::{aligned, dst, gpr, src, vector};
use crate::cpu::soft::op::{Handler, Op};

const LOW64: u128 = u64::MAX as u128;
const LOW32: u128 = u32::MAX as u128;

/// A handler that stores `$f` of the source register.
macro_rules! store {
    (aligned) => {
        handler!(|core, op| {
            let address = aligned(core, op)?;
            core.store::<u128>(address, src(core, op))?;
        })
    };
    ($word:ty, $shift:expr) => {
        handler!(|core, op| {
            let address = op.address(core);
            core.store::<$word>(address, (src(core, op) >> $shift) as $word)?;
        })
    };
}

/// A handler that gathers sign bits into a general-purpose register.
macro_rules! mask {
    ($mnemonic:literal) => {
        with_source!(Xmm, |core, op, b| {
            let mask: u64;
            // SAFETY: reads one register and writes another.
            unsafe {
                asm!(concat!($mnemonic, " {0:e}, {1}"), out(reg) mask, in(xmm_reg) vector(b),
                     options(pure, nomem, nostack, preserves_flags));
            }
            *gpr(core, op) = mask;
        })
    };
}

/// A handler that replaces the bits `$mask` of the destination by those of `$f` of the source.
macro_rules! merge {
    ($source:ident, $mask:expr, $f:expr) => {
        with_source!($source, |core, op, b| {
            let d = dst(core, op);
            *d = *d & !$mask | $f(b) & $mask;
        })
    };
}

/// A handler that sets the destination to `$f` of the source.
macro_rules! set {
    ($i:expr, $memory:ident, $f:expr) => {
        with_source!($i, $memory, |core, op, b| { *dst(core, op) = $f(b) })
    };
}

fn same(b: u128) -> u128 {
    b
}

fn up(b: u128) -> u128 {
    b << 64
}

fn down(b: u128) -> u128 {
    b >> 64
}

fn low64(b: u128) -> u128 {
    b & LOW64
}

fn low_twice(b: u128) -> u128 {
    low64(b) | b << 64
}

fn even_twice(b: u128) -> u128 {
    let even = b & (LOW32 | LOW32 << 64);
    even | even << 32
}

fn odd_twice(b: u128) -> u128 {
    even_twice(b >> 32)
}

pub fn lower(i: &Instruction) -> Option<Handler> {
    use Code::*;
    let load = Op::is_memory(i, 1);
    let to_memory = Op::is_memory(i, 0);
    Some(match i.code() {
        Movups_xmm_xmmm128 | Movupd_xmm_xmmm128 | Movdqu_xmm_xmmm128 | Lddqu_xmm_m128 => {
            set!(i, Unaligned, same)
        }
        Movaps_xmm_xmmm128 | Movapd_xmm_xmmm128 | Movdqa_xmm_xmmm128 | Movntdqa_xmm_m128 => {
            set!(i, M128, same)
        }
        Movups_xmmm128_xmm | Movupd_xmmm128_xmm | Movdqu_xmmm128_xmm if to_memory => {
            store!(u128, 0)
        }
        Movaps_xmmm128_xmm | Movapd_xmmm128_xmm | Movdqa_xmmm128_xmm | Movntps_m128_xmm
        | Movntpd_m128_xmm | Movntdq_m128_xmm
            if to_memory =>
        {
            store!(aligned)
        }
        Movups_xmmm128_xmm | Movupd_xmmm128_xmm | Movdqu_xmmm128_xmm | Movaps_xmmm128_xmm
        | Movapd_xmmm128_xmm | Movdqa_xmmm128_xmm => set!(i, M128, same),

        Movss_xmm_xmmm32 if load => set!(i, M32, same),
        Movsd_xmm_xmmm64 if load => set!(i, M64, same),
        Movss_xmmm32_xmm if to_memory => store!(u32, 0),
        Movsd_xmmm64_xmm if to_memory => store!(u64, 0),
        Movss_xmm_xmmm32 | Movss_xmmm32_xmm => merge!(Xmm, LOW32, same),
        Movsd_xmm_xmmm64 | Movsd_xmmm64_xmm => merge!(Xmm, LOW64, same),

        Movlps_xmm_m64 | Movlpd_xmm_m64 => merge!(M64, LOW64, same),
        Movhps_xmm_m64 | Movhpd_xmm_m64 => merge!(M64, !LOW64, up),
        Movhlps_xmm_xmm => merge!(Xmm, LOW64, down),
        Movlhps_xmm_xmm => merge!(Xmm, !LOW64, up),
        Movlps_m64_xmm | Movlpd_m64_xmm => store!(u64, 0),
        Movhps_m64_xmm | Movhpd_m64_xmm => store!(u64, 64),
        Movddup_xmm_xmmm64 => set!(i, M64, low_twice),
        Movsldup_xmm_xmmm128 => set!(i, M128, even_twice),
        Movshdup_xmm_xmmm128 => set!(i, M128, odd_twice),

        Movq_xmm_xmmm64 => set!(i, M64, low64),
        Movq_xmmm64_xmm if to_memory => store!(u64, 0),
        Movq_xmmm64_xmm => set!(i, M64, low64),
        Movd_xmm_rm32 => with_source!(i, M32 | Gpr32, |core, op, b| { *dst(core, op) = b }),
        Movq_xmm_rm64 => with_source!(i, M64 | Gpr64, |core, op, b| { *dst(core, op) = b }),
        Movd_rm32_xmm if to_memory => store!(u32, 0),
        Movq_rm64_xmm if to_memory => store!(u64, 0),
        Movd_rm32_xmm => with_source!(Xmm, |core, op, b| { *gpr(core, op) = b as u32 as u64 }),
        Movq_rm64_xmm => with_source!(Xmm, |core, op, b| { *gpr(core, op) = b as u64 }),

        Movmskps_r32_xmm | Movmskps_r64_xmm => mask!("movmskps"),
        Movmskpd_r32_xmm | Movmskpd_r64_xmm => mask!("movmskpd"),
        Pmovmskb_r32_xmm | Pmovmskb_r64_xmm => mask!("pmovmskb"),

        Maskmovdqu_rDI_xmm_xmm => handler!(|core, op| {
            let value = core.s.xmm[op.src as usize & 15].to_le_bytes();
            let mask = core.s.xmm[op.aux as usize & 15].to_le_bytes();
            let address = op.address(core);
            store_selected(core, address, &value, &mask)?;
        }),
        _ => return None,
    })
}

/// Stores the bytes of `value` whose byte of `mask` has its top bit set; all or nothing.
pub fn store_selected(
    core: &mut crate::cpu::soft::core::Core,
    address: u64,
    value: &[u8],
    mask: &[u8],
) -> Result<(), crate::cpu::soft::mem::Blocked> {
    let selected = || {
        (0..value.len())
            .filter(|&n| mask[n] & 0x80 != 0)
            .map(|n| (address.wrapping_add(n as u64), value[n]))
    };
    for (address, _) in selected() {
        core.load_for_store::<u8>(address)?;
    }
    for (address, value) in selected() {
        core.store(address, value)?;
    }
    Ok(())
}
