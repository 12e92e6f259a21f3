//! A whole cluster at one moment, its hash, and branches that begin there.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use chaoscontrol_guest::protocol::Control;
use xxhash_rust::xxh3::Xxh3;

use super::config::{ClusterConfig, Life};
use super::controller::{ClusterState, SimulationController};
use crate::cpu::RamError;
use crate::machine::{DeterministicVm, Disk, EdgeCounters, RandomStream, VmError, VmSnapshot};

/// Why a cluster could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Numbers out of range.
    #[error("a cluster has 1 to 16 VMs and fewer clients than VMs, not {vms} and {clients}")]
    Size {
        /// VMs asked for.
        vms: usize,
        /// Clients asked for.
        clients: usize,
    },
    /// A snapshot of a cluster with another number of VMs.
    #[error("the snapshot is of a cluster with {0} VMs, this one has {1}")]
    Shape(usize, usize),
    /// The host has no memory for a VM, or sizes differ.
    #[error(transparent)]
    Ram(#[from] RamError),
    /// A machine cannot be made.
    #[error(transparent)]
    Vm(#[from] VmError),
}

/// A cluster at one moment: machines, frames in flight, random streams, everything.
/// Clones and successive snapshots share what is equal.
#[derive(Clone, Debug)]
pub struct ClusterSnapshot(Arc<Whole>);

#[derive(Debug)]
struct Whole {
    config: Arc<ClusterConfig>,
    boot: VmSnapshot,
    /// `None` for a VM without power.
    vms: Vec<Option<VmSnapshot>>,
    state: ClusterState,
    /// Bytes of disks without a machine that this snapshot holds and those before it do not.
    disks: u64,
}

impl ClusterSnapshot {
    /// Cluster time in ns at which it was taken.
    pub fn time(&self) -> u64 {
        self.0.state.now
    }

    /// Bytes that this snapshot holds and the machines' ones before it do not.
    pub fn owned_bytes(&self) -> u64 {
        let vms = self.0.vms.iter().flatten();
        let vms = vms.map(|vm| vm.owned_bytes() + size_of::<Whole>() as u64);
        vms.sum::<u64>() + self.0.disks
    }

    /// What the cluster was made from.
    pub fn config(&self) -> &ClusterConfig {
        &self.0.config
    }
}

impl SimulationController {
    /// The cluster as it is. Costs what was written since the last snapshot or restore.
    pub fn snapshot(&mut self) -> ClusterSnapshot {
        let slots = self.state.slots.iter();
        let vms = slots
            .zip(&mut self.vms)
            .map(|(slot, vm)| slot.powered().then(|| vm.snapshot()))
            .collect();
        let slots = self.state.slots.iter_mut();
        let disks = slots.filter_map(|slot| slot.disk.as_mut());
        let disks = disks.map(Disk::take_owned_bytes).sum();
        ClusterSnapshot(Arc::new(Whole {
            config: Arc::clone(&self.config),
            boot: self.boot.clone(),
            vms,
            state: self.state.clone(),
            disks,
        }))
    }

    /// Makes this cluster the one that `snapshot` was taken of. Costs what differs.
    ///
    /// # Errors
    /// A snapshot of another number of VMs, or of other memory sizes.
    pub fn restore(&mut self, snapshot: &ClusterSnapshot) -> Result<(), ClusterError> {
        let whole = &*snapshot.0;
        if whole.vms.len() != self.vms.len() {
            return Err(ClusterError::Shape(whole.vms.len(), self.vms.len()));
        }
        for (vm, from) in self.vms.iter_mut().zip(&whole.vms) {
            if let Some(from) = from {
                vm.restore(from)?;
            }
        }
        self.config = Arc::clone(&whole.config);
        self.boot = whole.boot.clone();
        self.state.clone_from(&whole.state);
        self.hashes.clear();
        Ok(())
    }

    /// A new cluster that goes on where `snapshot` was taken.
    ///
    /// # Errors
    /// The host has no memory for it.
    pub fn from_snapshot(snapshot: &ClusterSnapshot) -> Result<SimulationController, ClusterError> {
        let whole = &*snapshot.0;
        let vms = whole.vms.iter();
        Ok(SimulationController {
            config: Arc::clone(&whole.config),
            boot: whole.boot.clone(),
            vms: vms
                .map(|vm| DeterministicVm::from_snapshot(vm.as_ref().unwrap_or(&whole.boot)))
                .collect::<Result<_, _>>()?,
            state: whole.state.clone(),
            hashes: Vec::new(),
            edges: EdgeCounters::default(),
        })
    }

    /// From now on all random streams of network and machines are those of branch `number`,
    /// and each agent reseeds its kernel's generator as soon as it gets to run.
    pub fn branch(&mut self, number: u64) {
        self.state.branch = number;
        let mut seed = RandomStream::derive(self.config.seed, "branch", &[number]);
        self.state.fabric.reseed(seed.next_u64());
        for vm in 0..self.vms.len() {
            let life = Life {
                incarnation: self.state.slots[vm].incarnation(),
                branch: number,
            };
            self.vms[vm].reseed(&self.config.entropy("machine", vm, life));
            let entropy = self.config.entropy("kernel", vm, life);
            self.order(vm, 0, Control::Reseed { entropy });
        }
    }

    /// The state hash of each VM; 0 for one without power.
    pub fn vm_hashes(&mut self) -> Vec<u64> {
        let slots = self.state.slots.iter();
        slots
            .zip(&mut self.vms)
            .map(|(slot, vm)| if slot.powered() { vm.state_hash() } else { 0 })
            .collect()
    }

    /// [`DeterministicVm::part_hashes`] of each VM with power.
    pub fn part_hashes(&mut self) -> Vec<Option<[u64; 3]>> {
        let slots = self.state.slots.iter();
        let vms = slots.zip(&mut self.vms);
        vms.map(|(slot, vm)| slot.powered().then(|| vm.part_hashes()))
            .collect()
    }

    /// A hash of all that is not a VM: the network with its packets, and what controls the VMs.
    pub fn network_hash(&self) -> u64 {
        let mut hasher = Xxh3::new();
        self.state.hash(&mut hasher);
        hasher.finish()
    }

    /// A hash of all VMs, the network and everything else that decides how the cluster goes on.
    pub fn state_hash(&mut self) -> u64 {
        let mut hasher = Xxh3::new();
        self.vm_hashes().hash(&mut hasher);
        self.state.hash(&mut hasher);
        hasher.finish()
    }
}
