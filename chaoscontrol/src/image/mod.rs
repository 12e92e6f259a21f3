//! What a machine boots: the guest kernel, found or built once and cached, and the
//! initramfs, packed from the test executable.
//!
//! Both are inputs of a run, so both are reproducible byte for byte and carry a hash.

pub mod apt;
pub mod cache;
pub mod cpio;
pub mod elf;
pub mod initramfs;
pub mod kernel;
pub mod libraries;
pub mod opcodes;
pub mod steps;

pub use initramfs::{Contents, Initramfs, InitramfsError, PackedFile};
pub use kernel::{KernelError, KernelImage, KernelRequest};
