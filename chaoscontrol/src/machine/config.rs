//! What a machine is made from.

use std::sync::Arc;

use crate::cpu::{CpuConfig, Engine};
use crate::devices::disk::DiskConfig;

/// Kernel command line of every machine; [`VmConfig::cmdline`] follows it.
///
/// `lpj` skips the delay calibration, `pmtmr` names the clock, and `reboot=t` ends a
/// machine by a triple fault at once. The network card has sent a frame when the driver is
/// back from telling it, so `napi_tx=0` spares the interrupt that would say so.
pub const BASE_CMDLINE: &str = "console=ttyS0 quiet lpj=1000 pmtmr=0x608 reboot=t panic=-1 \
    virtio_net.napi_tx=0 \
    random.trust_cpu=off virtio_mmio.device=4K@0xd0001000:6 virtio_mmio.device=4K@0xd0002000:7 \
    virtio_mmio.device=4K@0xd0003000:9 virtio_mmio.device=4K@0xd0004000:10";

/// Follows [`BASE_CMDLINE`] where there is a disk.
const DISK_CMDLINE: &str = "virtio_mmio.device=4K@0xd0000000:5";

/// What a [`super::DeterministicVm`] is made from. Two machines made from equal
/// configurations are equal, and stay so.
///
/// ```
/// use chaoscontrol::machine::VmConfig;
/// let config = VmConfig {
///     memory_size: 64 << 20,
///     ..VmConfig::default()
/// };
/// assert_eq!(config.instruction_ns, 10);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VmConfig {
    /// Bytes of memory, a multiple of 4096 up to 3 GiB. Default: 128 MiB.
    pub memory_size: u64,
    /// An ELF vmlinux, or a bzImage that contains one.
    pub kernel: Arc<[u8]>,
    /// The initial RAM file system, an uncompressed cpio archive. May be empty.
    pub initrd: Arc<[u8]>,
    /// Appended to [`BASE_CMDLINE`].
    pub cmdline: String,
    /// Its disk, if it has one: `/dev/vda`. Default: none.
    pub disk: Option<DiskConfig>,
    /// The date at power-on, in seconds since 1970. Default: 2025-01-01, 00:00 UTC.
    pub epoch: u64,
    /// Virtual time of one instruction in ns, 1..=1_000_000. Default: 10.
    pub instruction_ns: u64,
    /// Virtual time of one completed exit in ns, 1..=1_000_000, where exits are counted: on
    /// [`Engine::Kvm`], or with [`CpuConfig::by_exits`]. Default: 1000.
    pub exit_ns: u64,
    /// What executes the guest. Default: the software CPU.
    pub engine: Engine,
    /// The virtual CPU.
    pub cpu: CpuConfig,
    /// Where the machine's random numbers derive from (virtio-rng, the SDK's).
    pub seed: u64,
}

impl Default for VmConfig {
    fn default() -> VmConfig {
        VmConfig {
            memory_size: 128 << 20,
            kernel: Arc::from([]),
            initrd: Arc::from([]),
            cmdline: String::new(),
            disk: None,
            epoch: 1_735_689_600,
            instruction_ns: 10,
            exit_ns: 1_000,
            engine: Engine::Soft,
            cpu: CpuConfig::default(),
            seed: 0,
        }
    }
}

impl VmConfig {
    /// Whether time is counted in completed exits, not in instructions.
    pub fn counts_exits(&self) -> bool {
        self.engine == Engine::Kvm || self.cpu.by_exits
    }

    /// Virtual time in ns of what the CPU counts.
    pub fn unit_ns(&self) -> u64 {
        if self.counts_exits() {
            self.exit_ns
        } else {
            self.instruction_ns
        }
    }

    /// The whole kernel command line.
    pub fn full_cmdline(&self) -> String {
        let disk = self.disk.as_ref().map_or("", |_| DISK_CMDLINE);
        let parts = [BASE_CMDLINE, disk, self.cmdline.trim()];
        let parts = parts.into_iter().filter(|part| !part.is_empty());
        parts.collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::regions::{RegionKind, memory_map};
    use crate::devices::disk::DiskImage;

    #[test]
    fn the_kernel_is_told_of_every_window() {
        let config = VmConfig {
            disk: Some(DiskConfig::new(DiskImage::zeroed(512).unwrap())),
            ..VmConfig::default()
        };
        let told = config.full_cmdline();
        for region in memory_map(config.memory_size) {
            let words = format!("virtio_mmio.device=4K@{:#x}:", region.range.start);
            let is_window = matches!(region.kind, RegionKind::Virtio(_));
            assert_eq!(told.contains(&words), is_window, "{words}");
        }
    }
}
