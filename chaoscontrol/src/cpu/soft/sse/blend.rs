//! Blends, by an immediate or by XMM0.

use iced_x86::{Code, Instruction};

use super::operand::dst;
use crate::cpu::soft::op::{Handler, Op};

/// A handler that takes those of the `$lanes` lanes from the source whose bit of the
/// immediate is set.
macro_rules! by_immediate {
    ($i:expr, $lanes:literal) => {
        with_source!($i, M128, |core, op, b| {
            let mask = spread::<$lanes>(op.imm);
            let d = dst(core, op);
            *d = *d & !mask | b & mask;
        })
    };
}

/// A handler that takes those lanes from the source that are negative in XMM0; `$greater`
/// compares lanes as signed integers.
macro_rules! by_sign {
    ($i:expr, $greater:literal) => {
        with_source!($i, M128, |core, op, b| {
            let mask = host!($greater)(0, core.s.xmm[0]);
            let d = dst(core, op);
            *d = *d & !mask | b & mask;
        })
    };
}

/// All ones in each of `LANES` lanes whose bit is set.
fn spread<const LANES: u32>(bits: u64) -> u128 {
    let width = 128 / LANES;
    (0..LANES)
        .filter(|n| bits >> n & 1 != 0)
        .fold(0, |mask, n| mask | ((1u128 << width) - 1) << (n * width))
}

pub fn lower(i: &Instruction) -> Option<Handler> {
    use Code::*;
    Some(match i.code() {
        Blendps_xmm_xmmm128_imm8 => by_immediate!(i, 4),
        Blendpd_xmm_xmmm128_imm8 => by_immediate!(i, 2),
        Pblendw_xmm_xmmm128_imm8 => by_immediate!(i, 8),
        Blendvps_xmm_xmmm128 => by_sign!(i, "pcmpgtd"),
        Blendvpd_xmm_xmmm128 => by_sign!(i, "pcmpgtq"),
        Pblendvb_xmm_xmmm128 => by_sign!(i, "pcmpgtb"),
        _ => return None,
    })
}
