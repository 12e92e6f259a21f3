//! Raft over TCP: counters that a majority of a few servers keeps, on disk.
//!
//! Elections with pre-votes, replication, snapshots, transfer of leadership, reads that a
//! majority confirms, and client sessions in which each addition counts exactly once. The
//! protocol itself ([`Raft`]) does no I/O but through a [`Storage`], and knows the time from
//! its caller; [`Server`] joins it with threads, sockets and a [`Disk`].
//!
//! The crate says what it relies on by assertions of `chaoscontrol-guest`, which do nothing
//! outside of a test VM. [`Bug`] names mistakes that a server can be given, to see whether a
//! search finds them.

mod bugs;
mod client;
mod codec;
mod compaction;
mod config;
mod disk;
mod election;
mod entry;
mod journal;
mod log;
mod machine;
mod messages;
mod node;
mod reads;
mod replication;
mod role;
mod server;
mod session;
mod storage;
mod tickets;
mod transfer;
mod transport;
mod votes;

#[cfg(test)]
mod simulated;

pub use bugs::Bug;
pub use client::{Client, Trouble};
pub use codec::Malformed;
pub use config::Config;
pub use disk::Disk;
pub use entry::{Command, Entry, Operation, Position};
pub use log::Log;
pub use machine::{Machine, Outcome};
pub use messages::{Body, ClientReply, ClientRequest, Message};
pub use node::{Outputs, Raft};
pub use server::Server;
pub use session::Sessions;
pub use storage::{HardState, Recovered, Snapshot, Storage};

/// A server, from 0.
pub type ServerId = usize;

/// A time in which there is at most one leader, counted up from 1.
pub type Term = u64;

/// The place of an entry in the log, from 1.
pub type Index = u64;

/// The TCP port of every server.
pub const PORT: u16 = 4100;
