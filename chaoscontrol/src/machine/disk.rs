//! What happens to a machine's disk from outside: faults, a power cut, another life.

use super::vm::DeterministicVm;
use crate::devices::disk::Disk;

impl DeterministicVm {
    /// The machine's drive, if it has one.
    pub fn disk(&self) -> Option<&Disk> {
        self.state.platform.disk().map(|device| device.disk())
    }

    /// The machine's drive, to change what is wrong with it.
    pub fn disk_mut(&mut self) -> Option<&mut Disk> {
        let device = self.state.platform.disk_mut();
        device.map(|device| device.disk_mut())
    }

    /// The machine's power fails: what its drive has not made durable survives, or not, as
    /// [`Contents::power_cut`](crate::devices::disk::Contents::power_cut) says. Returns the
    /// drive as the cut left it. Of the machine itself nothing is of any use then.
    pub fn power_cut(&mut self) -> Option<Disk> {
        let device = self.state.platform.disk_mut()?;
        device.power_cut(self.ram.guest_memory());
        Some(device.disk().clone())
    }

    /// The machine has gone off, but its drive still has power. Returns the drive when it
    /// has ended what it was at, with all that its cache holds.
    pub fn settled_disk(&mut self) -> Option<Disk> {
        let device = self.state.platform.disk_mut()?;
        device.settle(self.ram.guest_memory());
        Some(device.disk().clone())
    }

    /// Puts `disk` in the place of the machine's drive, which is of the same size. A machine
    /// without a drive stays without.
    pub fn insert_disk(&mut self, disk: Disk) {
        if let Some(device) = self.state.platform.disk_mut() {
            device.insert(disk);
        }
    }
}
