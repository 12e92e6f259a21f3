//! Virtio 1.2 devices on memory-mapped transports: disk, network, entropy, console, balloon.

pub mod balloon;
pub mod blk;
pub mod console;
pub mod mmio;
pub mod net;
pub mod queue;
pub mod rng;

#[cfg(test)]
pub(crate) mod driver;
