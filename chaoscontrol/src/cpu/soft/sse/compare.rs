//! Comparisons: CMPccPS and its kin, COMISS and its kin, PTEST.

use iced_x86::{Code, Instruction};

use super::float::{float, never};
use super::operand::{dst, vector};
use crate::cpu::soft::flags::{CF, PF, ZF};
use crate::cpu::soft::op::{Handler, Op};

/// A handler of a comparison into a mask, one for each predicate.
macro_rules! into_mask {
    ($i:expr, $memory:ident, $mnemonic:literal) => {
        match $i.immediate8() & 7 {
            0 => float_binary!($i, $memory, host_float!($mnemonic, ", 0"), never),
            1 => float_binary!($i, $memory, host_float!($mnemonic, ", 1"), never),
            2 => float_binary!($i, $memory, host_float!($mnemonic, ", 2"), never),
            3 => float_binary!($i, $memory, host_float!($mnemonic, ", 3"), never),
            4 => float_binary!($i, $memory, host_float!($mnemonic, ", 4"), never),
            5 => float_binary!($i, $memory, host_float!($mnemonic, ", 5"), never),
            6 => float_binary!($i, $memory, host_float!($mnemonic, ", 6"), never),
            _ => float_binary!($i, $memory, host_float!($mnemonic, ", 7"), never),
        }
    };
}

/// A handler of a comparison into ZF, PF and CF; the other status flags become 0.
macro_rules! into_flags {
    ($i:expr, $memory:ident, $mnemonic:literal) => {
        with_source!($i, $memory, |core, op, b| {
            let a = *dst(core, op);
            let ah = float(
                core,
                |csr| {
                    let rax: u64;
                    let after = under_mxcsr!(csr, concat!($mnemonic, " {a}, {b}\nlahf"),
                        a = in(xmm_reg) vector(a),
                        b = in(xmm_reg) vector(b),
                        out("rax") rax,
                    );
                    (rax >> 8, after)
                },
                never,
            )?;
            core.set_status(ah & (ZF | PF | CF));
        })
    };
}

pub fn lower(i: &Instruction) -> Option<Handler> {
    use Code::*;
    Some(match i.code() {
        Cmpps_xmm_xmmm128_imm8 => into_mask!(i, M128, "cmpps"),
        Cmppd_xmm_xmmm128_imm8 => into_mask!(i, M128, "cmppd"),
        Cmpss_xmm_xmmm32_imm8 => into_mask!(i, M32, "cmpss"),
        Cmpsd_xmm_xmmm64_imm8 => into_mask!(i, M64, "cmpsd"),
        Ucomiss_xmm_xmmm32 => into_flags!(i, M32, "ucomiss"),
        Ucomisd_xmm_xmmm64 => into_flags!(i, M64, "ucomisd"),
        Comiss_xmm_xmmm32 => into_flags!(i, M32, "comiss"),
        Comisd_xmm_xmmm64 => into_flags!(i, M64, "comisd"),
        Ptest_xmm_xmmm128 => with_source!(i, M128, |core, op, b| {
            let a = *dst(core, op);
            let zero = if a & b == 0 { ZF } else { 0 };
            let carry = if !a & b == 0 { CF } else { 0 };
            core.set_status(zero | carry);
        }),
        _ => return None,
    })
}
