//! One virtual machine: memory, boot, time, and the loop that lets a CPU and its devices
//! take turns.
//!
//! A machine's run is a function of its configuration and of what is sent to it, so a
//! snapshot restored, or forked into another machine, goes on exactly as the original:
//!
//! ```
//! use chaoscontrol::machine::{DeterministicVm, Stop, VmConfig, flat_kernel};
//!
//! // inc eax; mov [0x200000], eax; jmp to the start. (An ELF vmlinux goes here as well.)
//! let code = [0xFF, 0xC0, 0x89, 0x04, 0x25, 0x00, 0x00, 0x20, 0x00, 0xEB, 0xF5];
//! let config = VmConfig {
//!     memory_size: 4 << 20,
//!     kernel: flat_kernel(&code).into(),
//!     ..VmConfig::default()
//! };
//! let mut vm = DeterministicVm::new(config)?;
//! assert_eq!(vm.run_until(1_000_000), Stop::Time); // one virtual ms
//! assert_eq!(vm.retired(), 100_000);
//!
//! let snapshot = vm.snapshot();
//! let mut fork = DeterministicVm::from_snapshot(&snapshot)?;
//! vm.run_until(2_000_000);
//! fork.run_until(1_234_560);
//! assert_ne!(vm.state_hash(), fork.state_hash());
//! fork.run_until(2_000_000);
//! assert_eq!(vm.state_hash(), fork.state_hash());
//!
//! vm.restore(&snapshot)?;
//! assert_eq!(vm.time(), 1_000_000);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod boot;
mod bzimage;
mod choices;
mod clock;
mod config;
mod coverage;
mod disk;
#[cfg(test)]
mod disk_tests;
mod edges;
mod flat;
#[cfg(all(test, supported_host))]
mod kvm_tests;
mod marks;
pub mod memory;
mod observe;
mod output;
mod sdk;
#[cfg(test)]
mod sdk_tests;
mod snapshot;
mod stop;
#[cfg(test)]
pub(crate) mod testing;
mod trace;
mod upset;
#[cfg(test)]
mod upset_tests;
mod vm;
#[cfg(test)]
mod vm_tests;

pub use crate::cpu::regions::{MemoryRegion, RegionKind, memory_map};
pub use crate::cpu::{CpuConfig, Engine};
pub use crate::devices::disk::{Disk, DiskConfig, DiskFaults, DiskImage, DiskStats, ImageError};
pub use crate::devices::random::RandomStream;
pub use choices::{Choice, Choices};
pub use clock::{Clock, FULL_SPEED_PPM, MAX_SKEW_PPM, MIN_SKEW_PPM, MIN_SPEED_PPM, VirtualTsc};
pub use config::{BASE_CMDLINE, VmConfig};
pub use coverage::{COVERAGE, EdgeCounters};
pub use flat::{FLAT_ENTRY, flat_kernel};
#[cfg(test)]
pub(crate) use marks::{COUNTS_EDGES, TRAPS_RDTSC};
pub use marks::{counts_edges, traps_rdtsc};
pub use output::{Output, OutputKind};
pub use snapshot::VmSnapshot;
pub use stop::{Off, Stop, Until, VmError};
pub use trace::Access;
pub use vm::{DeterministicVm, TURN_NS};
