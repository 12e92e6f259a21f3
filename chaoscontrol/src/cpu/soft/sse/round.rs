//! ROUNDPS and its kin: rounding to an integral value in a mode of the immediate's.

use iced_x86::{Code, Instruction};

use super::float::{ROUNDING, ROUNDING_SHIFT, float, never};
use super::operand::dst;
use crate::cpu::soft::op::{Handler, Op};

/// Immediate: round as MXCSR says instead of as bits 0..2 say.
const BY_MXCSR: u64 = 4;
/// Immediate: do not report inexact results.
const SUPPRESS_PRECISION: u8 = 8;

/// A handler that lets the host round by MXCSR, with the mode put there.
macro_rules! by_mode {
    ($i:expr, $memory:ident, $host:expr) => {
        with_source!($i, $memory, |core, op, b| {
            let imm = op.imm;
            let a = *dst(core, op);
            let result = float(
                core,
                |csr| {
                    let mode = if imm & BY_MXCSR != 0 {
                        csr & ROUNDING
                    } else {
                        (imm as u32 & 3) << ROUNDING_SHIFT
                    };
                    let (result, after) = $host(a, b, csr & !ROUNDING | mode);
                    (result, after & !ROUNDING | csr & ROUNDING)
                },
                never,
            )?;
            *dst(core, op) = result;
        })
    };
}

macro_rules! round {
    ($i:expr, $memory:ident, $mnemonic:literal) => {
        if $i.immediate8() & SUPPRESS_PRECISION != 0 {
            by_mode!($i, $memory, host_float!($mnemonic, ", 12"))
        } else {
            by_mode!($i, $memory, host_float!($mnemonic, ", 4"))
        }
    };
}

pub fn lower(i: &Instruction) -> Option<Handler> {
    use Code::*;
    Some(match i.code() {
        Roundps_xmm_xmmm128_imm8 => round!(i, M128, "roundps"),
        Roundpd_xmm_xmmm128_imm8 => round!(i, M128, "roundpd"),
        Roundss_xmm_xmmm32_imm8 => round!(i, M32, "roundss"),
        Roundsd_xmm_xmmm64_imm8 => round!(i, M64, "roundsd"),
        _ => return None,
    })
}
