//! The KVM engine: guest code on the host's own CPU, through `/dev/kvm`.
//!
//! The host's clock and interrupt controllers stay out of it: nothing of KVM's in-kernel
//! devices is used, so all that a guest notices comes from the caller, at its exits.

mod alarm;
#[cfg(test)]
mod exits_tests;
mod fixed;
mod host;
mod probe;
mod state;
#[cfg(test)]
pub mod testing;
mod tiny;
mod vcpu;
#[cfg(test)]
mod vcpu_tests;
mod vm;
#[cfg(test)]
mod withheld;

pub use host::{KvmError, device, open};
pub use probe::{Probe, Trouble, probe};
pub use vcpu::KvmCpu;
#[cfg(test)]
pub use vm::CALLS;
