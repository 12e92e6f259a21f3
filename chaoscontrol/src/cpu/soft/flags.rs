//! The six status flags, computed when someone looks.
//!
//! Most instructions set all flags and most of these are never read. So a handler
//! only notes its operands, its result and what kind of operation it was; a condition
//! is then answered from the operands where that is shorter than computing flags.
//!
//! Flags that the manual leaves undefined have these fixed values:
//!
//! | instructions                       | flags              | value                                  |
//! |------------------------------------|--------------------|----------------------------------------|
//! | AND, OR, XOR, TEST, POPCNT         | AF                 | 0                                      |
//! | SHL, SHR, SAR, SHLD, SHRD          | AF                 | 0                                      |
//! | SHL, SHLD, count > 1               | OF                 | CF xor the result's top bit            |
//! | SHR, SAR, SHRD, count > 1          | OF                 | xor of the result's two top bits; SAR 0 |
//! | SHL, SHR, count >= width           | CF                 | the last bit shifted out, 0 beyond     |
//! | ROL, RCL, count > 1                | OF                 | CF xor the result's top bit            |
//! | ROR, RCR, count > 1                | OF                 | xor of the result's two top bits       |
//! | MUL, IMUL                          | SF, ZF, PF         | of the result's low half               |
//! | MUL, IMUL                          | AF                 | 0                                      |
//! | DIV, IDIV                          | all                | unchanged                              |
//! | BSF, BSR                           | CF, OF, SF, AF, PF | unchanged                              |
//! | BT, BTS, BTR, BTC                  | OF, SF, AF, PF     | unchanged                              |

use super::core::Core;

/// CF of RFLAGS.
pub const CF: u64 = 1;
/// PF of RFLAGS.
pub const PF: u64 = 1 << 2;
/// AF of RFLAGS.
pub const AF: u64 = 1 << 4;
/// ZF of RFLAGS.
pub const ZF: u64 = 1 << 6;
/// SF of RFLAGS.
pub const SF: u64 = 1 << 7;
/// DF of RFLAGS; no status flag, never lazy.
pub const DF: u64 = 1 << 10;
/// OF of RFLAGS.
pub const OF: u64 = 1 << 11;
/// The six status flags.
pub const STATUS: u64 = CF | PF | AF | ZF | SF | OF;

/// What set the flags last.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing is pending: the flags stand in `CpuState::rflags`.
    Ready,
    /// `a + b`.
    Add,
    /// `a + b + carry`.
    Adc,
    /// `a - b`.
    Sub,
    /// `a - b - carry`.
    Sbb,
    /// A logical operation: CF, OF and AF are 0.
    Logic,
    /// `result` is something plus 1; `a` is the CF that stays.
    Inc,
    /// `result` is something minus 1; `a` is the CF that stays.
    Dec,
    /// ZF, SF and PF are those of `result`; `a` holds CF, OF and AF at their places.
    Mixed,
}

/// The pending flags: the last operation, its values zero-extended.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Lazy {
    result: u64,
    a: u64,
    b: u64,
    kind: Kind,
    /// 64 minus the operand width in bits.
    shift: u8,
}

impl Default for Lazy {
    fn default() -> Self {
        Lazy {
            result: 0,
            a: 0,
            b: 0,
            kind: Kind::Ready,
            shift: 0,
        }
    }
}

impl Lazy {
    #[inline(always)]
    fn signed(&self, value: u64) -> i64 {
        (value << self.shift) as i64
    }

    /// The top bit of `value`, as 0 or 1.
    #[inline(always)]
    fn top(&self, value: u64) -> u64 {
        (value << self.shift) >> 63
    }

    #[inline(always)]
    fn carry(&self) -> bool {
        let Lazy { result, a, b, .. } = *self;
        match self.kind {
            Kind::Sub => a < b,
            Kind::Add => result < a,
            Kind::Logic | Kind::Ready => false,
            Kind::Inc | Kind::Dec | Kind::Mixed => a & CF != 0,
            Kind::Adc => self.top(a & b | (a | b) & !result) != 0,
            Kind::Sbb => self.top(!a & b | (!a | b) & result) != 0,
        }
    }

