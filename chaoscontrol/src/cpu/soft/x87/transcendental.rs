//! F2XM1, FYL2X, FYL2XP1, FPATAN, FSIN, FCOS, FSINCOS and FPTAN: special operands here, the
//! functions themselves in `functions`. Correctly rounded in all but about one case in
//! 2^50, with pi to as many bits as that takes.
//!
//! Where manuals leave the result undefined: F2XM1 returns an operand outside of -1 to 1
//! as it is; FYL2XP1 takes every operand for which 1 + x has a logarithm.

use iced_x86::{Code, Instruction};

use super::super::core::Core;
use super::super::op::{Flow, Handler, Op};
use super::super::state::Fpu;
use super::arithmetic::{binary, unary};
use super::functions::{self, HALF_PI, PI};
use super::host::{self, Answer, Operation, form};
use super::stack::{C1, C2, DE, IE, INDEFINITE, ZE};
use super::wide::Wide;
use super::{handler, register};

const SIGN: u128 = 1 << 79;
const INFINITY: u128 = 0x7FFF << 64 | 1 << 63;
const ONE: u128 = 0x3FFF << 64 | 1 << 63;

pub(super) fn lower(i: &Instruction) -> Option<Handler> {
    Some(match i.code() {
        Code::F2xm1 => handler!(register, |fpu, _| {
            unary(fpu, f2xm1);
        }),
        Code::Fyl2x => handler!(register, |fpu, _| into_next(fpu, fyl2x)),
        Code::Fyl2xp1 => handler!(register, |fpu, _| into_next(fpu, fyl2xp1)),
        Code::Fpatan => handler!(register, |fpu, _| into_next(fpu, fpatan)),
        Code::Fsin => handler!(register, |fpu, _| angle(fpu, fsin)),
        Code::Fcos => handler!(register, |fpu, _| angle(fpu, fcos)),
        Code::Fsincos => handler!(register, |fpu, _| angle_and_push(fpu, fsincos)),
        Code::Fptan => handler!(register, |fpu, _| angle_and_push(fpu, fptan)),
        _ => return None,
    })
}

/// ST(1) = f(ST(0), ST(1)), and pop.
fn into_next(fpu: &mut Fpu, operation: Operation) {
    let operands = fpu.get(0).zip(fpu.get(1));
    if binary(fpu, operation, 1, operands) {
        fpu.pop();
    }
}

/// ST(0) = f(ST(0)), or C2 if that is too large.
fn angle(fpu: &mut Fpu, operation: Operation) {
    fpu.set_codes(C2, 0);
    match fpu.get(0) {
        Some(x) if too_large(x) => fpu.set_codes(C1 | C2, C2),
        _ => unary(fpu, operation),
    }
}

/// ST(0) = f(ST(0)), and pushes the second result; or C2 if the operand is too large.
fn angle_and_push(fpu: &mut Fpu, operation: Operation) {
    fpu.set_codes(C2, 0);
    let (counts, value, second) = match fpu.get(0) {
        None => (fpu.underflow(), INDEFINITE, INDEFINITE),
        Some(_) if fpu.full() => (fpu.overflow(), INDEFINITE, INDEFINITE),
        Some(x) if too_large(x) => {
            fpu.set_codes(C1 | C2, C2);
            return;
        }
        Some(x) => {
            let answer = operation(x, 0, fpu.control);
            (fpu.accept(&answer), answer.value, answer.second)
        }
    };
    if counts {
        fpu.set(0, value);
        fpu.push(second);
    }
}

/// What an operand is, as far as the special cases go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Zero,
    Finite,
    Infinite,
    /// NaNs and unsupported formats.
    Other,
}

fn class(x: u128) -> Class {
    match (x >> 64 & 0x7FFF, x as u64) {
        (0, 0) => Class::Zero,
        (0, _) => Class::Finite,
        (0x7FFF, m) if m == 1 << 63 => Class::Infinite,
        (0x7FFF, _) => Class::Other,
        (_, m) if m >> 63 == 0 => Class::Other,
        _ => Class::Finite,
    }
}

fn too_large(x: u128) -> bool {
    class(x) == Class::Finite && x >> 64 & 0x7FFF >= 0x3FFF + 63
}

fn exact(value: u128) -> Answer {
    Answer {
        value,
        ..Answer::default()
    }
}

