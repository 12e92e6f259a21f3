//! The guest side of chaoscontrol: SDK, agent and wire protocol.
//!
//! The SDK states properties of a distributed system ([`assert_always!`],
//! [`assert_sometimes!`], [`assert_agree!`], ...) and talks with the deterministic
//! machine its code runs in. It may stay in production code: outside a test VM every
//! call evaluates its arguments and does nothing else.
//!
//! ```
//! use chaoscontrol_guest::{assert_always, assert_sometimes};
//!
//! fn withdraw(balance: &mut u64, amount: u64) {
//!     assert_always!(amount <= *balance, "no overdraft", amount = amount);
//!     *balance -= amount;
//!     assert_sometimes!(*balance == 0, "an account is emptied");
//! }
//! # withdraw(&mut 7, 7);
//! ```
//!
//! Without the `std` feature the assertions, [`setup_complete`], [`send_event`], [`history`] and
//! the random numbers remain, and need no allocator.
#![cfg_attr(not(feature = "std"), no_std)]

#[cfg(feature = "agent")]
pub mod agent;
pub mod catalog;
mod guide;
pub mod history;
mod macros;
pub mod protocol;
#[cfg(all(feature = "sancov", target_arch = "x86_64", target_os = "linux"))]
mod sancov;
mod sdk;
mod text;
pub mod transport;

#[cfg(all(feature = "std", unix))]
mod command;
#[cfg(feature = "std")]
mod error;
#[cfg(feature = "std")]
mod faults;
#[cfg(feature = "std")]
mod lines;
#[cfg(feature = "std")]
mod node;

#[cfg(all(feature = "std", unix))]
pub use command::{Child, Command};
#[cfg(feature = "std")]
pub use error::{Error, Result};
#[cfg(feature = "std")]
pub use faults::Faults;
#[cfg(feature = "std")]
pub use node::{Node, Peer};
pub use protocol::Role;
pub use sdk::{get_random, random_choice, send_event, setup_complete};
pub use transport::inside;

/// What the macros' expansions need; no part of the interface.
#[doc(hidden)]
pub mod __private {
    pub use crate::catalog::{SITES, Site};
    pub use crate::guide::Guide;
    pub use crate::protocol::PropertyKind;
    pub use crate::sdk::{agree, assert};
    pub use linkme;
}
