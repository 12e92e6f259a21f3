//! The elementary functions on [`Wide`] numbers, by argument reduction and power series.
//! Errors stay below 2^-115, so that results rounded to 64 bits are the correctly rounded
//! ones, but for about one in 2^50.

use super::wide::Wide;

/// Pi.
pub const PI: Wide = Wide::constant(1, 0xC90F_DAA2_2168_C234_C4C6_628B_80DC_1CD1);
/// Pi / 2.
pub const HALF_PI: Wide = Wide::constant(0, PI.significand);
/// 1 / ln 2.
const LOG2_E: Wide = Wide::constant(0, 0xB8AA_3B29_5C17_F0BB_BE87_FED0_691D_3E89);
/// ln 2.
const LN_2: Wide = Wide::constant(-1, 0xB172_17F7_D1CF_79AB_C9E3_B398_03F2_F6AF);
/// The square root of 2, to the bits that the choice of a range needs.
const SQRT_2: u128 = 0xB504_F333_F9DE_6484 << 64;
/// 2 / pi * 2^256, the least significant digit first.
const TWO_OVER_PI: [u64; 4] = [
    0xFE51_63AB_DEBB_C561,
    0xDB62_9599_3C43_9041,
    0xFC27_57D1_F534_DDC0,
    0xA2F9_836E_4E44_1529,
];
/// The arc tangents of 0/8 to 8/8.
const ARC_TANGENTS: [Wide; 9] = [
    Wide::constant(0, 0),
    Wide::constant(-4, 0xFEAD_D4D5_617B_6E32_C897_989F_3E88_8EF8),
    Wide::constant(-3, 0xFADB_AFC9_6406_EB15_6DC7_9EF5_F7A2_17E6),
    Wide::constant(-2, 0xB7B0_CA0F_26F7_8473_8AA3_2122_DCFE_4483),
    Wide::constant(-2, 0xED63_382B_0DDA_7B45_6FE4_45EC_BC3A_8D03),
    Wide::constant(-1, 0x8F00_5D5E_F7F5_9F9B_5C83_5E16_65C4_3748),
    Wide::constant(-1, 0xA4BC_7D19_34F7_0924_19A8_7F2A_457D_AC9F),
    Wide::constant(-1, 0xB805_3E2B_C231_9E73_CB2D_A552_10A4_443D),
    Wide::constant(-1, PI.significand),
];

/// Sums `first` and what `next` makes of it and of the number 1, 2, ... of the term, until it no
/// longer matters.
fn series(first: Wide, next: impl Fn(Wide, u32) -> Wide) -> Wide {
    let (mut sum, mut term) = (first, first);
    for n in 1..200 {
        term = next(term, n);
        sum = sum + term;
        if sum.dwarfs(&term) {
            break;
        }
    }
    sum
}

/// As [`series`], where term n is also divided by 2n + 1: atan and atanh.
fn odd_series(first: Wide, factor: Wide) -> Wide {
    let (mut sum, mut power) = (first, first);
    for n in 1..200 {
        power = power * factor;
        sum = sum + power.over(2 * n + 1);
        if sum.dwarfs(&power) {
            break;
        }
    }
    sum
}

/// 2^x - 1 for x within -1 and 1, but not zero.
pub fn exp2_m1(x: Wide) -> Wide {
    let y = x * LN_2;
    series(y, |term, n| (term * y).over(n + 1))
}

/// The binary logarithm of x > 0, and whether that is exact.
pub fn log2(x: Wide) -> (Wide, bool) {
    let above = x.significand > SQRT_2;
    let whole = x.exponent + above as i32;
    let m = x.scaled(-whole);
    let integer = Wide::integer(whole as i64);
    if x.significand == 1 << 127 {
        return (integer, true);
    }
    (integer + log2_ratio(m + -Wide::ONE, m + Wide::ONE), false)
}

/// The binary logarithm of 1 + x for x > -1, and whether that is exact.
pub fn log2_p1(x: Wide) -> (Wide, bool) {
    if x.exponent < -2 {
        (log2_ratio(x, x + Wide::integer(2)), false)
    } else {
        log2(x + Wide::ONE)
    }
}

