//! A whole machine at one moment, and the hash that proves two machines equal.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

use super::config::VmConfig;
use super::memory::MemorySnapshot;
use super::stop::VmError;
use super::vm::{DeterministicVm, MachineState};
use crate::cpu::{CpuState, RamError, Vcpu};
use crate::devices::disk::Disk;

/// A machine at one moment. Clones and successive snapshots share what is equal.
#[derive(Clone, Debug)]
pub struct VmSnapshot(Arc<Whole>);

#[derive(Debug)]
struct Whole {
    config: Arc<VmConfig>,
    time: u64,
    cpu: CpuState,
    state: MachineState,
    memory: MemorySnapshot,
    /// Bytes of the disk that this snapshot holds and the one before does not.
    disk: u64,
}

impl VmSnapshot {
    /// Bytes of memory and disk that this snapshot holds and the machine's one before it does not.
    pub fn owned_bytes(&self) -> u64 {
        self.0.memory.owned_bytes() + self.0.disk
    }

    /// Bytes of memory in pages that are not all zeros, whether or not other snapshots share
    /// them.
    pub fn used_bytes(&self) -> u64 {
        self.0.memory.used_bytes()
    }

    /// T in ns at which it was taken.
    pub fn time(&self) -> u64 {
        self.0.time
    }

    /// The configuration of the machine it was taken of.
    pub fn config(&self) -> &VmConfig {
        &self.0.config
    }
}

impl DeterministicVm {
    /// The machine as it is. Costs what was written since the last snapshot or restore.
    pub fn snapshot(&mut self) -> VmSnapshot {
        self.cpu.mark_written();
        let memory = MemorySnapshot::take(&self.ram, &self.base)
            .expect("a machine's base has its memory's size");
        self.base = memory.clone();
        let disk = self.disk_mut().map_or(0, Disk::take_owned_bytes);
        VmSnapshot(Arc::new(Whole {
            config: Arc::clone(&self.config),
            time: self.time(),
            cpu: self.cpu.state(),
            state: self.state.clone(),
            memory,
            disk,
        }))
    }

    /// Makes this machine the one that `snapshot` was taken of. Costs what differs.
    ///
    /// # Errors
    /// A snapshot of another memory size; the machine is unchanged then.
    pub fn restore(&mut self, snapshot: &VmSnapshot) -> Result<(), RamError> {
        let whole = &*snapshot.0;
        // Whatever an instruction still stores that was cut off goes to the old memory.
        let _ = self.cpu.finish();
        self.cpu.mark_written();
        whole.memory.restore(&self.ram, &self.base)?;
        self.base = whole.memory.clone();
        self.config = Arc::clone(&whole.config);
        self.cpu.set_state(whole.cpu.clone());
        self.state.clone_from(&whole.state);
        Ok(())
    }

    /// A new machine that goes on where `snapshot` was taken.
    ///
    /// # Errors
    /// The host has no memory or no CPU for it.
    pub fn from_snapshot(snapshot: &VmSnapshot) -> Result<DeterministicVm, VmError> {
        let mut vm = DeterministicVm::empty(Arc::clone(&snapshot.0.config))?;
        vm.restore(snapshot)?;
        Ok(vm)
    }

    /// Hashes of the parts that [`DeterministicVm::state_hash`] is made of: CPU, devices (with
    /// clock and what waits for input or output), memory.
    pub fn part_hashes(&mut self) -> [u64; 3] {
        let hash = |part: &dyn Fn(&mut Xxh3)| {
            let mut hasher = Xxh3::new();
            part(&mut hasher);
            hasher.finish()
        };
        self.cpu.mark_written();
        let state = self.cpu.state();
        let cpu = hash(&|h| state.hash(h));
        let devices = hash(&|h| self.state.hash(h));
        [cpu, devices, self.hash.of(&self.ram)]
    }

    /// A hash of CPU, devices, clock, waiting input and output, and memory. Costs what was
    /// written since the last call.
    pub fn state_hash(&mut self) -> u64 {
        let mut hasher = Xxh3::new();
        self.cpu.mark_written();
        self.cpu.state().hash(&mut hasher);
        self.state.hash(&mut hasher);
        hasher.write_u64(self.hash.of(&self.ram));
        hasher.finish()
    }
}