fn invalid() -> Answer {
    Answer {
        value: INDEFINITE,
        second: INDEFINITE,
        status: IE,
    }
}

/// The answer to operands of which one is [`Class::Other`]: additions treat these alike.
fn nan(a: u128, b: u128, control: u16) -> Answer {
    let answer = host::ADD[form::REGISTER](a, b, control);
    Answer {
        second: answer.value,
        ..answer
    }
}

/// Adds the flag of denormal operands.
fn with_denormals(mut answer: Answer, operands: &[u128]) -> Answer {
    let denormal = |x: &u128| x >> 64 & 0x7FFF == 0 && *x as u64 != 0;
    if operands.iter().any(denormal) {
        answer.status |= DE;
    }
    answer
}

fn f2xm1(x: u128, _: u128, control: u16) -> Answer {
    let negative = x & SIGN != 0;
    match class(x) {
        Class::Other => nan(x, x, control),
        Class::Zero => exact(x),
        Class::Infinite => exact(if negative { SIGN | ONE } else { x }),
        Class::Finite if x == ONE => exact(x),
        // -1/2.
        Class::Finite if x == SIGN | ONE => exact(x - (1 << 64)),
        Class::Finite if x & !SIGN > ONE => exact(x),
        Class::Finite => {
            let answer = functions::exp2_m1(Wide::from_bits(x)).round(control, true);
            with_denormals(answer, &[x])
        }
    }
}

fn fyl2x(x: u128, y: u128, control: u16) -> Answer {
    let negative_y = y & SIGN;
    match (class(x), class(y)) {
        (Class::Other, _) | (_, Class::Other) => nan(x, y, control),
        (Class::Zero, Class::Zero) => invalid(),
        (Class::Zero, Class::Infinite) => exact(y ^ SIGN),
        (Class::Zero, Class::Finite) => {
            let answer = Answer {
                status: ZE,
                ..exact(INFINITY | negative_y ^ SIGN)
            };
            with_denormals(answer, &[y])
        }
        _ if x & SIGN != 0 => invalid(),
        (Class::Infinite, Class::Zero) => invalid(),
        (Class::Infinite, _) => with_denormals(exact(INFINITY | negative_y), &[y]),
        (Class::Finite, _) => {
            let (log, is_exact) = functions::log2(Wide::from_bits(x));
            times(x, y, log, is_exact, control)
        }
    }
}

fn fyl2xp1(x: u128, y: u128, control: u16) -> Answer {
    match (class(x), class(y)) {
        (Class::Other, _) | (_, Class::Other) => nan(x, y, control),
        (Class::Zero, Class::Infinite) => invalid(),
        (Class::Zero, _) => with_denormals(exact((x ^ y) & SIGN), &[y]),
        (Class::Infinite, _) if x & SIGN != 0 => invalid(),
        (Class::Infinite, Class::Zero) => invalid(),
        (Class::Infinite, _) => with_denormals(exact(INFINITY | y & SIGN), &[y]),
        (Class::Finite, _) if x & SIGN != 0 && x & !SIGN > ONE => invalid(),
        (Class::Finite, _) if x == SIGN | ONE => fyl2x(0, y, control),
        (Class::Finite, _) => {
            let (log, is_exact) = functions::log2_p1(Wide::from_bits(x));
            times(x, y, log, is_exact, control)
        }
    }
}

/// y times a logarithm of something that came from x.
fn times(x: u128, y: u128, log: Wide, is_exact: bool, control: u16) -> Answer {
    let answer = match class(y) {
        Class::Infinite if log.is_zero() => return invalid(),
        Class::Infinite => exact(y ^ if log.negative { SIGN } else { 0 }),
        Class::Zero => exact(y ^ if log.negative { SIGN } else { 0 }),
        _ if log.is_zero() => exact(y & SIGN),
        _ => (Wide::from_bits(y) * log).round(control, !is_exact),
    };
    with_denormals(answer, &[x, y])
}

