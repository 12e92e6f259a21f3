//! Add, subtract, multiply, divide, and the functions of ST(0) that are exact everywhere.

use iced_x86::{Code, Instruction, MemorySize, Mnemonic, OpKind};

use super::super::core::Core;
use super::super::op::{Flow, Handler, Op};
use super::super::state::Fpu;
use super::host::{self, Operation, form};
use super::stack::{C0, C1, C2, C3, DE, INDEFINITE};
use super::{handler, register, source};

const SIGN: u128 = 1 << 79;

/// Forms by operation, the number that `aux` of an [`Op`] holds.
static OPERATIONS: [&[Operation; 5]; 6] = [
    &host::ADD,
    &host::MUL,
    &host::SUB,
    &host::SUBR,
    &host::DIV,
    &host::DIVR,
];

pub(super) fn lower(i: &Instruction, op: &mut Op) -> Option<Handler> {
    Some(match i.code() {
        Code::Fsqrt => handler!(register, |fpu, _| unary(fpu, host::fsqrt)),
        Code::Frndint => handler!(register, |fpu, _| unary(fpu, host::frndint)),
        Code::Fscale => handler!(register, |fpu, _| {
            let operands = fpu.get(0).zip(fpu.get(1));
            binary(fpu, host::fscale, 0, operands);
        }),
        Code::Fxtract => handler!(register, |fpu, _| fxtract(fpu)),
        Code::Fprem => handler!(register, |fpu, _| remainder(fpu, host::fprem)),
        Code::Fprem1 => handler!(register, |fpu, _| remainder(fpu, host::fprem1)),
        Code::Fabs => handler!(register, |fpu, _| sign(fpu, |x| x & !SIGN)),
        Code::Fchs => handler!(register, |fpu, _| sign(fpu, |x| x ^ SIGN)),
        _ => return basic(i, op),
    })
}

fn basic(i: &Instruction, op: &mut Op) -> Option<Handler> {
    use Mnemonic::*;
    let mnemonic = i.mnemonic();
    op.aux = match mnemonic {
        Fadd | Faddp | Fiadd => 0,
        Fmul | Fmulp | Fimul => 1,
        Fsub | Fsubp | Fisub => 2,
        Fsubr | Fsubrp | Fisubr => 3,
        Fdiv | Fdivp | Fidiv => 4,
        Fdivr | Fdivrp | Fidivr => 5,
        _ => return None,
    };
    if i.op0_kind() == OpKind::Memory {
        return Some(match i.memory_size() {
            MemorySize::Float32 => {
                handler!(source::<u32>, |fpu, op, b| memory(fpu, op, form::M32, b))
            }
            MemorySize::Float64 => {
                handler!(source::<u64>, |fpu, op, b| memory(fpu, op, form::M64, b))
            }
            MemorySize::Int16 => {
                handler!(source::<u16>, |fpu, op, b| memory(fpu, op, form::I16, b))
            }
            _ => handler!(source::<u32>, |fpu, op, b| memory(fpu, op, form::I32, b)),
        });
    }
    op.dst = Op::reg(i.op0_register());
    op.src = Op::reg(i.op1_register());
    Some(match mnemonic {
        Faddp | Fmulp | Fsubp | Fsubrp | Fdivp | Fdivrp => handler!(register, |fpu, op| {
            if stack(fpu, op) {
                fpu.pop();
            }
        }),
        _ => handler!(register, |fpu, op| {
            stack(fpu, op);
        }),
    })
}

/// `dst = dst op src`, both on the stack; false if an unmasked exception withholds the result.
fn stack(fpu: &mut Fpu, op: &Op) -> bool {
    let operands = fpu.get(op.dst).zip(fpu.get(op.src));
    let operation = OPERATIONS[op.aux as usize][form::REGISTER];
    binary(fpu, operation, op.dst, operands)
}

/// `ST(0) = ST(0) op b`, with `b` in a format of memory.
fn memory(fpu: &mut Fpu, op: &Op, form: usize, b: u128) {
    let operands = fpu.get(0).map(|a| (a, b));
    binary(fpu, OPERATIONS[op.aux as usize][form], 0, operands);
}

pub(super) fn unary(fpu: &mut Fpu, operation: Operation) {
    let operands = fpu.get(0).map(|a| (a, 0));
    binary(fpu, operation, 0, operands);
}

