//! Loads, stores, exchanges, constants, and the instructions that turn the stack.

use iced_x86::{Code, Instruction};

use super::super::core::Core;
use super::super::op::{Flow, Handler, Op};
use super::super::state::Fpu;
use super::host::{self, Answer, Operation};
use super::registers::EXCEPTIONS;
use super::stack::{C1, IE, INDEFINITE};
use super::{Tbyte, handler, register, source, target};

/// The integer that answers invalid conversions to packed BCD.
const BCD_INDEFINITE: u128 = 0xFFFF_C000_0000_0000_0000;

/// A handler that stores ST(0) as `$operation` converts it, and then pops `$pops` values.
macro_rules! store {
    ($word:ty, $operation:expr, $indefinite:expr, $pops:literal) => {
        handler!(target::<$word>, |fpu, _| store(
            fpu,
            $operation,
            $indefinite,
            $pops
        ))
    };
}

pub(super) fn lower(i: &Instruction, op: &mut Op) -> Option<Handler> {
    use Code::*;
    let register_operand = (0..i.op_count())
        .map(|n| i.op_register(n))
        .find(|r| r.is_st());
    let last = (0..i.op_count())
        .rev()
        .map(|n| i.op_register(n))
        .find(|r| r.is_st());
    let code = i.code();
    // FLD and FXCH name ST(i) last, stores and FFREE first.
    op.dst = register_operand.map_or(0, Op::reg);
    op.src = last.map_or(0, Op::reg);
    Some(match code {
        Fld_m32fp => handler!(source::<u32>, |fpu, _, b| load(fpu, b, host::fld32)),
        Fld_m64fp => handler!(source::<u64>, |fpu, _, b| load(fpu, b, host::fld64)),
        Fld_m80fp => handler!(source::<Tbyte>, |fpu, _, b| load(fpu, b, same)),
        Fild_m16int => handler!(source::<u16>, |fpu, _, b| load(fpu, b, host::fild16)),
        Fild_m32int => handler!(source::<u32>, |fpu, _, b| load(fpu, b, host::fild32)),
        Fild_m64int => handler!(source::<u64>, |fpu, _, b| load(fpu, b, host::fild64)),
        Fbld_m80bcd => handler!(source::<Tbyte>, |fpu, _, b| load(fpu, b, fbld)),
        Fld1 => handler!(register, |fpu, _| load(fpu, 0x3FFF << 64 | 1 << 63, same)),
        Fldz => handler!(register, |fpu, _| load(fpu, 0, same)),
        Fldl2t => handler!(register, |fpu, _| load(fpu, 0, host::fldl2t)),
        Fldl2e => handler!(register, |fpu, _| load(fpu, 0, host::fldl2e)),
        Fldpi => handler!(register, |fpu, _| load(fpu, 0, host::fldpi)),
        Fldlg2 => handler!(register, |fpu, _| load(fpu, 0, host::fldlg2)),
        Fldln2 => handler!(register, |fpu, _| load(fpu, 0, host::fldln2)),
        Fld_sti => handler!(register, fld),

        Fst_m32fp => store!(u32, host::fst32, INDEFINITE_32, 0),
        Fstp_m32fp => store!(u32, host::fst32, INDEFINITE_32, 1),
        Fst_m64fp => store!(u64, host::fst64, INDEFINITE_64, 0),
        Fstp_m64fp => store!(u64, host::fst64, INDEFINITE_64, 1),
        Fstp_m80fp => store!(Tbyte, same_a, INDEFINITE, 1),
        Fist_m16int => store!(u16, host::fist16, 0x8000, 0),
        Fistp_m16int => store!(u16, host::fist16, 0x8000, 1),
        Fist_m32int => store!(u32, host::fist32, 0x8000_0000, 0),
        Fistp_m32int => store!(u32, host::fist32, 0x8000_0000, 1),
        Fistp_m64int => store!(u64, host::fist64, 1 << 63, 1),
        Fisttp_m16int => store!(u16, host::fisttp16, 0x8000, 1),
        Fisttp_m32int => store!(u32, host::fisttp32, 0x8000_0000, 1),
        Fisttp_m64int => store!(u64, host::fisttp64, 1 << 63, 1),
        Fbstp_m80bcd => store!(Tbyte, host::fbstp, BCD_INDEFINITE, 1),
        Fst_sti => handler!(register, |fpu, op| fst(fpu, op, false)),
        Fstp_sti | Fstp_sti_DFD0 | Fstp_sti_DFD8 => {
            handler!(register, |fpu, op| fst(fpu, op, true))
        }
        Fstpnce_sti => handler!(register, |fpu, op| fstpnce(fpu, op.dst)),

        Fxch_st0_sti | Fxch_st0_sti_DDC8 | Fxch_st0_sti_DFC8 => {
            handler!(register, |fpu, op| fxch(fpu, op.src))
        }
        Ffree_sti => handler!(register, |fpu, op| ffree(fpu, op.dst)),
        Ffreep_sti => handler!(register, |fpu, op| {
            ffree(fpu, op.dst);
            fpu.pop();
        }),
        Fincstp => handler!(register, |fpu, _| turn(fpu, 1)),
        Fdecstp => handler!(register, |fpu, _| turn(fpu, 7)),
        _ => return None,
    })
}

