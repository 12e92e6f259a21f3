//! The four operand widths, and the general-purpose registers as each of them sees them.

use crate::cpu::soft::core::Core;
use crate::cpu::soft::mem::Word;

/// u8, u16, u32 or u64.
pub trait Int: Word + Eq + Ord {
    /// Width in bits.
    const BITS: u32;
    /// The low bits of `v`.
    fn from64(v: u64) -> Self;
    /// Zero-extended.
    fn to64(self) -> u64;
    /// Sign-extended.
    fn sext(self) -> u64;
    /// Register `r`, numbered as by `Op::reg`.
    fn read(core: &Core, r: u8) -> Self;
    /// Writes register `r`: 32-bit values clear the upper half, narrower ones leave the rest.
    fn write(core: &mut Core, r: u8, v: Self);
}

macro_rules! int {
    ($t:ty, $s:ty, |$core:ident, $r:ident| $read:expr, |$c:ident, $w:ident, $v:ident| $write:expr) => {
        impl Int for $t {
            const BITS: u32 = <$t>::BITS;
            #[inline(always)]
            fn from64(v: u64) -> Self {
                v as $t
            }
            #[inline(always)]
            fn to64(self) -> u64 {
                self as u64
            }
            #[inline(always)]
            fn sext(self) -> u64 {
                self as $s as u64
            }
            #[inline(always)]
            fn read($core: &Core, $r: u8) -> Self {
                $read
            }
            #[inline(always)]
            fn write($c: &mut Core, $w: u8, $v: Self) {
                $write
            }
        }
    };
}

/// Where byte register `r` is: the slot and the bit position in it.
#[inline(always)]
fn byte(r: u8) -> (usize, u32) {
    if r < 16 {
        (r as usize & 15, 0)
    } else {
        (r as usize & 3, 8)
    }
}

int!(
    u8,
    i8,
    |core, r| {
        let (slot, shift) = byte(r);
        (core.s.gpr[slot] >> shift) as u8
    },
    |core, r, v| {
        let (slot, shift) = byte(r);
        let gpr = &mut core.s.gpr[slot];
        *gpr = *gpr & !(0xFF << shift) | (v as u64) << shift;
    }
);
int!(
    u16,
    i16,
    |core, r| core.s.gpr[r as usize & 15] as u16,
    |core, r, v| {
        let gpr = &mut core.s.gpr[r as usize & 15];
        *gpr = *gpr & !0xFFFF | v as u64;
    }
);
int!(
    u32,
    i32,
    |core, r| core.s.gpr[r as usize & 15] as u32,
    |core, r, v| core.s.gpr[r as usize & 15] = v as u64
);
int!(
    u64,
    i64,
    |core, r| core.s.gpr[r as usize & 15],
    |core, r, v| core.s.gpr[r as usize & 15] = v
);
