//! A disk's contents, apart from the device by which a guest reaches them.

pub mod image;

pub use image::{DiskImage, ImageError};

/// What a machine's disk is made from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DiskConfig {
    /// What it holds at first. It is shared by all machines, and never written to.
    pub image: DiskImage,
    /// The guest cannot write to it.
    pub read_only: bool,
    /// Says that a flush is done, and does nothing. No drive that anybody should buy: it is
    /// there so that tests of storage can show that they would notice.
    pub ignore_flush: bool,
}

impl DiskConfig {
    /// A sound disk that holds `image` at first.
    pub fn new(image: DiskImage) -> DiskConfig {
        DiskConfig {
            image,
            read_only: false,
            ignore_flush: false,
        }
    }
}
