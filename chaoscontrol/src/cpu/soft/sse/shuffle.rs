//! Shuffles by an immediate.

use iced_x86::{Code, Instruction};

use super::operand::{dst, join};
use crate::cpu::soft::op::{Handler, Op};

/// Four lanes of `LANE` bits: the lower two from `low`, the upper two from `high`, each
/// chosen by two bits of `order`, in the lowest bits of the result.
#[inline(always)]
pub fn pick<const LANE: u32>(low: u128, high: u128, order: u64) -> u128 {
    let lane = |from: u128, n: u32| {
        let which = (order >> (2 * n)) as u32 & 3;
        (from >> (which * LANE) & ((1 << LANE) - 1)) << (n * LANE)
    };
    lane(low, 0) | lane(low, 1) | lane(high, 2) | lane(high, 3)
}

/// Bytes `count`.. of the `2 * size` bytes in `high:low`.
#[inline(always)]
pub fn align_right(high: u128, low: u128, count: u64) -> u128 {
    match count as u32 {
        0 => low,
        n @ 1..=15 => low >> (8 * n) | high << (128 - 8 * n),
        n @ 16..=31 => high >> (8 * (n - 16)),
        _ => 0,
    }
}

/// A handler of `dst = f(dst, src, immediate)`.
macro_rules! with_immediate {
    ($i:expr, $f:expr) => {
        with_source!($i, M128, |core, op, b| {
            let imm = op.imm;
            let d = dst(core, op);
            *d = $f(*d, b, imm);
        })
    };
}

pub fn lower(i: &Instruction) -> Option<Handler> {
    use Code::*;
    Some(match i.code() {
        Pshufd_xmm_xmmm128_imm8 => with_immediate!(i, |_, b, order| pick::<32>(b, b, order)),
        Shufps_xmm_xmmm128_imm8 => with_immediate!(i, pick::<32>),
        Pshuflw_xmm_xmmm128_imm8 => {
            with_immediate!(i, |_, b: u128, order| join(
                pick::<16>(b, b, order),
                b >> 64
            ))
        }
        Pshufhw_xmm_xmmm128_imm8 => {
            with_immediate!(i, |_, b: u128, order| join(
                b,
                pick::<16>(b >> 64, b >> 64, order)
            ))
        }
        Shufpd_xmm_xmmm128_imm8 => with_immediate!(i, |a: u128, b: u128, order: u64| join(
            a >> (64 * (order & 1)),
            b >> (64 * (order >> 1 & 1))
        )),
        Palignr_xmm_xmmm128_imm8 => with_immediate!(i, align_right),
        _ => return None,
    })
}
