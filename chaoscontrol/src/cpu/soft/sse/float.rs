//! Floating-point arithmetic, executed by the host under the guest's MXCSR.
//!
//! Addition, multiplication, division, square root and conversions are exact on every
//! x86-64 host: result, rounding, NaN and flags follow from operands and MXCSR. One asm
//! block loads the guest's MXCSR with all exceptions masked, executes the instruction,
//! takes the flags and restores the host's. Unmasked exceptions are raised afterwards.
//!
//! One corner differs from hardware: beside an *unmasked* overflow or underflow, PE says
//! whether the masked result would have been inexact, where hardware asks about the
//! result with an unbounded exponent.

use iced_x86::{Code, Instruction};

use super::operand::raise;
use crate::cpu::soft::bits::CR4_OSXMMEXCPT;
use crate::cpu::soft::core::Core;
use crate::cpu::soft::mem::Blocked;
use crate::cpu::soft::op::{Handler, Op};

/// The six exception flags of MXCSR: invalid, denormal, divide by zero, overflow,
/// underflow, precision.
pub const FLAGS: u32 = 0x3F;
/// The masks of the six exceptions.
pub const MASKS: u32 = FLAGS << MASK_SHIFT;
/// Bits of MXCSR that may be set: all but MM and the reserved ones.
pub const DEFINED: u32 = 0xFFFF;
/// Rounding control.
pub const ROUNDING: u32 = 3 << ROUNDING_SHIFT;
/// Position of the rounding control.
pub const ROUNDING_SHIFT: u32 = 13;

const MASK_SHIFT: u32 = 7;
const FLUSH_TO_ZERO: u32 = 1 << 15;
const UNDERFLOW: u32 = 1 << 4;
/// Exceptions found in the operands, before anything is computed: they come alone.
const BEFORE: u32 = 7;

/// Computes `f(mxcsr)`, which answers a result and MXCSR after it, and settles the
/// exceptions. `tiny` says whether a result is denormal, which is an underflow when
/// underflow is unmasked, even if the result is exact.
#[inline(always)]
pub fn float<R>(
    core: &mut Core,
    f: impl Fn(u32) -> (R, u32),
    tiny: impl Fn(&R) -> bool,
) -> Result<R, Blocked> {
    let guest = core.s.mxcsr & DEFINED;
    if guest & MASKS == MASKS {
        let (result, after) = f(guest);
        core.s.mxcsr = after;
        return Ok(result);
    }
    let underflow_unmasked = guest & UNDERFLOW << MASK_SHIFT == 0;
    let mut quiet = guest & !FLAGS | MASKS;
    if underflow_unmasked {
        quiet &= !FLUSH_TO_ZERO;
    }
    let (result, after) = f(quiet);
    let mut flags = after & FLAGS;
    if underflow_unmasked && tiny(&result) {
        flags |= UNDERFLOW;
    }
    settle(core, flags)?;
    Ok(result)
}

/// Makes `flags` sticky and raises #XM (or #UD, if the system does not know #XM) when one
/// of them is unmasked (SDM volume 1, 11.5.2 and 11.5.3).
#[cold]
fn settle(core: &mut Core, mut flags: u32) -> Result<(), Blocked> {
    let unmasked = !(core.s.mxcsr >> MASK_SHIFT) & FLAGS;
    if flags & unmasked & BEFORE != 0 {
        flags &= BEFORE;
    }
    core.s.mxcsr |= flags;
    match flags & unmasked {
        0 => Ok(()),
        _ if core.s.cr4 & CR4_OSXMMEXCPT != 0 => raise(core, 19, None),
        _ => raise(core, 6, None),
    }
}

/// Whether any of the four singles is denormal.
pub fn tiny_ps(v: &u128) -> bool {
    (0..4).any(|n| tiny_ss(&(v >> (32 * n))))
}

/// Whether either of the two doubles is denormal.
pub fn tiny_pd(v: &u128) -> bool {
    tiny_sd(v) || tiny_sd(&(v >> 64))
}

/// Whether the low single is denormal.
pub fn tiny_ss(v: &u128) -> bool {
    f32::from_bits(*v as u32).is_subnormal()
}

/// Whether the low double is denormal.
pub fn tiny_sd(v: &u128) -> bool {
    f64::from_bits(*v as u64).is_subnormal()
}

/// For instructions that do not detect underflow.
pub fn never<R>(_: &R) -> bool {
    false
}

/// Asm with the MXCSR `$csr` around `$instruction`; evaluates to MXCSR after it.
macro_rules! under_mxcsr {
    ($csr:expr, $instruction:expr, $($operands:tt)*) => {{
        let mut csr: [u32; 2] = [$csr & $crate::cpu::soft::sse::float::DEFINED, 0];
        // SAFETY: all memory touched is the array `csr`, which outlives the block. MXCSR
        // gets defined bits only, with exceptions masked, and is as before afterwards.
        unsafe {
            std::arch::asm!(
                "stmxcsr [{csr} + 4]",
                "ldmxcsr [{csr}]",
                $instruction,
                "stmxcsr [{csr}]",
                "ldmxcsr [{csr} + 4]",
                csr = in(reg) csr.as_mut_ptr(),
                $($operands)*
                options(nostack),
            );
        }
        csr[0]
    }};
}

