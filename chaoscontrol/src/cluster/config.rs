//! What a cluster is made from, and who its VMs are.

use chaoscontrol_guest::protocol::{Identity, MAX_VMS, Peers};

use super::fabric::mac;
use crate::machine::RandomStream;

/// What a [`super::SimulationController`] is made from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClusterConfig {
    /// Number of VMs, 1..=16.
    pub vms: usize,
    /// How many VMs, from the end, are clients; fewer than `vms`.
    pub clients: usize,
    /// Where all random streams derive from.
    pub seed: u64,
    /// Name of the test whose body the agents run.
    pub test: String,
    /// Wall time at cluster time 0, in ns since 1970.
    pub wall_ns: u64,
    /// How long the setup may take, in ns.
    pub setup_ns: u64,
    /// How long faults are applied, in ns.
    pub duration_ns: u64,
    /// How long the quiet period lasts, in ns.
    pub quiet_ns: u64,
    /// Latency of a sound link in ns, at least a tick.
    pub latency_ns: u64,
    /// Keep the state hash of each VM at each tick; see [`super::TickHashes`].
    pub record_hashes: bool,
}

impl Default for ClusterConfig {
    fn default() -> ClusterConfig {
        ClusterConfig {
            vms: 3,
            clients: 0,
            seed: 0,
            test: String::new(),
            wall_ns: 1_735_689_600_000_000_000,
            setup_ns: 60_000_000_000,
            duration_ns: 10_000_000_000,
            quiet_ns: 5_000_000_000,
            latency_ns: super::TICK_NS,
            record_hashes: false,
        }
    }
}

/// The IPv4 address of VM `index`, in 10.13.0.0/24.
pub fn ip(index: usize) -> [u8; 4] {
    [10, 13, 0, index as u8 + 1]
}

impl ClusterConfig {
    /// Whether VM `vm` is a client.
    pub fn is_client(&self, vm: usize) -> bool {
        vm + self.clients >= self.vms
    }

    pub(super) fn is_possible(&self) -> bool {
        (1..=MAX_VMS).contains(&self.vms) && self.clients < self.vms
    }

    /// `N` bytes for `purpose` in one life of one VM.
    pub(super) fn entropy<const N: usize>(&self, purpose: &str, vm: usize, life: Life) -> [u8; N] {
        let parts = [vm as u64, u64::from(life.incarnation), life.branch];
        let mut bytes = [0; N];
        RandomStream::derive(self.seed, purpose, &parts).fill(&mut bytes);
        bytes
    }

    /// The encoded identity that VM `vm`, which may have a disk, wakes with at cluster time
    /// `now`.
    pub(crate) fn identity(&self, vm: usize, disk: bool, life: Life, now: u64) -> Vec<u8> {
        let addresses: Vec<[u8; 4]> = (0..self.vms).map(ip).collect();
        let identity = Identity {
            index: vm as u32,
            clients: self.clients as u32,
            incarnation: life.incarnation,
            mac: mac(vm),
            prefix: 24,
            peers: Peers::new(&addresses).expect("the number of VMs was checked"),
            disk,
            wall_ns: self.wall_ns.saturating_add(now),
            entropy: self.entropy("identity", vm, life),
            setup_ns: self.setup_ns,
            duration_ns: self.duration_ns,
            quiet_ns: self.quiet_ns,
            hostname: &format!("vm{vm}"),
            test: &self.test,
        };
        let mut bytes = vec![0; 512 + self.test.len()];
        let length = identity
            .encode(&mut bytes)
            .expect("an identity without its test's name is shorter than 512 bytes");
        bytes.truncate(length);
        bytes
    }
}

/// What tells the lives of one VM apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Life {
    /// Restarts so far, of the VM or of its body's process.
    pub(super) incarnation: u32,
    /// The branch of exploration in which it began.
    pub(super) branch: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_differ_by_vm_incarnation_and_branch() {
        let config = ClusterConfig {
            clients: 1,
            test: "t".repeat(1000),
            ..ClusterConfig::default()
        };
        let entropy = |vm, incarnation, branch| {
            let life = Life {
                incarnation,
                branch,
            };
            let bytes = config.identity(vm, false, life, 5);
            let identity = Identity::decode(&bytes).unwrap();
            assert_eq!(identity.wall_ns, config.wall_ns + 5);
            assert_eq!(identity.peers.as_slice()[2], [10, 13, 0, 3]);
            identity.entropy
        };
        let all = [
            entropy(0, 0, 0),
            entropy(1, 0, 0),
            entropy(0, 1, 0),
            entropy(0, 0, 1),
        ];
        assert!((0..4).all(|i| !all[i + 1..].contains(&all[i])));
        assert!(config.is_client(2) && !config.is_client(1));
    }
}
