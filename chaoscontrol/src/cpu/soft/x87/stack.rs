//! The register stack: pushes, pops, stack faults, and how the flags of an operation
//! decide whether its result counts.

use super::super::state::Fpu;
use super::host::Answer;

/// Invalid operation.
pub const IE: u16 = 1;
/// Denormal operand.
pub const DE: u16 = 1 << 1;
/// Division by zero.
pub const ZE: u16 = 1 << 2;
/// Overflow.
pub const OE: u16 = 1 << 3;
/// Underflow.
pub const UE: u16 = 1 << 4;
/// Inexact result.
pub const PE: u16 = 1 << 5;
/// Stack fault.
pub const SF: u16 = 1 << 6;
/// Condition code 0.
pub const C0: u16 = 1 << 8;
/// Condition code 1: rounded up, or the direction of a stack fault.
pub const C1: u16 = 1 << 9;
/// Condition code 2.
pub const C2: u16 = 1 << 10;
/// Condition code 3.
pub const C3: u16 = 1 << 14;

/// The QNaN that answers invalid operations.
pub const INDEFINITE: u128 = 0xFFFF_C000_0000_0000_0000;

impl Fpu {
    /// ST(`i`), or `None` if it is empty.
    pub fn get(&self, i: u8) -> Option<u128> {
        let r = self.physical(i);
        (self.valid & 1 << r != 0).then(|| self.regs[r])
    }

    /// Sets ST(`i`).
    pub fn set(&mut self, i: u8, value: u128) {
        let r = self.physical(i);
        self.regs[r] = value;
        self.valid |= 1 << r;
    }

    /// Empties ST(`i`).
    pub fn free(&mut self, i: u8) {
        self.valid &= !(1 << self.physical(i));
    }

    /// Pops ST(0).
    pub fn pop(&mut self) {
        self.free(0);
        self.top = self.top.wrapping_add(1) & 7;
    }

    /// Pushes `value` onto whatever is there.
    pub fn push(&mut self, value: u128) {
        self.top = self.top.wrapping_sub(1) & 7;
        self.set(0, value);
    }

    /// Whether a push would overflow.
    pub fn full(&self) -> bool {
        self.get(7).is_some()
    }

    /// Sets exception flags, and C1 to what `flags` has; true if none of the exceptions is unmasked
    /// that are found before an operation, and prevent it.
    fn flag(&mut self, flags: u16) -> bool {
        const BEFORE: u16 = IE | DE | ZE;
        let happens = flags & !self.control & BEFORE == 0;
        let settable = BEFORE | SF | C1 | if happens { OE | UE | PE } else { 0 };
        self.status = self.status & !C1 | flags & settable;
        self.summarize();
        happens
    }

    /// A stack underflow; true if it is masked.
    pub fn underflow(&mut self) -> bool {
        self.flag(IE | SF)
    }

    /// A stack overflow; true if it is masked.
    pub fn overflow(&mut self) -> bool {
        self.flag(IE | SF | C1)
    }

    /// Takes the flags of an operation over; true if its result counts.
    pub fn accept(&mut self, answer: &Answer) -> bool {
        self.flag(answer.status)
    }

    /// As [`Fpu::accept`], for results that go to memory and are also withheld by
    /// overflow and underflow.
    pub fn accept_store(&mut self, answer: &Answer) -> bool {
        self.flag(answer.status) && answer.status & !self.control & (OE | UE) == 0
    }

    /// Sets the condition codes `codes` as they are in `status`.
    pub fn set_codes(&mut self, codes: u16, status: u16) {
        self.status = self.status & !codes | status & codes;
    }
}
