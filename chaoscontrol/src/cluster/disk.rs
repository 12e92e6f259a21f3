//! The VMs' disks: what is wrong with them, and how they outlive the machines around them.
//!
//! A drive belongs to a VM's place in the cluster. While the machine has power it is in the
//! machine, with all else that the guest can reach; without, it lies in the slot.

use super::controller::SimulationController;
use super::slot::VmStatus;
use crate::machine::{Disk, DiskFaults};

impl SimulationController {
    /// VM `vm`'s drive, if its machines have one, wherever it is.
    pub fn disk(&self, vm: usize) -> Option<&Disk> {
        let slot = &self.state.slots[vm];
        slot.disk.as_ref().or_else(|| self.vms[vm].disk())
    }

    fn disk_mut(&mut self, vm: usize) -> Option<&mut Disk> {
        let slot = &mut self.state.slots[vm];
        slot.disk.as_mut().or_else(|| self.vms[vm].disk_mut())
    }

    /// Changes what is wrong with VM `vm`'s drive. Nothing happens to a VM without one.
    fn drive(&mut self, vm: usize, change: impl FnOnce(&mut DiskFaults)) {
        if let Some(disk) = self.disk_mut(vm) {
            change(disk.faults_mut());
        }
    }

    /// Lets so many of a million reads of VM `vm`'s disk fail. This and all other faults of a
    /// disk last until [`Self::disk_heal`], also over restarts.
    pub fn disk_read_errors(&mut self, vm: usize, ppm: u32) {
        self.drive(vm, |faults| faults.read_error_ppm = ppm);
    }

    /// Lets so many of a million writes to VM `vm`'s disk fail.
    pub fn disk_write_errors(&mut self, vm: usize, ppm: u32) {
        self.drive(vm, |faults| faults.write_error_ppm = ppm);
    }

    /// Lets so many of a million flushes of VM `vm`'s disk fail.
    pub fn disk_flush_errors(&mut self, vm: usize, ppm: u32) {
        self.drive(vm, |faults| faults.flush_error_ppm = ppm);
    }

    /// Lets VM `vm`'s disk store only the first sectors of so many of a million writes, and
    /// say that they are done.
    pub fn disk_torn_writes(&mut self, vm: usize, ppm: u32) {
        self.drive(vm, |faults| faults.torn_write_ppm = ppm);
    }

    /// Lets VM `vm`'s disk store one bit of so many of a million writes wrong.
    pub fn disk_corruption(&mut self, vm: usize, ppm: u32) {
        self.drive(vm, |faults| faults.corruption_ppm = ppm);
    }

    /// Lets VM `vm`'s disk store so many of a million writes at another place.
    pub fn disk_misdirected_writes(&mut self, vm: usize, ppm: u32) {
        self.drive(vm, |faults| faults.misdirected_ppm = ppm);
    }

    /// Lets each request to VM `vm`'s disk take `ns` longer.
    pub fn disk_slow(&mut self, vm: usize, ns: u64) {
        self.drive(vm, |faults| faults.slow_ns = ns);
    }

    /// Ends all faults of VM `vm`'s disk, [`Self::fill_disk`] too. What they did to its
    /// contents stays.
    pub fn disk_heal(&mut self, vm: usize) {
        self.drive(vm, |faults| *faults = DiskFaults::default());
        if self.state.orders.is_full(vm) {
            self.fill_disk(vm, false);
        }
    }

    /// VM `vm`'s disk loses what it had not made durable, and goes on, as does the VM.
    pub fn disk_lose_unflushed(&mut self, vm: usize) {
        if let Some(disk) = self.disk_mut(vm) {
            disk.lose_unflushed();
        }
    }

    /// Cuts the power of VM `vm`'s drive, if it has any, and takes it out of the machine.
    pub(super) fn cut_disk(&mut self, vm: usize) {
        let slot = &mut self.state.slots[vm];
        if slot.powered() {
            slot.disk = self.vms[vm].power_cut();
        }
    }

    /// Takes VM `vm`'s drive out of a machine that is about to be another one.
    pub(super) fn take_disk_out(&mut self, vm: usize) {
        match self.state.slots[vm].status {
            VmStatus::Halted => self.state.slots[vm].disk = self.vms[vm].settled_disk(),
            _ => self.cut_disk(vm),
        }
    }

    /// Gives VM `vm`'s drive to its machine, which is at the boot snapshot.
    pub(super) fn put_disk_back(&mut self, vm: usize) {
        if let Some(disk) = self.state.slots[vm].disk.take() {
            self.vms[vm].insert_disk(disk);
        }
    }
}
