//! One virtual machine: memory, boot, time, and the loop that lets a CPU and its devices
//! take turns.

pub mod boot;
mod bzimage;
mod clock;
mod config;
mod coverage;
pub mod memory;
mod observe;
mod output;
pub mod random;
mod sdk;
#[cfg(test)]
mod sdk_tests;
mod snapshot;
#[cfg(test)]
pub(crate) mod testing;
mod vm;
#[cfg(test)]
mod vm_tests;

pub use crate::cpu::CpuConfig;
pub use clock::{Clock, MAX_SKEW_PPM, MIN_SKEW_PPM, VirtualTsc};
pub use config::{BASE_CMDLINE, VmConfig};
pub use coverage::COVERAGE;
pub use output::{Output, OutputKind};
pub use random::RandomStream;
pub use snapshot::VmSnapshot;
pub use vm::{DeterministicVm, Off, Stop, Until};
