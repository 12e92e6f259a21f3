//! Moves and conversions between MMX and XMM registers: SSE instructions that use MMX
//! registers too.
//!
//! The conversions are those of whole XMM registers with zeros in the upper half, which
//! signal nothing.

use iced_x86::{Code, Instruction};

use super::register::{Half, Mm, enter, get, ready, set};
use crate::cpu::soft::op::{Handler, Op};
use crate::cpu::soft::sse::float::{float, host_float, never, under_mxcsr};
use crate::cpu::soft::sse::operand::{M64, M128, Source, Xmm, dst, handler, src};

/// A handler `xmm = f(xmm, mm or m64)`.
macro_rules! from_mmx {
    ($source:ty, $enter:literal, $mnemonic:literal, $keep:expr) => {
        handler!(|core, op| {
            if $enter {
                ready(core)?;
            }
            let b = <$source>::half(core, op)? as u128;
            let a = *dst(core, op);
            let result = float(core, |csr| host_float!($mnemonic)(a, b, csr), never)?;
            if $enter {
                enter(core);
            }
            *dst(core, op) = a & $keep | result & !$keep;
        })
    };
}

/// A handler `mm = f(xmm or memory)` of the low `$width` bits.
macro_rules! to_mmx {
    ($i:expr, $memory:ty, $width:literal, $mnemonic:literal) => {
        if Op::is_memory($i, 1) {
            to_mmx!($memory, $width, $mnemonic)
        } else {
            to_mmx!(Xmm, $width, $mnemonic)
        }
    };
    ($source:ty, $width:literal, $mnemonic:literal) => {
        handler!(|core, op| {
            ready(core)?;
            let b = <$source as Source>::get(core, op)? & (u128::MAX >> (128 - $width));
            let result = float(core, |csr| host_float!($mnemonic)(0, b, csr), never)?;
            enter(core);
            set(core, op, result as u64);
        })
    };
}

const UPPER: u128 = (u64::MAX as u128) << 64;

pub fn lower(i: &Instruction) -> Option<Handler> {
    use Code::*;
    let memory = Op::is_memory(i, 1);
    Some(match i.code() {
        Cvtpi2ps_xmm_mmm64 if memory => from_mmx!(M64, true, "cvtdq2ps", UPPER),
        Cvtpi2ps_xmm_mmm64 => from_mmx!(Mm, true, "cvtdq2ps", UPPER),
        // Only this one leaves the x87 state alone when its source is memory.
        Cvtpi2pd_xmm_mmm64 if memory => from_mmx!(M64, false, "cvtdq2pd", 0),
        Cvtpi2pd_xmm_mmm64 => from_mmx!(Mm, true, "cvtdq2pd", 0),
        Cvtps2pi_mm_xmmm64 => to_mmx!(i, M64, 64, "cvtps2dq"),
        Cvttps2pi_mm_xmmm64 => to_mmx!(i, M64, 64, "cvttps2dq"),
        Cvtpd2pi_mm_xmmm128 => to_mmx!(i, M128, 128, "cvtpd2dq"),
        Cvttpd2pi_mm_xmmm128 => to_mmx!(i, M128, 128, "cvttpd2dq"),
        Movq2dq_xmm_mm => handler!(|core, op| {
            ready(core)?;
            enter(core);
            *dst(core, op) = get(core, op.src) as u128;
        }),
        Movdq2q_mm_xmm => handler!(|core, op| {
            ready(core)?;
            enter(core);
            let value = src(core, op) as u64;
            set(core, op, value);
        }),
        _ => return None,
    })
}