/// The arc tangent of y / x in the quadrant of the point (x, y).
fn fpatan(x: u128, y: u128, control: u16) -> Answer {
    let (left, below) = (x & SIGN != 0, y & SIGN);
    let angle = match (class(x), class(y)) {
        (Class::Other, _) | (_, Class::Other) => return nan(x, y, control),
        (_, Class::Zero) | (Class::Infinite, Class::Finite) if !left => {
            return with_denormals(exact(below), &[x, y]);
        }
        (_, Class::Zero) | (Class::Infinite, Class::Finite) => PI,
        (Class::Infinite, Class::Infinite) if left => HALF_PI + HALF_PI.scaled(-1),
        (Class::Infinite, Class::Infinite) => HALF_PI.scaled(-1),
        (Class::Zero, _) | (_, Class::Infinite) => HALF_PI,
        (Class::Finite, Class::Finite) => {
            let angle = functions::atan(Wide::from_bits(y).abs(), Wide::from_bits(x).abs());
            if left { PI + -angle } else { angle }
        }
    };
    let angle = Wide {
        negative: below != 0,
        ..angle
    };
    with_denormals(angle.round(control, true), &[x, y])
}

fn fsin(x: u128, _: u128, control: u16) -> Answer {
    match class(x) {
        Class::Finite => {
            let (sin, _) = functions::sin_cos(Wide::from_bits(x));
            with_denormals(sin.round(control, true), &[x])
        }
        _ => fsincos(x, 0, control),
    }
}

fn fcos(x: u128, _: u128, control: u16) -> Answer {
    match class(x) {
        Class::Finite => {
            let (_, cos) = functions::sin_cos(Wide::from_bits(x));
            with_denormals(cos.round(control, true), &[x])
        }
        _ => {
            let answer = fsincos(x, 0, control);
            Answer {
                value: answer.second,
                ..answer
            }
        }
    }
}

fn fsincos(x: u128, _: u128, control: u16) -> Answer {
    match class(x) {
        Class::Other => nan(x, x, control),
        Class::Infinite => invalid(),
        Class::Zero => Answer {
            second: ONE,
            ..exact(x)
        },
        Class::Finite => {
            let (sin, cos) = functions::sin_cos(Wide::from_bits(x));
            let (sin, cos) = (sin.round(control, true), cos.round(control, true));
            let answer = Answer {
                value: sin.value,
                second: cos.value,
                status: sin.status | cos.status,
            };
            with_denormals(answer, &[x])
        }
    }
}

