//! What an observer may read from a machine, or do to it, without the guest noticing.

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
}