    /// OF, as 0 or 1.
    fn overflow(&self) -> u64 {
        let Lazy { result, a, b, .. } = *self;
        match self.kind {
            Kind::Ready | Kind::Logic => 0,
            Kind::Add | Kind::Adc => self.top((a ^ result) & (b ^ result)),
            Kind::Sub | Kind::Sbb => self.top((a ^ b) & (a ^ result)),
            Kind::Inc => (self.signed(result) == i64::MIN) as u64,
            Kind::Dec => (self.signed(result.wrapping_add(1)) == i64::MIN) as u64,
            Kind::Mixed => a >> 11 & 1,
        }
    }

    fn adjust(&self) -> u64 {
        let Lazy { result, a, b, .. } = *self;
        match self.kind {
            Kind::Ready | Kind::Logic => 0,
            Kind::Add | Kind::Adc | Kind::Sub | Kind::Sbb => (a ^ b ^ result) & AF,
            Kind::Inc => ((result & 15 == 0) as u64) << 4,
            Kind::Dec => ((result & 15 == 15) as u64) << 4,
            Kind::Mixed => a & AF,
        }
    }

    fn status(&self) -> u64 {
        (self.carry() as u64)
            | parity(self.result)
            | self.adjust()
            | ((self.result == 0) as u64) << 6
            | self.top(self.result) << 7
            | self.overflow() << 11
    }
}

/// PF of a result.
#[inline(always)]
pub fn parity(result: u64) -> u64 {
    if (result as u8).count_ones() & 1 == 0 {
        PF
    } else {
        0
    }
}

impl Core {
    /// Notes an operation of `bits` bits; all values are zero-extended.
    #[inline(always)]
    pub fn note(&mut self, kind: Kind, bits: u32, a: u64, b: u64, result: u64) {
        self.lazy = Lazy {
            result,
            a,
            b,
            kind,
            shift: (64 - bits) as u8,
        };
    }

    /// RFLAGS with the status flags computed; afterwards `s.rflags` holds them.
    #[inline]
    pub fn flags(&mut self) -> u64 {
        if self.lazy.kind != Kind::Ready {
            let status = self.lazy.status();
            self.set_status(status);
        }
        self.s.rflags
    }

    /// Sets the six status flags to those of `bits`; other bits are ignored.
    #[inline]
    pub fn set_status(&mut self, bits: u64) {
        self.s.rflags = self.s.rflags & !STATUS | bits & STATUS;
        self.lazy.kind = Kind::Ready;
    }

    /// Sets the flags of `mask` to those of `bits`, and leaves the other status flags.
    #[inline]
    pub fn set_some(&mut self, mask: u64, bits: u64) {
        let flags = self.flags();
        self.set_status(flags & !mask | bits & mask);
    }

    /// CF.
    #[inline(always)]
    pub fn carry(&self) -> bool {
        if self.lazy.kind == Kind::Ready {
            self.s.rflags & CF != 0
        } else {
            self.lazy.carry()
        }
    }

    #[inline(always)]
    fn zero(&self) -> bool {
        if self.lazy.kind == Kind::Ready {
            self.s.rflags & ZF != 0
        } else {
            self.lazy.result == 0
        }
    }

    #[inline(always)]
    fn sign(&self) -> bool {
        if self.lazy.kind == Kind::Ready {
            self.s.rflags & SF != 0
        } else {
            self.lazy.signed(self.lazy.result) < 0
        }
    }

    #[inline(always)]
    fn overflow(&self) -> bool {
        if self.lazy.kind == Kind::Ready {
            self.s.rflags & OF != 0
        } else {
            self.lazy.overflow() != 0
        }
    }

    /// CF or ZF.
    #[inline(always)]
    fn below_or_equal(&self) -> bool {
        match self.lazy.kind {
            Kind::Sub => self.lazy.a <= self.lazy.b,
            _ => self.carry() || self.zero(),
        }
    }