const INDEFINITE_32: u128 = 0xFFC0_0000;
const INDEFINITE_64: u128 = 0xFFF8_0000_0000_0000;

fn same(_: u128, b: u128, _: u16) -> Answer {
    Answer {
        value: b,
        ..Answer::default()
    }
}

fn same_a(a: u128, _: u128, _: u16) -> Answer {
    Answer {
        value: a,
        ..Answer::default()
    }
}

/// Packed BCD to number: each digit counts as what its four bits say, also beyond nine.
fn fbld(_: u128, b: u128, _: u16) -> Answer {
    let magnitude = (0..18)
        .rev()
        .fold(0u64, |sum, i| sum * 10 + (b >> (4 * i)) as u64 % 16);
    let value = if magnitude == 0 {
        0
    } else {
        let shift = magnitude.leading_zeros();
        (0x403E - shift as u128) << 64 | (magnitude << shift) as u128
    };
    Answer {
        value: value | b & 1 << 79,
        ..Answer::default()
    }
}

/// Pushes what `operation` makes of `b`.
fn load(fpu: &mut Fpu, b: u128, operation: Operation) {
    if fpu.full() {
        if fpu.overflow() {
            fpu.push(INDEFINITE);
        }
        return;
    }
    // A load is exact, and happens despite an unmasked denormal operand.
    let answer = operation(0, b, fpu.control | EXCEPTIONS);
    if fpu.accept(&answer) || answer.status & IE == 0 {
        fpu.push(answer.value);
    }
}

fn fld(fpu: &mut Fpu, op: &Op) {
    match fpu.get(op.src) {
        Some(value) => load(fpu, value, same),
        None if fpu.underflow() => fpu.push(INDEFINITE),
        None => {}
    }
}

/// What goes to memory, if anything does.
fn store(fpu: &mut Fpu, operation: Operation, indefinite: u128, pops: u8) -> Option<u128> {
    let (counts, value) = match fpu.get(0) {
        Some(x) => {
            let answer = operation(x, 0, fpu.control);
            (fpu.accept_store(&answer), answer.value)
        }
        None => (fpu.underflow(), indefinite),
    };
    if counts && pops == 1 {
        fpu.pop();
    }
    counts.then_some(value)
}

fn fst(fpu: &mut Fpu, op: &Op, pops: bool) {
    let value = match fpu.get(0) {
        Some(value) => {
            fpu.set_codes(C1, 0);
            value
        }
        None if fpu.underflow() => INDEFINITE,
        None => return,
    };
    fpu.set(op.dst, value);
    if pops {
        fpu.pop();
    }
}

/// FSTP without a stack fault: an empty ST(0) is popped, but copied nowhere.
fn fstpnce(fpu: &mut Fpu, i: u8) {
    fpu.set_codes(C1, 0);
    if let Some(value) = fpu.get(0) {
        fpu.set(i, value);
    }
    fpu.pop();
}

fn fxch(fpu: &mut Fpu, i: u8) {
    let (a, b) = (fpu.get(0), fpu.get(i));
    fpu.set_codes(C1, 0);
    if a.and(b).is_none() && !fpu.underflow() {
        return;
    }
    fpu.set(0, b.unwrap_or(INDEFINITE));
    fpu.set(i, a.unwrap_or(INDEFINITE));
}

fn ffree(fpu: &mut Fpu, i: u8) {
    fpu.set_codes(C1, 0);
    fpu.free(i);
}

fn turn(fpu: &mut Fpu, by: u8) {
    fpu.set_codes(C1, 0);
    fpu.top = fpu.top.wrapping_add(by) & 7;
}
