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
    /// Cluster time in ns.
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
}

/// State hashes of a run, in order of time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct HashRecord {
    /// The instants recorded.
    pub ticks: Vec<TickRecord>,
}

impl HashRecord {
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
