//! N machines on one timeline: their network, their faults, and forks of the whole.

mod boot;
mod config;
mod controller;
#[cfg(test)]
mod controller_tests;
mod event;
pub mod fabric;
mod slot;
mod snapshot;

pub use boot::{BootFailure, boot};
pub use config::{ClusterConfig, ip};
pub use controller::SimulationController;
pub use event::{ClusterEvent, EventKind, TickHashes};
pub use fabric::{LinkFaults, NetworkFabric, NetworkStats, TICK_NS, mac};
pub use slot::{VmSlot, VmStatus};
pub use snapshot::{ClusterError, ClusterSnapshot};
