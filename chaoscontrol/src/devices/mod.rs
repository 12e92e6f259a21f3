//! The devices of a test machine: plain state machines on virtual time.
//!
//! Each device is a value that clones, compares and hashes; it holds no pointer, no
//! thread and no clock. Time comes in as local nanoseconds, guest memory as an
//! argument, and what leaves the machine waits in the device until the caller takes
//! it. None of them knows which CPU engine drives it, and whatever a guest writes
//! has a defined result.

pub mod clock;
pub mod disk;
pub mod pic;
pub mod pit;
pub mod platform;
pub mod pm_timer;
pub mod random;
pub mod rtc;
pub mod serial;
pub mod virtio;

#[cfg(test)]
mod fuzz;

pub use platform::Platform;