/// The binary logarithm of (1 + s) / (1 - s) for a small s = a / b.
fn log2_ratio(a: Wide, b: Wide) -> Wide {
    let s = a / b;
    odd_series(s, s * s).scaled(1) * LOG2_E
}

/// The arc tangent of y / x, for y, x > 0.
pub fn atan(y: Wide, x: Wide) -> Wide {
    if x.smaller(&y) {
        return HALF_PI + -atan(x, y);
    }
    let t = y / x;
    // The nearest eighth.
    let sixteenths = if t.exponent < -4 {
        0
    } else {
        (t.significand >> (123 - t.exponent)) as i64
    };
    let nearest = ((sixteenths + 1) / 2).min(8);
    let t = if nearest == 0 {
        t
    } else {
        let c = Wide::integer(nearest).scaled(-3);
        (t + -c) / (Wide::ONE + t * c)
    };
    if t.is_zero() {
        return ARC_TANGENTS[nearest as usize];
    }
    odd_series(t, -(t * t)) + ARC_TANGENTS[nearest as usize]
}

/// Sine and cosine of x, for x other than zero and |x| < 2^63.
pub fn sin_cos(x: Wide) -> (Wide, Wide) {
    let (quadrant, r) = reduced(x);
    let square = -(r * r);
    let sin = series(r, |term, n| (term * square).over(2 * n * (2 * n + 1)));
    let cos = series(Wide::ONE, |term, n| {
        (term * square).over((2 * n - 1) * (2 * n))
    });
    match quadrant {
        0 => (sin, cos),
        1 => (cos, -sin),
        2 => (-sin, -cos),
        _ => (-cos, sin),
    }
}

/// The tangent of x, for x other than zero and |x| < 2^63.
pub fn tan(x: Wide) -> Wide {
    if x.exponent < -40 {
        return x + (x * x * x).over(3);
    }
    let (sin, cos) = sin_cos(x);
    sin / cos
}

/// `(n mod 4, x - n * pi / 2)` with n the integer nearest to x / (pi / 2). With 256 bits of 2 / pi
/// the difference keeps its precision for each 80-bit x.
fn reduced(x: Wide) -> (u64, Wide) {
    if x.exponent < -1 {
        return (0, x);
    }
    // x = m * 2^-s.
    let m = (x.significand >> 64) as u64;
    let s = (63 - x.exponent).clamp(1, 64) as u32;
    // x * 2 / pi, with its binary point before the highest of six digits.
    let mut digits = [0u64; 6];
    let mut carry = 0;
    for (digit, t) in digits.iter_mut().zip(TWO_OVER_PI) {
        let sum = m as u128 * t as u128 + carry;
        *digit = sum as u64;
        carry = sum >> 64;
    }
    digits[4] = carry as u64;
    let up = 64 - s;
    let mut carry = 0;
    for digit in &mut digits {
        let sum = (*digit as u128) << up | carry;
        *digit = sum as u64;
        carry = sum >> 64;
    }
    let [fraction @ .., mut whole] = digits;
    let mut fraction = fraction;
    let above = fraction[4] >> 63 == 1;
    if above {
        whole = whole.wrapping_add(1);
        fraction = fraction.map(|digit| !digit);
    }
    let r = Wide::fraction(&fraction) * HALF_PI;
    let r = if above { -r } else { r };
    if x.negative {
        (whole.wrapping_neg() & 3, -r)
    } else {
        (whole & 3, r)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_meet_their_identities() {
        let close = |a: Wide, b: Wide| {
            let difference = a + -b;
            assert!(
                difference.is_zero() || difference.exponent < b.exponent - 115,
                "{a:?} {b:?}"
            );
        };
        for n in 1..60u32 {
            // Operands have 64 bits.
            let x = Wide::from_bits(Wide::integer(n as i64).over(61).round(0x37F, true).value);
            let (sin, cos) = sin_cos(x);
            close(sin * sin + cos * cos, Wide::ONE);
            close(atan(sin, cos), x);
            close(tan(x) * cos, sin);
            close(log2(exp2_m1(x) + Wide::ONE).0, x);
            close(log2_p1(exp2_m1(x)).0, x);
        }
    }
}
