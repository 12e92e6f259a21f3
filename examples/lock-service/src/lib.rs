//! A lock service of several servers, without any storage.
//!
//! A client holds a lock while a majority of the servers have leased it to that client.
//! Leases end by themselves, so a client that is gone blocks nobody for long. Two rules
//! make this safe although servers lose all they knew in a restart and clocks run at
//! other rates:
//!
//! - A client counts its lease from before it asked; a server counts it from when it
//!   granted, and for [`SKEW`] times as long.
//! - A restarted server may have granted leases that it forgot, so it grants nothing
//!   until all of those have ended.

mod client;
mod leases;
mod server;

pub use client::{Client, Held};
pub use leases::{Answer, Leases, Rejoin};
pub use server::Server;

use std::time::Duration;

/// How long a client may believe that it holds a lock.
pub const LEASE: Duration = Duration::from_millis(400);

/// How much longer than [`LEASE`] a server keeps a lock from others: its clock may run
/// half as fast again as the client's, and a margin.
pub const SKEW: u32 = 2;

/// The TCP port of every server.
pub const PORT: u16 = 4000;
