//! What a cluster tells its observers.

use super::orders::OrderReport;
use crate::machine::Off;

/// Something that happened in one VM.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClusterEvent {
    /// Cluster time in ns.
    pub time: u64,
    /// The VM.
    pub vm: usize,
    /// The VM's incarnation when the step in which it happened began.
    pub incarnation: u32,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// The guest sent a message; it decodes as `chaoscontrol_guest::protocol::Message`.
    Message(Vec<u8>),
    /// A line on COM1.
    Serial(Vec<u8>),
    /// The machine went off by itself.
    Off(Off),
    /// What became of an order to the agent. A confirmation comes as a message, too.
    Order(OrderReport),
}

/// The state hashes at the end of a tick.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TickHashes {
    /// Cluster time in ns.
    pub time: u64,
    /// One for each VM; 0 for one without power.
    pub vms: Vec<u64>,
}
