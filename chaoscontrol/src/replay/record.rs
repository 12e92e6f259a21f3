//! What is recorded of a run.

use crate::cluster::SimulationController;

/// State hashes of one VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VmHashes {
    /// Registers and all else of the CPU.
    pub cpu: u64,
    /// Devices, clock, and what waits for input or output.
    pub devices: u64,
    /// Memory.
    pub memory: u64,
}

/// State hashes of a cluster at one instant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TickRecord {
    /// When, in ns: of cluster time, or of whatever the record counts from.
    pub time_ns: u64,
    /// Each VM; `None` for one without power.
    pub vms: Vec<Option<VmHashes>>,
    /// The network with its packets, and what controls the VMs.
    pub fabric: u64,
}

impl TickRecord {
    /// The state of `cluster` now. Costs what was written since the last call.
    pub fn of(cluster: &mut SimulationController) -> TickRecord {
        let hashes = |[cpu, devices, memory]: [u64; 3]| VmHashes {
            cpu,
            devices,
            memory,
        };
        TickRecord {
            time_ns: cluster.now(),
            vms: cluster
                .part_hashes()
                .into_iter()
                .map(|parts| parts.map(hashes))
                .collect(),
            fabric: cluster.network_hash(),
        }
    }

    /// With the low 32 bits of each hash: enough to tell runs apart in half of the space.
    #[must_use]
    pub fn short(&self) -> TickRecord {
        let low = |hash: u64| u64::from(hash as u32);
        let vm = |vm: VmHashes| VmHashes {
            cpu: low(vm.cpu),
            devices: low(vm.devices),
            memory: low(vm.memory),
        };
        TickRecord {
            time_ns: self.time_ns,
            vms: self.vms.iter().map(|hashes| hashes.map(vm)).collect(),
            fabric: low(self.fabric),
        }
    }
}

/// State hashes of a run, in order of time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct HashRecord {
    /// The instants recorded.
    pub ticks: Vec<TickRecord>,
}

impl HashRecord {
    /// The record with [`TickRecord::short`] hashes.
    #[must_use]
    pub fn short(&self) -> HashRecord {
        HashRecord {
            ticks: self.ticks.iter().map(TickRecord::short).collect(),
        }
    }

    /// Adds an instant. Instants that do not lie after the last are left out, so that a cut
    /// in mid-tick does not show.
    pub fn push(&mut self, tick: TickRecord) {
        if self
            .ticks
            .last()
            .is_none_or(|last| last.time_ns < tick.time_ns)
        {
            self.ticks.push(tick);
        }
    }
}
