//! PCMPxSTRx: comparisons of short strings (SDM volume 2, 4.1).

use iced_x86::{Code, Instruction};

use super::operand::dst;
use crate::cpu::soft::core::Core;
use crate::cpu::soft::flags::{CF, OF, SF, ZF};
use crate::cpu::soft::op::{Handler, Op};

/// One operand: its elements, sign- or zero-extended, and how many of them are valid.
struct Text {
    elements: [i32; 16],
    length: usize,
}

impl Text {
    /// Splits `value` up; the length is `explicit`, or ends before the first zero.
    fn new(value: u128, imm: u64, explicit: Option<usize>) -> Text {
        let mut elements = [0; 16];
        let count = count(imm);
        for (n, element) in elements.iter_mut().take(count).enumerate() {
            *element = match imm & 3 {
                0 => (value >> (8 * n)) as u8 as i32,
                1 => (value >> (16 * n)) as u16 as i32,
                2 => (value >> (8 * n)) as i8 as i32,
                _ => (value >> (16 * n)) as i16 as i32,
            };
        }
        let end = || elements[..count].iter().position(|&e| e == 0);
        let length = explicit.unwrap_or_else(|| end().unwrap_or(count));
        Text { elements, length }
    }
}

/// Elements in an operand.
fn count(imm: u64) -> usize {
    if imm & 1 == 0 { 16 } else { 8 }
}

/// A length register: its magnitude, saturated.
fn saturated(length: i64, imm: u64) -> usize {
    length.unsigned_abs().min(count(imm) as u64) as usize
}

/// IntRes1: one bit for each element of `b`.
fn aggregate(a: &Text, b: &Text, imm: u64) -> u32 {
    let count = count(imm);
    let set = (0..count).filter(|&j| match imm >> 2 & 3 {
        // Equal any: is the element among those of `a`?
        0 => j < b.length && a.elements[..a.length].contains(&b.elements[j]),
        // Ranges: does it lie in one of the pairs of `a`?
        1 => {
            j < b.length
                && a.elements[..a.length & !1]
                    .chunks_exact(2)
                    .any(|range| (range[0]..=range[1]).contains(&b.elements[j]))
        }
        // Equal each: are both the same, or both beyond the end?
        2 => match (j < a.length, j < b.length) {
            (true, true) => a.elements[j] == b.elements[j],
            (x, y) => x == y,
        },
        // Equal ordered: does `a` begin here, as far as the operand reaches?
        _ => (0..a.length.min(count - j))
            .all(|k| j + k < b.length && a.elements[k] == b.elements[j + k]),
    });
    set.fold(0, |bits, j| bits | 1 << j)
}

/// IntRes2: the aggregate after the polarity.
fn compare(a: &Text, b: &Text, imm: u64) -> u32 {
    let result = aggregate(a, b, imm);
    let all = (1u32 << count(imm)) - 1;
    match imm >> 4 & 3 {
        1 => result ^ all,
        3 => result ^ ((1u32 << b.length) - 1),
        _ => result,
    }
}

/// The status flags, given IntRes2.
fn status(result: u32, a: &Text, b: &Text, imm: u64) -> u64 {
    let flag = |set: bool, flag: u64| if set { flag } else { 0 };
    flag(result != 0, CF)
        | flag(b.length < count(imm), ZF)
        | flag(a.length < count(imm), SF)
        | flag(result & 1 != 0, OF)
}

/// Compares the operands with the lengths given, or up to their zeros; sets the flags.
fn run(core: &mut Core, op: &Op, b: u128, lengths: Option<(i64, i64)>) -> u32 {
    let explicit = |length| saturated(length, op.imm);
    let a = Text::new(*dst(core, op), op.imm, lengths.map(|l| explicit(l.0)));
    let b = Text::new(b, op.imm, lengths.map(|l| explicit(l.1)));
    let result = compare(&a, &b, op.imm);
    core.set_status(status(result, &a, &b, op.imm));
    result
}

/// Into ECX: the lowest or highest set bit, or the number of elements.
fn index(core: &mut Core, op: &Op, result: u32) {
    let found = match (result, op.imm & 0x40) {
        (0, _) => count(op.imm) as u32,
        (bits, 0) => bits.trailing_zeros(),
        (bits, _) => bits.ilog2(),
    };
    core.s.gpr[1] = found as u64;
}

/// Into XMM0: the bits, or elements of ones.
fn mask(core: &mut Core, op: &Op, result: u32) {
    let width = 128 / count(op.imm);
    core.s.xmm[0] = if op.imm & 0x40 == 0 {
        result as u128
    } else {
        (0..count(op.imm))
            .filter(|n| result >> n & 1 != 0)
            .fold(0, |v, n| v | ((1u128 << width) - 1) << (n * width))
    };
}

/// EAX and EDX as lengths.
fn short(core: &Core) -> Option<(i64, i64)> {
    let length = |n: usize| core.s.gpr[n] as i32 as i64;
    Some((length(0), length(2)))
}

/// RAX and RDX as lengths.
fn long(core: &Core) -> Option<(i64, i64)> {
    Some((core.s.gpr[0] as i64, core.s.gpr[2] as i64))
}

fn implicit(_: &Core) -> Option<(i64, i64)> {
    None
}

/// A handler of one way to give lengths and one way to use the result.
macro_rules! string {
    ($i:expr, $lengths:ident, $into:ident) => {
        with_source!($i, Unaligned, |core, op, b| {
            let lengths = $lengths(core);
            let result = run(core, op, b, lengths);
            $into(core, op, result);
        })
    };
}

pub fn lower(i: &Instruction) -> Option<Handler> {
    use Code::*;
    Some(match i.code() {
        Pcmpestrm_xmm_xmmm128_imm8 => string!(i, short, mask),
        Pcmpestrm64_xmm_xmmm128_imm8 => string!(i, long, mask),
        Pcmpestri_xmm_xmmm128_imm8 => string!(i, short, index),
        Pcmpestri64_xmm_xmmm128_imm8 => string!(i, long, index),
        Pcmpistrm_xmm_xmmm128_imm8 => string!(i, implicit, mask),
        Pcmpistri_xmm_xmmm128_imm8 => string!(i, implicit, index),
        _ => return None,
    })
}
