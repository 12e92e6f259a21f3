//! MMX registers as operands, and the checks and transitions around their use.

use crate::cpu::soft::core::Core;
use crate::cpu::soft::mem::Blocked;
use crate::cpu::soft::op::Op;
use crate::cpu::soft::sse::operand::{Gpr32, Gpr64, M16, M32, M64, Source, raise};

/// The exponent and sign of an x87 register that MMX has written.
const ONES: u128 = 0xFFFF << 64;
/// The exception summary of the x87 status word: an unmasked exception is pending.
const SUMMARY: u16 = 1 << 7;

/// Raises #MF if an x87 exception is pending: the check before any operand is looked at
/// that is not already made when the instruction is decoded.
#[inline(always)]
pub fn ready(core: &mut Core) -> Result<(), Blocked> {
    if core.s.fpu.status & SUMMARY == 0 {
        Ok(())
    } else {
        raise(core, 16, None)
    }
}

/// Makes the x87 registers MMX registers.
#[inline(always)]
pub fn enter(core: &mut Core) {
    core.s.fpu.top = 0;
    core.s.fpu.valid = 0xFF;
}

/// MMX register `n`.
#[inline(always)]
pub fn get(core: &Core, n: u8) -> u64 {
    core.s.fpu.regs[n as usize & 7] as u64
}

/// Sets the MMX register that is the first operand.
#[inline(always)]
pub fn set(core: &mut Core, op: &Op, value: u64) {
    core.s.fpu.regs[op.dst as usize & 7] = value as u128 | ONES;
}

/// A kind of second operand, 64 bits at most.
pub trait Half {
    /// Its value, zero-extended.
    fn half(core: &mut Core, op: &Op) -> Result<u64, Blocked>;
}

/// An MMX register.
pub struct Mm;

impl Half for Mm {
    #[inline(always)]
    fn half(core: &mut Core, op: &Op) -> Result<u64, Blocked> {
        Ok(get(core, op.src))
    }
}

macro_rules! as_half {
    ($($source:ty),*) => {$(
        impl Half for $source {
            #[inline(always)]
            fn half(core: &mut Core, op: &Op) -> Result<u64, Blocked> {
                Ok(<$source as Source>::get(core, op)? as u64)
            }
        }
    )*};
}
as_half!(M64, M32, M16, Gpr32, Gpr64);

/// A handler whose second operand, ready as `$b`, is memory or a register, and which
/// makes the transition to MMX before its body.
macro_rules! with_half {
    ($i:expr, $memory:ty | $register:ty, |$core:ident, $op:ident, $b:ident| $body:block) => {
        if Op::is_memory($i, 1) {
            with_half!($memory, |$core, $op, $b| $body)
        } else {
            with_half!($register, |$core, $op, $b| $body)
        }
    };
    ($source:ty, |$core:ident, $op:ident, $b:ident| $body:block) => {
        handler!(|$core, $op| {
            $crate::cpu::soft::mmx::register::ready($core)?;
            let $b = <$source as $crate::cpu::soft::mmx::register::Half>::half($core, $op)?;
            $crate::cpu::soft::mmx::register::enter($core);
            $body
        })
    };
}
