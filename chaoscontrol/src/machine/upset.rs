//! What upsets a machine from outside of its guest: lost time, a slow CPU, a flipped bit, a host
//! that wants its memory back, interrupts that no device asked for.
//!
//! Each takes effect at the instruction boundary at which the machine stands, or, for a
//! preemption, at one that the count of instructions decides.

use super::vm::DeterministicVm;
use crate::cpu::ram::PAGE_SIZE;
use crate::cpu::{RamError, Vcpu};

impl DeterministicVm {
    /// From now on each instruction takes a million `ppm`th of its time, so that at 100_000
    /// the CPU runs at a tenth of its speed; clamped to
    /// [`MIN_SPEED_PPM`](super::MIN_SPEED_PPM)..=[`FULL_SPEED_PPM`](super::FULL_SPEED_PPM).
    /// Where exits are counted, each of them does.
    pub fn set_speed(&mut self, ppm: u32) {
        self.state.clock.set_speed(self.cpu.count(), ppm);
    }

    /// Lets the machine execute nothing before T = `time`, which has not passed, while all its
    /// clocks run on. What falls due meanwhile, it finds when it goes on. Takes back what is
    /// left of an earlier stall.
    pub fn stall_until(&mut self, time: u64) {
        self.state.clock.stand_until(self.cpu.count(), time);
    }

    /// Goes on `ns` later than it would have, its clocks standing still meanwhile.
    pub fn put_off(&mut self, ns: u64) {
        self.state.clock.shift(ns);
    }

    /// Lets the clocks run on by `slice_ns` while the CPU stands, once it has retired
    /// `instructions` more and is in user mode: there a guest's scheduler switches if its
    /// timer interrupts in the slice. An idle CPU retires nothing, so it waits.
    ///
    /// Where exits are counted instead of instructions, this happens at once, whatever the
    /// guest executes.
    pub fn preempt(&mut self, instructions: u64, slice_ns: u64) {
        if self.config.counts_exits() {
            return self.lose(slice_ns);
        }
        let at = self.retired().saturating_add(instructions);
        let slice = self.state.preemptions.entry(at).or_default();
        *slice = slice.saturating_add(slice_ns);
    }

    /// Gives up the preemptions that have not happened yet.
    pub fn forget_preemptions(&mut self) {
        self.state.preemptions.clear();
    }

    /// Flips bit `bit` (0..8) of the byte at guest-physical `address`: a memory error.
    ///
    /// # Errors
    /// An address outside of RAM.
    pub fn flip_bit(&mut self, address: u64, bit: u8) -> Result<(), RamError> {
        let mut byte = [0];
        self.ram.read(address, &mut byte)?;
        self.ram.write(address, &[byte[0] ^ 1 << (bit & 7)])
    }

    /// Wants the guest to give back `bytes` of its memory in all, in pages of 4 KiB and all of it
    /// at most; 0 lets it have all again. The guest's driver of the balloon does so as time
    /// passes, as far as it finds free pages. What it has given reads as zeros.
    pub fn balloon(&mut self, bytes: u64) {
        let pages = bytes.min(self.config.memory_size) / PAGE_SIZE;
        self.state.platform.balloon(pages as u32);
    }

    /// How many bytes of its memory the guest says that it has given back.
    pub fn ballooned(&self) -> u64 {
        u64::from(self.state.platform.ballooned()) * PAGE_SIZE
    }

    /// A pulse on input `irq` (0..=15, else nothing happens) of the interrupt controller,
    /// which no device made. See [`Pic::glitch`](crate::devices::pic::Pic::glitch).
    pub fn interrupt(&mut self, irq: u8) {
        self.state.platform.glitch(irq);
    }

    /// A spurious interrupt: the controller's request is gone when the CPU acknowledges it.
    pub fn spurious(&mut self) {
        self.state.platform.spurious();
    }

    /// A non-maskable interrupt.
    pub fn nmi(&mut self) {
        self.cpu.nmi();
    }

    /// Carries out the preemption that is due at this boundary, if one is.
    pub(super) fn preempted(&mut self) -> bool {
        if !self.preemption_waits() || !self.cpu.in_user_mode() {
            return false;
        }
        let first = self.state.preemptions.pop_first();
        self.lose(first.map_or(0, |(_, slice)| slice));
        true
    }

    fn lose(&mut self, ns: u64) {
        let end = self.time().saturating_add(ns);
        self.stall_until(end);
    }

    /// Whether a preemption waits for nothing but user mode.
    pub(super) fn preemption_waits(&self) -> bool {
        self.next_preemption() <= self.cpu.retired()
    }

    /// The number of instructions at which a preemption is due; `u64::MAX` if there is none.
    pub(super) fn next_preemption(&self) -> u64 {
        let first = self.state.preemptions.first_key_value();
        first.map_or(u64::MAX, |(at, _)| *at)
    }
}
