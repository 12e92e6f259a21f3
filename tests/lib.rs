//! What several whole-system tests need.

pub mod figures;
pub mod instrumented;
pub mod qemu;

use std::path::Path;

use chaoscontrol::image::{Contents, Initramfs, KernelRequest, kernel};
use chaoscontrol::machine::VmConfig;

/// The machine that boots the default kernel to `executable`, which is what the agent
/// begins in.
///
/// # Panics
/// There is no kernel, or the executable cannot be packed; the message says why.
pub fn machine(executable: &Path) -> VmConfig {
    machine_with(executable, &Contents::default())
}

/// The same with `contents` packed, too.
///
/// # Panics
/// As [`machine`].
pub fn machine_with(executable: &Path, contents: &Contents) -> VmConfig {
    let say = |line: &str| eprintln!("{line}");
    let kernel = kernel::locate(&KernelRequest::default(), &say).expect("a guest kernel");
    let initramfs = Initramfs::pack(executable, contents).expect("a packed executable");
    VmConfig {
        kernel: kernel.bytes,
        initrd: initramfs.bytes,
        ..VmConfig::default()
    }
}

/// A stream of numbers that is the same in each run, for choosing moments and sizes.
#[derive(Clone, Debug)]
pub struct Numbers(u64);

impl Numbers {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Numbers {
        Numbers(seed)
    }

    /// The next number below `limit`, which is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (x ^ (x >> 31)) % limit
    }
}
