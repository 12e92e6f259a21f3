//! Deterministic simulation testing of distributed systems on real Linux VMs.

pub mod cluster;
pub mod cpu;
pub mod devices;
pub mod explore;
pub mod fault;
pub mod harness;
pub mod image;
pub mod machine;
pub mod oracle;
pub mod prelude;
pub mod replay;

pub use chaoscontrol_guest as guest;
pub use chaoscontrol_macros::chaos_test;

/// Whether this library was compiled with optimization; without it everything works, and
/// takes twenty times as long.
pub fn optimized() -> bool {
    // Set by the build script from the profile's `opt-level`.
    env!("CHAOSCONTROL_OPT_LEVEL") != "0"
}

/// What the expansions of `#[chaos_test]` and `main!` need; no part of the interface.
#[doc(hidden)]
pub mod __private {
    pub use crate::harness::registry::{Attributes, Outcome, Schedule, TESTS, TestCase};
    pub use chaoscontrol_guest::Node;
    pub use chaoscontrol_guest::agent::finished;
    pub use linkme;
}
