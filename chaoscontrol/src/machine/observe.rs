//! What an observer may read from a machine, or do to it, without the guest noticing. (And [`DeterministicVm::flip_bit`], which exists to show that
//! a difference of one bit is noticed.)

use super::vm::DeterministicVm;
use crate::cpu::{RamError, Vcpu};

impl DeterministicVm {
    /// Forgets everything the CPU derived from memory. The guest does not notice.
    pub fn flush_caches(&mut self) {
        self.cpu.flush_caches();
    }

    /// Copies guest-physical memory out.
    ///
    /// # Errors
    /// A range that is not all RAM.
    pub fn read_memory(&self, address: u64, into: &mut [u8]) -> Result<(), RamError> {
        self.ram.read(address, into)
    }

    /// Copies guest-virtual memory out through the page tables that are loaded now;
    /// `false` when a page is not mapped.
    pub fn read_virtual(&mut self, address: u64, into: &mut [u8]) -> bool {
        self.cpu.read_virtual(address, into)
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
}