fn fptan(x: u128, _: u128, control: u16) -> Answer {
    match class(x) {
        Class::Other => nan(x, x, control),
        Class::Infinite => invalid(),
        Class::Zero => Answer {
            second: ONE,
            ..exact(x)
        },
        Class::Finite => {
            let tan = functions::tan(Wide::from_bits(x)).round(control, true);
            with_denormals(Answer { second: ONE, ..tan }, &[x])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUS_THREE: u128 = 0xC000_C000_0000_0000_0000;

    /// Operand and correctly rounded result, computed with 2000 bits.
    const SIN: [(u128, u128); 7] = [
        (0x3FFF_8000_0000_0000_0000, 0x3FFE_D76A_A478_4867_7021),
        (0x4000_C90F_DAA2_2168_C235, 0xBFBE_ECE6_75D1_FC8F_8CBB),
        (0x3FFF_C90F_DAA2_2168_C235, 0x3FFF_8000_0000_0000_0000),
        (0x403D_FFFF_FFFF_FFFF_FFFF, 0x3FFE_DF32_7E11_2ABE_EF8F),
        (0x4030_9184_E72A_0000_0000, 0x3FFB_BF59_EF2E_2EE4_FC84),
        (0xC002_A000_0000_0000_0000, 0x3FFE_8B44_F7AF_9A7A_92CE),
        (0x3FF0_8000_0000_0000_0001, 0x3FEF_FFFF_FFFF_5555_5557),
    ];
    const COS: [(u128, u128); 4] = [
        (0x3FFF_8000_0000_0000_0000, 0x3FFE_8A51_407D_A834_5C92),
        (0x3FFF_C90F_DAA2_2168_C235, 0xBFBD_ECE6_75D1_FC8F_8CBB),
        (0x403D_FFFF_FFFF_FFFF_FFFF, 0x3FFD_FAC0_35EC_4849_29C2),
        (0x3FF0_8000_0000_0000_0001, 0x3FFE_FFFF_FFFE_0000_0001),
    ];
    const TAN: [(u128, u128); 4] = [
        (0x3FFF_8000_0000_0000_0000, 0x3FFF_C759_22E5_F71D_2DC5),
        (0x3FFF_C90F_DAA2_2168_C235, 0xC040_8A51_E04D_AABD_A35F),
        (0xC002_A000_0000_0000_0000, 0xBFFE_A5FA_F9A5_F1BC_12F0),
        (0x3FF0_8000_0000_0000_0001, 0x3FF0_8000_0000_AAAA_AAAD),
    ];
    const EXP2_M1: [(u128, u128); 4] = [
        (0x3FFE_8000_0000_0000_0000, 0x3FFD_D413_CCCF_E779_9211),
        (0xBFFE_8000_0000_0000_0000, 0xBFFD_95F6_1998_0C43_36F7),
        (0x3F00_8000_0000_0000_0000, 0x3EFF_B172_17F7_D1CF_79AC),
        (0x3FFE_FFFF_FFFF_FFFF_FFFF, 0x3FFE_FFFF_FFFF_FFFF_FFFF),
    ];
    const LOG2: [(u128, u128); 5] = [
        (0x4000_C000_0000_0000_0000, 0x3FFF_CAE0_0D1C_FDEB_43D0),
        (0x3FFF_8000_0000_0000_0001, 0x3FC0_B8AA_3B29_5C17_F0BB),
        (0x4002_A000_0000_0000_0000, 0x4000_D49A_784B_CD1B_8AFE),
        (0x7FFE_FFFF_FFFF_FFFF_FFFF, 0x400D_8000_0000_0000_0000),
        (0x0000_0000_0000_0000_0001, 0xC00D_807A_0000_0000_0000),
    ];
    const LOG2_P1: [(u128, u128); 3] = [
        (0x3FC0_8000_0000_0000_0000, 0x3FC0_B8AA_3B29_5C17_F0BB),
        (0x3FFD_8000_0000_0000_0000, 0x3FFD_A4D3_C25E_68DC_57F2),
        (0xBFFD_8000_0000_0000_0000, 0xBFFD_D47F_CB8C_0852_F0C1),
    ];

    fn check(operation: Operation, y: u128, table: &[(u128, u128)]) {
        for (x, result) in table {
            let value = operation(*x, y, 0x37F).value;
            assert_eq!(value, *result, "of {x:x}: {value:x}, not {result:x}");
        }
    }

    #[test]
    fn results_are_correctly_rounded() {
        check(fsin, 0, &SIN);
        check(fcos, 0, &COS);
        check(fptan, 0, &TAN);
        check(f2xm1, 0, &EXP2_M1);
        check(fyl2x, ONE, &LOG2);
        check(fyl2xp1, ONE, &LOG2_P1);
        check(fpatan, ONE, &[(ONE, 0x3FFE_C90F_DAA2_2168_C235)]);
        let two = 0x4000_8000_0000_0000_0000;
        check(fpatan, two, &[(MINUS_THREE, 0x4000_A36E_04F6_14A1_975B)]);
        check(
            fpatan,
            0xBFF0_8000_0000_0000_0000,
            &[(ONE, 0xBFEF_FFFF_FFFE_AAAA_AAAE)],
        );
    }

    #[test]
    fn exact_results_set_no_flags() {
        let eight = 0x4002_8000_0000_0000_0000;
        assert_eq!(fyl2x(eight, ONE, 0x37F), exact(0x4000_C000_0000_0000_0000));
        assert_eq!(fyl2x(ONE, SIGN | eight, 0x37F), exact(SIGN));
        assert_eq!(
            f2xm1(SIGN | ONE, 0, 0x37F),
            exact(0xBFFE_8000_0000_0000_0000)
        );
        assert_eq!(fyl2x(0, 0, 0x37F), invalid());
        assert_eq!(fyl2x(0, eight, 0x37F).status, ZE);
        assert_eq!(fpatan(ONE, SIGN, 0x37F), exact(SIGN));
    }

    #[test]
    fn directed_rounding_brackets_the_result() {
        let tiny = 0x3F00_8000_0000_0000_0000;
        assert_eq!(fsin(tiny, 0, 0xF7F).value, 0x3EFF_FFFF_FFFF_FFFF_FFFF);
        assert_eq!(fsin(tiny, 0, 0xB7F).value, tiny);
        assert_eq!(fptan(tiny, 0, 0xF7F).value, tiny);
        assert_eq!(fptan(tiny, 0, 0xB7F).value, tiny + 1);
    }
}
