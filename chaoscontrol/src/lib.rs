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
