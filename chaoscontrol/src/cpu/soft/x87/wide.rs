//! Floating point with 128 bits of significand: what the transcendental functions are
//! computed in. Integers only, so it gives the same on every host and in every build.
//!
//! A result that is not exact has its lowest bit set ("jammed"): it is never mistaken for
//! an exact one, and a sum with something negligible stays on the right side of a
//! representable number, as directed rounding needs.

use std::ops::{Add, Div, Mul, Neg};

use super::host::Answer;
use super::stack::{C1, OE, PE, UE};

/// `significand * 2^(exponent - 127)`, negated if `negative`. The significand's top bit is
/// set, unless the number is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wide {
    pub negative: bool,
    pub exponent: i32,
    pub significand: u128,
}

/// What an unmasked overflow or underflow adds to an exponent, or takes from it.
const BIAS_ADJUST: i32 = 24576;

impl Wide {
    pub const ONE: Wide = Wide::constant(0, 1 << 127);

    /// A positive number, normalized already.
    pub const fn constant(exponent: i32, significand: u128) -> Wide {
        Wide {
            negative: false,
            exponent,
            significand,
        }
    }

    fn normalized(negative: bool, exponent: i32, significand: u128) -> Wide {
        if significand == 0 {
            return Wide::constant(0, 0);
        }
        let shift = significand.leading_zeros();
        Wide {
            negative,
            exponent: exponent - shift as i32,
            significand: significand << shift,
        }
    }

    pub fn integer(value: i64) -> Wide {
        Wide::normalized(value < 0, 127, value.unsigned_abs() as u128)
    }

    /// The finite 80-bit number `bits`.
    pub fn from_bits(bits: u128) -> Wide {
        let exponent = (bits >> 64 & 0x7FFF) as i32;
        Wide::normalized(
            bits >> 79 & 1 == 1,
            exponent.max(1) - 0x3FFF,
            (bits as u64 as u128) << 64,
        )
    }

    /// The fraction whose digits to the base 2^64, the least significant first, are `digits`.
    pub fn fraction(digits: &[u64; 5]) -> Wide {
        let Some(top) = digits.iter().rposition(|d| *d != 0) else {
            return Wide::integer(0);
        };
        let digit = |below: usize| match top.checked_sub(below) {
            Some(i) => digits[i],
            None => 0,
        };
        let shift = digit(0).leading_zeros();
        let high = (digit(0) as u128) << 64 | digit(1) as u128;
        // Further digits are beyond the significand.
        let low = digit(2) as u128;
        let significand = high << shift | (low << shift) >> 64;
        let exponent = -1 - 64 * (4 - top as i32) - shift as i32;
        Wide::constant(exponent, significand | 1)
    }

    pub fn is_zero(&self) -> bool {
        self.significand == 0
    }

    pub fn abs(self) -> Wide {
        Wide {
            negative: false,
            ..self
        }
    }

    /// Times 2^`by`.
    pub fn scaled(self, by: i32) -> Wide {
        Wide {
            exponent: self.exponent + by,
            ..self
        }
    }

    /// Divided by a small positive integer.
    pub fn over(self, divisor: u32) -> Wide {
        let divisor = divisor as u128;
        let (quotient, rest) = (self.significand / divisor, self.significand % divisor);
        if quotient == 0 {
            return self;
        }
        let shift = quotient.leading_zeros();
        let (low, rest) = ((rest << shift) / divisor, (rest << shift) % divisor);
        Wide {
            negative: self.negative,
            exponent: self.exponent - shift as i32,
            significand: quotient << shift | low | (rest != 0) as u128,
        }
    }

    /// Whether adding `other` can no longer change more than the last bits.
    pub fn dwarfs(&self, other: &Wide) -> bool {
        other.is_zero() || other.exponent < self.exponent - 130
    }

    /// Compares absolute values.
    pub fn smaller(&self, other: &Wide) -> bool {
        match (self.is_zero(), other.is_zero()) {
            (_, true) => false,
            (true, _) => true,
            _ => (self.exponent, self.significand) < (other.exponent, other.significand),
        }
    }

