//! What an observer may read from a machine, or do to it, without the guest noticing:
//! coverage, caches, memory. (And [`DeterministicVm::flip_bit`], which exists to show that
//! a difference of one bit is noticed.)

use std::collections::BTreeMap;
use std::sync::Arc;

use super::vm::DeterministicVm;
use crate::cpu::soft::coverage::CodeMap;
use crate::cpu::soft::missing::Met;
use crate::cpu::{RamError, Vcpu};

impl DeterministicVm {
    /// Switches the counting of branch edges on or off.
    pub fn set_coverage(&mut self, on: bool) {
        self.cpu.set_coverage(on);
    }

    /// Names the pages of packed files, so that edges of user code are counted.
    pub fn set_code_map(&mut self, map: Arc<CodeMap>) {
        self.cpu.set_code_map(map);
    }

    /// The edge counters: one region of `coverage::REGION` bytes each for the test's own
    /// executable, other packed files, and the kernel; empty if they were never on.
    pub fn coverage(&self) -> &[u8] {
        self.cpu.coverage()
    }

    /// Sets all edge counters to zero. Snapshots do not hold them.
    pub fn clear_coverage(&mut self) {
        self.cpu.clear_coverage();
    }

    /// Instructions that the guest tried to execute and the CPU does not have, by name.
    pub fn missing_instructions(&self) -> &BTreeMap<String, Met> {
        self.cpu.missing()
    }

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
