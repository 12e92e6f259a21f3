//! SSE to SSE4.2 in their legacy encodings.
//!
//! Lane-wise instructions run as themselves on the host, whose x86-64-v2 instruction set
//! is the guest's own, so integer results are exact by construction. Floating point runs
//! there too, under the guest's MXCSR (see `float`). What has an immediate, an
//! implementation-defined result or a choice that vendors make differently is computed
//! here instead, so that every host gives the same bits.

use iced_x86::Instruction;

use super::mmx;
use super::op::{Handler, Op};

pub(super) use self::moves::store_selected;

#[macro_use]
pub(super) mod operand;
#[macro_use]
pub(super) mod float;
mod approx;
mod blend;
mod compare;
mod control;
mod convert;
mod element;
mod int;
mod moves;
mod products;
mod round;
#[cfg(test)]
mod rules;
pub(super) mod shuffle;
mod strings;
#[cfg(test)]
mod tests;

/// Picks the handler of `i` and fills in `op`; `None` if this family does not have it.
pub fn lower(i: &Instruction, op: &mut Op) -> Option<Handler> {
    const PARTS: [fn(&Instruction) -> Option<Handler>; 14] = [
        moves::lower,
        int::lower,
        shuffle::lower,
        element::lower,
        blend::lower,
        float::lower,
        convert::lower,
        compare::lower,
        round::lower,
        products::lower,
        approx::lower,
        strings::lower,
        control::lower,
        mmx::convert::lower,
    ];
    let handler = PARTS.iter().find_map(|part| part(i))?;
    operand::fill(i, op);
    Some(handler)
}