/// Sets ST(`dst`) to the result of `operation`, where the operands are not empty; false if an
/// unmasked exception withholds it.
pub(super) fn binary(
    fpu: &mut Fpu,
    operation: Operation,
    dst: u8,
    operands: Option<(u128, u128)>,
) -> bool {
    let (counts, value) = match operands {
        Some((a, b)) => {
            let answer = operation(a, b, fpu.control);
            (fpu.accept(&answer), answer.value)
        }
        None => (fpu.underflow(), INDEFINITE),
    };
    if counts {
        fpu.set(dst, value);
    }
    counts
}

/// FABS and FCHS, which take any bits for a number.
fn sign(fpu: &mut Fpu, change: fn(u128) -> u128) {
    match fpu.get(0) {
        Some(x) => {
            fpu.set_codes(C1, 0);
            fpu.set(0, change(x));
        }
        None if fpu.underflow() => fpu.set(0, INDEFINITE),
        None => {}
    }
}

fn fxtract(fpu: &mut Fpu) {
    let (counts, exponent, significand) = match fpu.get(0) {
        None => (fpu.underflow(), INDEFINITE, INDEFINITE),
        Some(_) if fpu.full() => (fpu.overflow(), INDEFINITE, INDEFINITE),
        Some(x) => {
            let answer = host::fxtract(x, 0, fpu.control);
            (fpu.accept(&answer), answer.second, answer.value)
        }
    };
    if counts {
        fpu.set(0, exponent);
        fpu.push(significand);
    }
}

/// FPREM and FPREM1. Where exponents differ by D >= 64, one step reduces by a truncated
/// multiple of the divisor times 2^(D - N), with N = 32 + D mod 32; manuals leave N open.
fn remainder(fpu: &mut Fpu, operation: Operation) {
    fpu.set_codes(C2, 0);
    let Some((a, b)) = fpu.get(0).zip(fpu.get(1)) else {
        if fpu.underflow() {
            fpu.set(0, INDEFINITE);
        }
        return;
    };
    let distance = match (exponent(a), exponent(b)) {
        (Some(ea), Some(eb)) => ea - eb,
        _ => 0,
    };
    let mut answer;
    if distance < 64 {
        answer = operation(a, b, fpu.control);
    } else {
        let divisor = scaled(b, distance - (32 + distance % 32));
        answer = host::fprem(a, divisor, fpu.control);
        answer.status = answer.status & !(C0 | C1 | C3) | C2;
        if denormal(b) {
            answer.status |= DE;
        }
    }
    if fpu.accept(&answer) {
        fpu.set(0, answer.value);
        if answer.value >> 64 & 0x7FFF != 0x7FFF {
            fpu.set_codes(C0 | C1 | C2 | C3, answer.status);
        }
    }
}

/// The exponent (biased) that a finite number other than zero has once it is normalized.
fn exponent(x: u128) -> Option<i32> {
    let (e, m) = ((x >> 64) as i32 & 0x7FFF, x as u64);
    (m != 0 && e != 0x7FFF && (e == 0 || m >> 63 == 1)).then(|| e.max(1) - m.leading_zeros() as i32)
}

fn denormal(x: u128) -> bool {
    x >> 64 & 0x7FFF == 0 && x as u64 != 0
}

/// A finite number other than zero times 2^`by`, for `by >= 0` and a result that is finite.
fn scaled(x: u128, by: i32) -> u128 {
    let m = x as u64;
    let e = (x >> 64) as i32 & 0x7FFF;
    let e = e.max(1) - m.leading_zeros() as i32 + by;
    let m = m << m.leading_zeros();
    let (e, m) = if e < 1 { (0, m >> (1 - e)) } else { (e, m) };
    x & SIGN | (e as u128) << 64 | m as u128
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remainder_of_distant_numbers_takes_steps_of_a_fixed_length() {
        let mut fpu = Fpu::default();
        fpu.push(0x4000_C000_0000_0000_0000); // 3
        fpu.push((0x3FFF + 100) << 64 | 1 << 63);
        let codes = |fpu: &Fpu| fpu.status & (C0 | C1 | C2 | C3);
        // Here a processor may stop at any 2^n with n even and from 36 to 68.
        remainder(&mut fpu, host::fprem);
        assert_eq!(fpu.get(0), Some((0x3FFF + 64) << 64 | 1 << 63));
        assert_eq!(codes(&fpu), C2);
        // 2^64 = 3 * 0x5555_5555_5555_5555 + 1; the quotient's last bits are 101.
        remainder(&mut fpu, host::fprem);
        assert_eq!(fpu.get(0), Some(0x3FFF << 64 | 1 << 63));
        assert_eq!(codes(&fpu), C0 | C1);
    }
}
