//! The software CPU: x86-64 in Rust, exact to the instruction.
//!
//! Guest code is decoded once into cached basic blocks of [`op::Op`]s (`translate`),
//! which the run loop (`core`) executes. Caches are invisible: the guest behaves as
//! if there were no TLB and no block cache.

pub mod core;
pub mod flags;
pub mod integer;
pub mod mem;
pub mod mmx;
pub mod op;
pub mod sse;
pub mod state;
pub mod system;
pub mod x87;

pub use self::core::SoftCpu;
pub use self::state::CpuState;
