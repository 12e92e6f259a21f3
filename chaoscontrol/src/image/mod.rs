//! What a machine boots: the guest kernel, found or built once and cached, the initramfs,
//! packed from the test executable, and what its disk holds when it is new.
//!
//! All are inputs of a run, so all are reproducible byte for byte and carry a hash.

pub mod apt;
pub mod cache;
pub mod cpio;
pub mod disk;
pub mod elf;
pub mod fetched;
pub mod initramfs;
pub mod kernel;
pub mod libraries;
pub mod opcodes;
pub mod packages;
pub mod steps;

pub use disk::{BaseImage, DiskError};
pub use initramfs::{Contents, Initramfs, InitramfsError, PackedFile};
pub use kernel::{KernelError, KernelImage, KernelRequest};
