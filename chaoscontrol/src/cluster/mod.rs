//! N machines on one timeline: their network, their faults, and forks of the whole.
//!
//! All machines of a cluster are forks of one that has [`boot`]ed. They run tick by tick,
//! in any order, since nothing that one sends arrives at another within the same tick.
//!
//! ```
//! use chaoscontrol::cluster::{ClusterConfig, SimulationController, VmStatus};
//! use chaoscontrol::machine::{DeterministicVm, VmConfig, flat_kernel};
//!
//! // A guest that spins, in the place of a booted Linux.
//! let config = VmConfig {
//!     memory_size: 4 << 20,
//!     kernel: flat_kernel(&[0xEB, 0xFE]).into(),
//!     ..VmConfig::default()
//! };
//! let booted = DeterministicVm::new(config)?.snapshot();
//!
//! let mut cluster = SimulationController::new(&booted, ClusterConfig::default())?;
//! cluster.run_until(3_500_000);
//! cluster.partition(&[0], &[1, 2]);
//! cluster.kill(2);
//! let snapshot = cluster.snapshot();
//! cluster.run_until(9_000_000);
//! let hash = cluster.state_hash();
//!
//! let mut fork = SimulationController::from_snapshot(&snapshot)?;
//! assert_eq!(fork.slot(2).status, VmStatus::Killed);
//! fork.run_until(9_000_000);
//! assert_eq!(fork.state_hash(), hash);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod agent;
mod boot;
mod config;
mod controller;
#[cfg(test)]
mod controller_tests;
mod disk;
#[cfg(test)]
mod disk_tests;
mod event;
pub mod fabric;
mod link;
mod network;
mod orders;
mod slot;
mod snapshot;
mod stats;
mod upset;
#[cfg(test)]
mod upset_tests;

pub use boot::{BootFailure, boot};
pub use config::{ClusterConfig, ip};
pub use controller::SimulationController;
pub use event::{ClusterEvent, EventKind, TickHashes};
pub use fabric::{Arrival, NetworkFabric, TICK_NS, mac};
pub use link::LinkFaults;
pub use orders::{Order, OrderReport, Outcome};
pub use slot::{VmSlot, VmStatus};
pub use snapshot::{ClusterError, ClusterSnapshot};
pub use stats::NetworkStats;
