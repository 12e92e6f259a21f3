//! One virtual machine: memory, boot, time, and the loop that lets a CPU and its devices
//! take turns.

pub mod boot;
mod bzimage;
mod clock;
pub mod memory;
#[cfg(test)]
mod testing;

pub use clock::{Clock, MAX_SKEW_PPM, MIN_SKEW_PPM};
