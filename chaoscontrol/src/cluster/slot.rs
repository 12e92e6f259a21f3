//! One VM's place in the cluster.

use super::config::Life;
use crate::machine::{Choices, Disk};

/// What a VM is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VmStatus {
    /// It executes.
    Running,
    /// It stands still, its clocks too, until the given cluster time in ns, or until it is resumed.
    Paused(Option<u64>),
    /// Its power was cut.
    Killed,
    /// It went off by itself: a panic, a reset, HLT for ever.
    Halted,
}

/// A VM's place: what the cluster knows of it besides the machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VmSlot {
    /// What the VM is doing.
    pub status: VmStatus,
    /// The rate of its clock off true, in parts per million; survives a restart.
    pub skew_ppm: i64,
    /// The speed of its CPU, in parts per million; survives a restart.
    pub speed_ppm: u32,
    /// Bytes of the frames that it sent, whatever became of them.
    pub sent_bytes: u64,
    /// Cluster time in ns at which it was paused last.
    pub(super) paused_ns: u64,
    pub(super) life: Life,
    /// The drive, while the machine around it has no power.
    pub(super) disk: Option<Disk>,
    /// The random values of all its lives; in the machine while that runs.
    pub(super) choices: Choices,
}

impl VmSlot {
    /// How often the VM was restarted, or its body's process killed by a fault.
    pub fn incarnation(&self) -> u32 {
        self.life.incarnation
    }

    /// Whether it has power: its machine's state means something.
    pub fn powered(&self) -> bool {
        self.status != VmStatus::Killed
    }
}