/// A function `(a, b, mxcsr) -> (result, mxcsr)` that is one instruction of the host.
macro_rules! host_float {
    ($mnemonic:literal) => {
        host_float!($mnemonic, "")
    };
    ($mnemonic:literal, $immediate:literal) => {{
        #[inline(always)]
        fn host(a: u128, b: u128, csr: u32) -> (u128, u32) {
            let mut d = $crate::cpu::soft::sse::operand::vector(a);
            let after = under_mxcsr!(csr, concat!($mnemonic, " {d}, {b}", $immediate),
                d = inout(xmm_reg) d,
                b = in(xmm_reg) $crate::cpu::soft::sse::operand::vector(b),
            );
            ($crate::cpu::soft::sse::operand::bits(d), after)
        }
        host
    }};
}

/// A handler of `dst = f(dst, src)` in floating point.
macro_rules! float_binary {
    ($i:expr, $memory:ident, $f:expr, $tiny:expr) => {
        with_source!($i, $memory, |core, op, b| {
            let a = *$crate::cpu::soft::sse::operand::dst(core, op);
            let result = $crate::cpu::soft::sse::float::float(core, |csr| $f(a, b, csr), $tiny)?;
            *$crate::cpu::soft::sse::operand::dst(core, op) = result;
        })
    };
}

/// Rows of code, memory operand, mnemonic and the test for tiny results.
macro_rules! table {
    ($i:expr; $($code:ident $memory:ident $mnemonic:literal $tiny:ident;)*) => {
        match $i.code() {
            $(Code::$code => float_binary!($i, $memory, host_float!($mnemonic), $tiny),)*
            _ => return None,
        }
    };
}

pub fn lower(i: &Instruction) -> Option<Handler> {
    Some(table! { i;
        Addps_xmm_xmmm128 M128 "addps" tiny_ps;
        Addpd_xmm_xmmm128 M128 "addpd" tiny_pd;
        Addss_xmm_xmmm32 M32 "addss" tiny_ss;
        Addsd_xmm_xmmm64 M64 "addsd" tiny_sd;
        Subps_xmm_xmmm128 M128 "subps" tiny_ps;
        Subpd_xmm_xmmm128 M128 "subpd" tiny_pd;
        Subss_xmm_xmmm32 M32 "subss" tiny_ss;
        Subsd_xmm_xmmm64 M64 "subsd" tiny_sd;
        Mulps_xmm_xmmm128 M128 "mulps" tiny_ps;
        Mulpd_xmm_xmmm128 M128 "mulpd" tiny_pd;
        Mulss_xmm_xmmm32 M32 "mulss" tiny_ss;
        Mulsd_xmm_xmmm64 M64 "mulsd" tiny_sd;
        Divps_xmm_xmmm128 M128 "divps" tiny_ps;
        Divpd_xmm_xmmm128 M128 "divpd" tiny_pd;
        Divss_xmm_xmmm32 M32 "divss" tiny_ss;
        Divsd_xmm_xmmm64 M64 "divsd" tiny_sd;
        Sqrtps_xmm_xmmm128 M128 "sqrtps" never;
        Sqrtpd_xmm_xmmm128 M128 "sqrtpd" never;
        Sqrtss_xmm_xmmm32 M32 "sqrtss" never;
        Sqrtsd_xmm_xmmm64 M64 "sqrtsd" never;
        Minps_xmm_xmmm128 M128 "minps" never;
        Minpd_xmm_xmmm128 M128 "minpd" never;
        Minss_xmm_xmmm32 M32 "minss" never;
        Minsd_xmm_xmmm64 M64 "minsd" never;
        Maxps_xmm_xmmm128 M128 "maxps" never;
        Maxpd_xmm_xmmm128 M128 "maxpd" never;
        Maxss_xmm_xmmm32 M32 "maxss" never;
        Maxsd_xmm_xmmm64 M64 "maxsd" never;
        Addsubps_xmm_xmmm128 M128 "addsubps" tiny_ps;
        Addsubpd_xmm_xmmm128 M128 "addsubpd" tiny_pd;
        Cvtps2pd_xmm_xmmm64 M64 "cvtps2pd" never;
        Cvtpd2ps_xmm_xmmm128 M128 "cvtpd2ps" tiny_ps;
        Cvtss2sd_xmm_xmmm32 M32 "cvtss2sd" never;
        Cvtsd2ss_xmm_xmmm64 M64 "cvtsd2ss" tiny_ss;
        Cvtdq2ps_xmm_xmmm128 M128 "cvtdq2ps" never;
        Cvtps2dq_xmm_xmmm128 M128 "cvtps2dq" never;
        Cvttps2dq_xmm_xmmm128 M128 "cvttps2dq" never;
        Cvttpd2dq_xmm_xmmm128 M128 "cvttpd2dq" never;
        Cvtpd2dq_xmm_xmmm128 M128 "cvtpd2dq" never;
        Cvtdq2pd_xmm_xmmm64 M64 "cvtdq2pd" never;
    })
}

pub(in crate::cpu::soft) use {host_float, under_mxcsr};
