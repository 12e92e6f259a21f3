//! Conversions between floating point and general-purpose registers.

use iced_x86::{Code, Instruction};

use super::float::{float, never};
use super::operand::{bits, dst, gpr, vector};
use crate::cpu::soft::op::{Handler, Op};

/// A handler that converts an integer into the low element of the destination; `$operand`
/// names the width of the host's register.
macro_rules! from_integer {
    ($i:expr, $memory:ident | $register:ident, $mnemonic:literal, $operand:literal) => {
        with_source!($i, $memory | $register, |core, op, b| {
            let a = *dst(core, op);
            let result = float(
                core,
                |csr| {
                    let mut d = vector(a);
                    let after = under_mxcsr!(csr, concat!($mnemonic, " {d}, ", $operand),
                        d = inout(xmm_reg) d,
                        b = in(reg) b as u64,
                    );
                    (bits(d), after)
                },
                never,
            )?;
            *dst(core, op) = result;
        })
    };
}

/// A handler that converts the low element of the source into an integer.
macro_rules! to_integer {
    ($i:expr, $memory:ident, $mnemonic:literal, $operand:literal) => {
        with_source!($i, $memory, |core, op, b| {
            let result = float(
                core,
                |csr| {
                    let d: u64;
                    let after = under_mxcsr!(csr, concat!($mnemonic, " ", $operand, ", {b}"),
                        d = out(reg) d,
                        b = in(xmm_reg) vector(b),
                    );
                    (d, after)
                },
                never,
            )?;
            *gpr(core, op) = result;
        })
    };
}

pub fn lower(i: &Instruction) -> Option<Handler> {
    use Code::*;
    Some(match i.code() {
        Cvtsi2ss_xmm_rm32 => from_integer!(i, M32 | Gpr32, "cvtsi2ss", "{b:e}"),
        Cvtsi2ss_xmm_rm64 => from_integer!(i, M64 | Gpr64, "cvtsi2ss", "{b:r}"),
        Cvtsi2sd_xmm_rm32 => from_integer!(i, M32 | Gpr32, "cvtsi2sd", "{b:e}"),
        Cvtsi2sd_xmm_rm64 => from_integer!(i, M64 | Gpr64, "cvtsi2sd", "{b:r}"),
        Cvttss2si_r32_xmmm32 => to_integer!(i, M32, "cvttss2si", "{d:e}"),
        Cvttss2si_r64_xmmm32 => to_integer!(i, M32, "cvttss2si", "{d:r}"),
        Cvttsd2si_r32_xmmm64 => to_integer!(i, M64, "cvttsd2si", "{d:e}"),
        Cvttsd2si_r64_xmmm64 => to_integer!(i, M64, "cvttsd2si", "{d:r}"),
        Cvtss2si_r32_xmmm32 => to_integer!(i, M32, "cvtss2si", "{d:e}"),
        Cvtss2si_r64_xmmm32 => to_integer!(i, M32, "cvtss2si", "{d:r}"),
        Cvtsd2si_r32_xmmm64 => to_integer!(i, M64, "cvtsd2si", "{d:e}"),
        Cvtsd2si_r64_xmmm64 => to_integer!(i, M64, "cvtsd2si", "{d:r}"),
        _ => return None,
    })
}
