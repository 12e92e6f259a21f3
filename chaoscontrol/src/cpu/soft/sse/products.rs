//! Instructions that combine neighbours: horizontal sums, dot products, MPSADBW.
//!
//! Sums are composed of single additions in a fixed order, since the order decides which
//! of several NaNs is the result.

use iced_x86::{Code, Instruction};

use super::float::{float, tiny_pd, tiny_ps};
use super::operand::{dst, join};
use super::shuffle::{align_right, pick};
use crate::cpu::soft::core::Core;
use crate::cpu::soft::mem::Blocked;
use crate::cpu::soft::op::{Handler, Op};

/// Lanes 0 and 2 of `a`, then of `b`.
fn even(a: u128, b: u128) -> u128 {
    pick::<32>(a, b, 0b10_00_10_00)
}

/// Lanes 1 and 3 of `a`, then of `b`.
fn odd(a: u128, b: u128) -> u128 {
    pick::<32>(a, b, 0b11_01_11_01)
}

/// A handler that sums the even and the odd elements of both operands.
macro_rules! singles {
    ($i:expr, $mnemonic:literal) => {
        float_binary!(
            $i,
            M128,
            |a, b, csr| host_float!($mnemonic)(even(a, b), odd(a, b), csr),
            tiny_ps
        )
    };
}

macro_rules! doubles {
    ($i:expr, $mnemonic:literal) => {
        float_binary!(
            $i,
            M128,
            |a: u128, b: u128, csr| host_float!($mnemonic)(join(a, b), join(a >> 64, b >> 64), csr),
            tiny_pd
        )
    };
}

/// The lanes of `LANE` bits of `v` whose bit is set, others zero.
fn only<const LANE: u32>(v: u128, bits: u64) -> u128 {
    (0..128 / LANE)
        .filter(|n| bits >> n & 1 != 0)
        .fold(0, |kept, n| kept | v & ((1u128 << LANE) - 1) << (n * LANE))
}

/// DPPS: each step settles its exceptions before the next one.
fn dot_singles(core: &mut Core, a: u128, b: u128, imm: u64) -> Result<u128, Blocked> {
    let (a, b) = (only::<32>(a, imm >> 4), only::<32>(b, imm >> 4));
    let products = float(core, |csr| host_float!("mulps")(a, b, csr), tiny_ps)?;
    let add = |core: &mut Core, v: u128| {
        float(
            core,
            |csr| host_float!("addps")(even(v, 0), odd(v, 0), csr),
            tiny_ps,
        )
    };
    let pairs = add(core, products)?;
    let sum = add(core, pairs)?;
    Ok(only::<32>(pick::<32>(sum, sum, 0), imm))
}

/// DPPD.
fn dot_doubles(core: &mut Core, a: u128, b: u128, imm: u64) -> Result<u128, Blocked> {
    let (a, b) = (only::<64>(a, imm >> 4), only::<64>(b, imm >> 4));
    let products = float(core, |csr| host_float!("mulpd")(a, b, csr), tiny_pd)?;
    let (low, high) = (products as u64 as u128, products >> 64);
    let sum = float(core, |csr| host_float!("addpd")(low, high, csr), tiny_pd)?;
    Ok(only::<64>(join(sum, sum), imm))
}

/// MPSADBW: sums of absolute differences of four bytes of `b` and eight windows of `a`.
fn block_differences(a: u128, b: u128, imm: u64) -> u128 {
    let block = b >> (32 * (imm & 3)) & u32::MAX as u128;
    let windows = align_right(0, a, 4 * (imm >> 2 & 1));
    let byte = |v: u128, n: u32| (v >> (8 * n)) as u8;
    (0..8).fold(0, |sums, n| {
        let sum: u32 = (0..4)
            .map(|k| byte(windows, n + k).abs_diff(byte(block, k)) as u32)
            .sum();
        sums | (sum as u128) << (16 * n)
    })
}

pub fn lower(i: &Instruction) -> Option<Handler> {
    use Code::*;
    Some(match i.code() {
        Haddps_xmm_xmmm128 => singles!(i, "addps"),
        Hsubps_xmm_xmmm128 => singles!(i, "subps"),
        Haddpd_xmm_xmmm128 => doubles!(i, "addpd"),
        Hsubpd_xmm_xmmm128 => doubles!(i, "subpd"),
        Dpps_xmm_xmmm128_imm8 => with_source!(i, M128, |core, op, b| {
            let a = *dst(core, op);
            *dst(core, op) = dot_singles(core, a, b, op.imm)?;
        }),
        Dppd_xmm_xmmm128_imm8 => with_source!(i, M128, |core, op, b| {
            let a = *dst(core, op);
            *dst(core, op) = dot_doubles(core, a, b, op.imm)?;
        }),
        Mpsadbw_xmm_xmmm128_imm8 => with_source!(i, M128, |core, op, b| {
            let imm = op.imm;
            let d = dst(core, op);
            *d = block_differences(*d, b, imm);
        }),
        _ => return None,
    })
}
