//! The software CPU: x86-64 in Rust, exact to the instruction.
//!
//! Guest code is decoded once into cached basic blocks of [`op::Op`]s (`translate`),
//! which the run loop (`core`) executes. Caches are invisible: the guest behaves as
//! if there were no TLB and no block cache.

pub mod bits;
mod blocks;
#[cfg(test)]
mod conformance;
pub mod core;
pub mod coverage;
mod exceptions;
pub mod flags;
pub mod integer;
pub mod mem;
mod mem_slow;
pub mod missing;
pub mod mmx;
pub mod op;
mod paging;
mod run;
mod segments;
pub mod sse;
pub mod state;
pub mod system;
mod tlb;
pub mod translate;
pub mod x87;

pub use self::mem_slow::DeviceWrite;
pub use self::run::SoftCpu;
pub use self::state::CpuState;

#[cfg(test)]
mod exceptions_tests;
#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod run_tests;
#[cfg(test)]
pub mod testing;