    /// Rounds to 80 bits as the control word has it (always to 64 bits of significand), with the
    /// flags and C1 that this gives. `inexact` if the value only approximates the result.
    pub fn round(self, control: u16, inexact: bool) -> Answer {
        let sign = (self.negative as u128) << 79;
        if self.is_zero() {
            return Answer {
                value: sign,
                ..Answer::default()
            };
        }
        let direction = control >> 10 & 3;
        let (mut exponent, mut bits, mut up, mut exact) =
            self.cut(self.exponent + 0x3FFF, direction);
        let mut status = 0;
        if exponent > 0x7FFE {
            status |= OE;
            if control & OE != 0 {
                let infinite = match direction {
                    0 => true,
                    1 => self.negative,
                    2 => !self.negative,
                    _ => false,
                };
                up = infinite;
                exact = false;
                (exponent, bits) = if infinite {
                    (0x7FFF, 1 << 63)
                } else {
                    (0x7FFE, u64::MAX)
                };
            } else {
                exponent -= BIAS_ADJUST;
            }
        } else if exponent < 1 {
            if control & UE == 0 {
                status |= UE;
                exponent += BIAS_ADJUST;
            } else {
                let shift = (1 - (self.exponent + 0x3FFF)).clamp(0, 127) as u32;
                let lost = self.significand & ((1 << shift) - 1) != 0;
                let tiny = Wide {
                    significand: self.significand >> shift | lost as u128,
                    ..self
                };
                (exponent, bits, up, exact) = tiny.cut(1, direction);
                if bits >> 63 == 0 {
                    exponent = 0;
                }
                if inexact || !exact {
                    status |= UE;
                }
            }
        }
        if inexact || !exact {
            status |= PE;
        }
        Answer {
            // Twice adjusted numbers may still not fit; the field just wraps.
            value: sign | (exponent as u128 & 0x7FFF) << 64 | bits as u128,
            second: 0,
            status: status | if up { C1 } else { 0 },
        }
    }

    /// Rounds the significand to 64 bits: biased exponent, significand, whether it was
    /// rounded up, whether it is exact.
    fn cut(&self, exponent: i32, direction: u16) -> (i32, u64, bool, bool) {
        let (high, low) = ((self.significand >> 64) as u64, self.significand as u64);
        let up = match direction {
            0 => low > 1 << 63 || low == 1 << 63 && high & 1 == 1,
            1 => low != 0 && self.negative,
            2 => low != 0 && !self.negative,
            _ => false,
        };
        match high.checked_add(up as u64) {
            Some(bits) => (exponent, bits, up, low == 0),
            None => (exponent + 1, 1 << 63, up, low == 0),
        }
    }
}

impl Neg for Wide {
    type Output = Wide;
    fn neg(self) -> Wide {
        Wide {
            negative: !self.negative,
            ..self
        }
    }
}

impl Add for Wide {
    type Output = Wide;
    fn add(self, other: Wide) -> Wide {
        if self.is_zero() {
            return other;
        }
        if other.is_zero() {
            return self;
        }
        let (a, b) = if self.smaller(&other) {
            (other, self)
        } else {
            (self, other)
        };
        let distance = (a.exponent - b.exponent) as u32;
        let (small, lost) = if distance > 127 {
            (0, true)
        } else {
            (
                b.significand >> distance,
                b.significand & ((1 << distance) - 1) != 0,
            )
        };
        if a.negative == b.negative {
            let (sum, carry) = a.significand.overflowing_add(small);
            let (sum, exponent) = if carry {
                (sum >> 1 | 1 << 127 | sum & 1, a.exponent + 1)
            } else {
                (sum, a.exponent)
            };
            Wide {
                negative: a.negative,
                exponent,
                significand: sum | lost as u128,
            }
        } else {
            let difference = a.significand - small - lost as u128;
            Wide::normalized(a.negative, a.exponent, difference | lost as u128)
        }
    }
}

