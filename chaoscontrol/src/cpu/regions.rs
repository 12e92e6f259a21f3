//! Where everything lies in a guest's physical address space, as one table: what the kernel is
//! told of as its memory, what is memory all the same, and where devices answer.

use std::ops::Range;

use chaoscontrol_guest::protocol::{EDGES, EDGES_BYTES};

/// The end of the RAM below the legacy hole: 639 KiB, as on a PC.
pub const LOW_END: u64 = 0x9_FC00;
/// The start of the RAM above the legacy hole: 1 MiB.
pub const HIGH_START: u64 = 0x10_0000;
/// The first virtio-mmio window; window i is [`VIRTIO_WINDOW`] * i above.
pub const VIRTIO_BASE: u64 = 0xD000_0000;
/// Bytes of a virtio-mmio window.
pub const VIRTIO_WINDOW: u64 = 0x1000;
/// How many virtio-mmio windows there are.
pub const VIRTIO_WINDOWS: u64 = 5;
/// Three pages that KVM keeps for itself on Intel CPUs without unrestricted guests.
pub const KVM_TSS: u64 = 0xFFFB_D000;
const KVM_TSS_END: u64 = KVM_TSS + 0x3000;

/// What a part of the address space is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RegionKind {
    /// RAM that the memory map lists: the kernel's to use.
    Ram,
    /// Memory that the map does not list, where a PC has video memory and firmware.
    Hole,
    /// The part of the hole that guests count their edges in.
    Edges,
    /// Registers of the virtio device in this window, if it has one.
    Virtio(u64),
    /// The engine's own.
    Engine,
}

/// A part of a guest's physical address space.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MemoryRegion {
    /// Its addresses.
    pub range: Range<u64>,
    /// What it is for.
    pub kind: RegionKind,
}

impl MemoryRegion {
    /// Whether it is RAM that the memory map lists.
    pub fn is_ram(&self) -> bool {
        self.kind == RegionKind::Ram
    }
}

/// The address space of a machine with `memory` bytes of memory, from address 0 on, in ascending
/// order. What no region holds reads as ones.
///
/// ```
/// use chaoscontrol::machine::{MemoryRegion, memory_map};
///
/// let map = memory_map(128 << 20);
/// let ram = map.iter().filter(|region| region.is_ram());
/// let ranges: Vec<_> = ram.map(|region| region.range.clone()).collect();
/// assert_eq!(ranges, [0..639 << 10, 1 << 20..128 << 20]);
/// ```
pub fn memory_map(memory: u64) -> Vec<MemoryRegion> {
    let edges_end = EDGES + EDGES_BYTES as u64;
    let backed = [
        (0..LOW_END, RegionKind::Ram),
        (LOW_END..EDGES, RegionKind::Hole),
        (EDGES..edges_end, RegionKind::Edges),
        (edges_end..HIGH_START, RegionKind::Hole),
        (HIGH_START..memory, RegionKind::Ram),
    ];
    let backed = backed
        .into_iter()
        .map(|(range, kind)| (range.start..range.end.min(memory), kind));
    let windows = (0..VIRTIO_WINDOWS).map(|window| {
        let start = VIRTIO_BASE + window * VIRTIO_WINDOW;
        (start..start + VIRTIO_WINDOW, RegionKind::Virtio(window))
    });
    backed
        .chain(windows)
        .chain([(KVM_TSS..KVM_TSS_END, RegionKind::Engine)])
        .filter(|(range, _)| !range.is_empty())
        .map(|(range, kind)| MemoryRegion { range, kind })
        .collect()
}

/// The virtio-mmio window that `address` lies in, and the offset there.
#[inline]
pub fn virtio_window(address: u64) -> Option<(u64, u64)> {
    let offset = address.checked_sub(VIRTIO_BASE)?;
    let window = offset / VIRTIO_WINDOW;
    (window < VIRTIO_WINDOWS).then_some((window, offset % VIRTIO_WINDOW))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::ram::{MAX_RAM, PAGE_SIZE};

    #[test]
    fn regions_ascend_and_do_not_overlap() {
        for memory in [PAGE_SIZE, 0xA_0000, 0xE_8000, 1 << 20, 64 << 20, MAX_RAM] {
            let map = memory_map(memory);
            assert!(map.iter().all(|region| !region.range.is_empty()));
            assert!(map.is_sorted_by(|a, b| a.range.end <= b.range.start));
            let is_memory = |region: &&MemoryRegion| {
                !matches!(region.kind, RegionKind::Virtio(_) | RegionKind::Engine)
            };
            let backed = map.iter().filter(is_memory);
            let bytes: u64 = backed.map(|r| r.range.end - r.range.start).sum();
            assert_eq!(bytes, memory, "all memory is somewhere");
        }
    }

    #[test]
    fn windows_are_found_by_their_addresses() {
        for region in memory_map(1 << 20) {
            let last = region.range.end - 1;
            let expected = match region.kind {
                RegionKind::Virtio(window) => Some((window, VIRTIO_WINDOW - 1)),
                _ => None,
            };
            assert_eq!(virtio_window(last), expected);
        }
        assert_eq!(virtio_window(VIRTIO_BASE - 1), None);
        let end = VIRTIO_BASE + VIRTIO_WINDOWS * VIRTIO_WINDOW;
        assert_eq!(virtio_window(end), None);
    }
}
