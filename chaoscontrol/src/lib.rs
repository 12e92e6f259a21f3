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
pub mod replay;

/// Whether this library was compiled with optimization; without it everything works, and
/// takes twenty times as long.
pub fn optimized() -> bool {
    // Set by the build script from the profile's `opt-level`.
    env!("CHAOSCONTROL_OPT_LEVEL") != "0"
}