impl Mul for Wide {
    type Output = Wide;
    fn mul(self, other: Wide) -> Wide {
        if self.is_zero() || other.is_zero() {
            return Wide::normalized(self.negative != other.negative, 0, 0);
        }
        let (high, low) = product(self.significand, other.significand);
        let exponent = self.exponent + other.exponent;
        let (exponent, high, low) = if high >> 127 == 1 {
            (exponent + 1, high, low)
        } else {
            (exponent, high << 1 | low >> 127, low << 1)
        };
        Wide {
            negative: self.negative != other.negative,
            exponent,
            significand: high | (low != 0) as u128,
        }
    }
}

impl Div for Wide {
    type Output = Wide;
    /// Long division; by zero it gives something.
    fn div(self, other: Wide) -> Wide {
        if self.is_zero() || other.is_zero() {
            return Wide::normalized(self.negative != other.negative, 0, 0);
        }
        let divisor = other.significand;
        let mut exponent = self.exponent - other.exponent;
        let mut rest = self.significand;
        let mut carry = false;
        if rest < divisor {
            exponent -= 1;
            carry = rest >> 127 == 1;
            rest <<= 1;
        }
        let mut quotient = 0;
        for _ in 0..128 {
            quotient <<= 1;
            if carry || rest >= divisor {
                rest = rest.wrapping_sub(divisor);
                quotient |= 1;
            }
            carry = rest >> 127 == 1;
            rest <<= 1;
        }
        Wide {
            negative: self.negative != other.negative,
            exponent,
            significand: quotient | (rest != 0 || carry) as u128,
        }
    }
}

/// The high and low half of a product.
fn product(a: u128, b: u128) -> (u128, u128) {
    const LOW: u128 = u64::MAX as u128;
    let (a1, a0, b1, b0) = (a >> 64, a & LOW, b >> 64, b & LOW);
    let middle = a1 * b0 + ((a0 * b0) >> 64);
    let other = a0 * b1 + (middle & LOW);
    (
        a1 * b1 + (middle >> 64) + (other >> 64),
        other << 64 | (a0 * b0) & LOW,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_of_integers_is_exact() {
        for a in [-1234567, -8, -1, 1, 3, 7, 1 << 40] {
            for b in [-99999, -2, 1, 5, 12345678901] {
                assert_eq!(Wide::integer(a) + Wide::integer(b), Wide::integer(a + b));
                let product = Wide::integer(a) * Wide::integer(b);
                assert_eq!(product / Wide::integer(b), Wide::integer(a));
                assert_eq!(Wide::integer(a * 21).over(21), Wide::integer(a));
            }
        }
    }

    #[test]
    fn rounding_meets_every_case() {
        let third = Wide::ONE.over(3);
        let round = |w: Wide, control| w.round(control, true);
        assert_eq!(round(third, 0x37F).value, 0x3FFD_AAAA_AAAA_AAAA_AAAB);
        assert_eq!(round(third, 0x37F).status, PE | C1);
        assert_eq!(round(third, 0xF7F).value, 0x3FFD_AAAA_AAAA_AAAA_AAAA);
        assert_eq!(round(third.scaled(-16444), 0x37F).value, 1);
        assert_eq!(round(third.scaled(-16444), 0x37F).status, UE | PE | C1);
        assert_eq!(round(third.scaled(-20000), 0xB7F).value, 1);
        assert_eq!(
            round(third.scaled(20000), 0x37F).value,
            0x7FFF << 64 | 1 << 63
        );
        assert_eq!(round(third.scaled(20000), 0x37F).status, OE | PE | C1);
        assert_eq!(
            round(third.scaled(20000), 0xF7F).value,
            0x7FFE << 64 | u64::MAX as u128
        );
        let nearly = Wide::ONE + -Wide::ONE.scaled(-1000);
        assert_eq!(round(nearly, 0x37F).value, 0x3FFF << 64 | 1 << 63);
        assert_eq!(round(nearly, 0xF7F).value, 0x3FFE << 64 | u64::MAX as u128);
    }
}
