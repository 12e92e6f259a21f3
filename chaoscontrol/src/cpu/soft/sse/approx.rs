//! RCPPS, RSQRTPS and their scalar forms.
//!
//! The manual only bounds their error (a relative 1.5 * 2^-12), and hosts differ within
//! it. Here they are the double-precision quotient rounded to single, far inside of the
//! bound and the same everywhere. They signal nothing and ignore MXCSR.

use iced_x86::{Code, Instruction};

use crate::cpu::soft::op::{Handler, Op};

const SIGN: u32 = 1 << 31;
const QUIET: u32 = 1 << 22;
const INDEFINITE: u32 = 0xFFC0_0000;

/// A denormal as the zero of its sign.
fn flushed(x: u32) -> f32 {
    let value = f32::from_bits(x);
    if value.is_subnormal() {
        f32::from_bits(x & SIGN)
    } else {
        value
    }
}

/// The approximate reciprocal of a single; tiny results are zero.
fn reciprocal(x: u32) -> u32 {
    if f32::from_bits(x).is_nan() {
        return x | QUIET;
    }
    let quotient = (1.0 / flushed(x) as f64) as f32;
    flushed(quotient.to_bits()).to_bits()
}

/// The approximate reciprocal of a single's square root.
fn reciprocal_root(x: u32) -> u32 {
    let value = flushed(x);
    if value.is_nan() {
        x | QUIET
    } else if value == 0.0 {
        f32::INFINITY.to_bits() | x & SIGN
    } else if value < 0.0 {
        INDEFINITE
    } else {
        ((1.0 / (value as f64).sqrt()) as f32).to_bits()
    }
}

fn each(v: u128, f: impl Fn(u32) -> u32) -> u128 {
    (0..4).fold(0, |all, n| {
        all | (f((v >> (32 * n)) as u32) as u128) << (32 * n)
    })
}

fn lowest(a: u128, b: u128, f: impl Fn(u32) -> u32) -> u128 {
    a & !(u32::MAX as u128) | f(b as u32) as u128
}

pub fn lower(i: &Instruction) -> Option<Handler> {
    use Code::*;
    Some(match i.code() {
        Rcpps_xmm_xmmm128 => binary!(i, M128, |_, b| each(b, reciprocal)),
        Rcpss_xmm_xmmm32 => binary!(i, M32, |a, b| lowest(a, b, reciprocal)),
        Rsqrtps_xmm_xmmm128 => binary!(i, M128, |_, b| each(b, reciprocal_root)),
        Rsqrtss_xmm_xmmm32 => binary!(i, M32, |a, b| lowest(a, b, reciprocal_root)),
        _ => return None,
    })
}