    /// SF unequal OF.
    #[inline(always)]
    fn less(&self) -> bool {
        let lazy = &self.lazy;
        match lazy.kind {
            Kind::Sub => lazy.signed(lazy.a) < lazy.signed(lazy.b),
            Kind::Logic => lazy.signed(lazy.result) < 0,
            _ => self.sign() != self.overflow(),
        }
    }

    /// ZF, or SF unequal OF.
    #[inline(always)]
    fn less_or_equal(&self) -> bool {
        let lazy = &self.lazy;
        match lazy.kind {
            Kind::Sub => lazy.signed(lazy.a) <= lazy.signed(lazy.b),
            Kind::Logic => lazy.signed(lazy.result) <= 0,
            _ => self.zero() || self.less(),
        }
    }

    fn even(&self) -> bool {
        if self.lazy.kind == Kind::Ready {
            self.s.rflags & PF != 0
        } else {
            parity(self.lazy.result) != 0
        }
    }

    /// Whether condition `cc` holds: the low four bits of the opcodes of Jcc, SETcc, CMOVcc.
    #[inline(always)]
    pub fn cond(&self, cc: u8) -> bool {
        let holds = match cc >> 1 & 7 {
            0 => self.overflow(),
            1 => self.carry(),
            2 => self.zero(),
            3 => self.below_or_equal(),
            4 => self.sign(),
            5 => self.even(),
            6 => self.less(),
            _ => self.less_or_equal(),
        };
        holds != (cc & 1 != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Flags of 8-bit operations by the definitions, bit by bit.
    fn reference(kind: Kind, a: u64, b: u64, carry: u64) -> (u64, u64) {
        let (wide, signed, nibble) = match kind {
            Kind::Add | Kind::Adc => (
                (a + b + carry) as i64,
                a as i8 as i64 + b as i8 as i64 + carry as i64,
                (a & 15) + (b & 15) + carry > 15,
            ),
            _ => (
                a as i64 - b as i64 - carry as i64,
                a as i8 as i64 - b as i8 as i64 - carry as i64,
                (a & 15) < (b & 15) + carry,
            ),
        };
        let result = wide as u8 as u64;
        let mut flags = parity(result);
        flags |= if !(0..256).contains(&wide) { CF } else { 0 };
        flags |= if nibble { AF } else { 0 };
        flags |= if result == 0 { ZF } else { 0 };
        flags |= if result >= 128 { SF } else { 0 };
        flags |= if !(-128..128).contains(&signed) {
            OF
        } else {
            0
        };
        (result, flags)
    }

    #[test]
    fn all_byte_sums_and_differences_have_their_flags() {
        for a in 0..256u64 {
            for b in 0..256u64 {
                for (kind, carry) in [
                    (Kind::Add, 0),
                    (Kind::Sub, 0),
                    (Kind::Adc, 0),
                    (Kind::Adc, 1),
                    (Kind::Sbb, 0),
                    (Kind::Sbb, 1),
                ] {
                    let (result, flags) = reference(kind, a, b, carry);
                    let lazy = Lazy {
                        result,
                        a,
                        b,
                        kind,
                        shift: 56,
                    };
                    assert_eq!(lazy.status(), flags, "{kind:?} {a} {b} {carry}");
                }
            }
        }
    }

    #[test]
    fn increments_overflow_at_the_edges() {
        for (kind, result, flags) in [
            (Kind::Inc, 0x80, OF | SF | AF),
            (Kind::Dec, 0x7F, OF | AF),
            (Kind::Dec, 0xFF, SF | AF | PF),
            (Kind::Inc, 0, ZF | AF | PF),
        ] {
            let lazy = Lazy {
                result,
                a: CF,
                b: 0,
                kind,
                shift: 56,
            };
            assert_eq!(lazy.status(), flags | CF, "{kind:?} {result:#x}");
        }
    }
}
