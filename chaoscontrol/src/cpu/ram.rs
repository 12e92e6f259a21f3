//! Guest-physical memory as a CPU and its devices see it: bytes, and one byte of
//! marks per 4 KiB page.
//!
//! The marks carry everything that is derived from memory: which pages differ from
//! the last snapshot, which hashes are out of date, and where the software CPU holds
//! translations or decoded code that a write must drop. Devices write through
//! `vm-memory`, whose bitmap hook sets the same marks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};

use vm_memory::bitmap::{Bitmap, BitmapSlice, NewBitmap, WithBitmapSlice};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};

/// Bytes in a page.
pub const PAGE_SIZE: u64 = 4096;

/// The largest guest memory in bytes: it ends well below the windows of devices, see [`regions`](super::regions).
pub const MAX_RAM: u64 = 0xC000_0000;

/// Written since the last snapshot or restore.
pub const DIRTY: u8 = 1;
/// Written since its hash was last computed.
pub const STALE: u8 = 2;
/// The software CPU holds decoded code of this page.
pub const CODE: u8 = 4;
/// The software CPU holds translations that were read from this page.
pub const TABLE: u8 = 8;
/// Written by a device or the host while CODE or TABLE was set.
pub const FOREIGN: u8 = 16;

/// Pages whose marks are searched together.
const GROUP: usize = 128;

/// Why guest memory could not be made or reached.
#[derive(Debug, thiserror::Error)]
pub enum RamError {
    /// Size is zero, no multiple of a page, or above [`MAX_RAM`].
    #[error("guest memory of {0} bytes is not a positive multiple of 4096 up to 3 GiB")]
    Size(u64),
    /// The host refused the mapping.
    #[error("the host could not map {0} bytes of guest memory: {1}")]
    Map(u64, String),
    /// An access beyond the end.
    #[error("guest-physical range {0:#x}+{1:#x} is outside of RAM")]
    Range(u64, usize),
}

/// The per-page marks of one memory.
#[derive(Debug, Default)]
pub struct PageMarks {
    pages: Box<[AtomicU8]>,
    groups: Box<[AtomicU8]>,
    foreign: AtomicBool,
    epoch: AtomicU64,
}

impl PageMarks {
    /// The marks of page `pfn`.
    #[inline]
    pub fn get(&self, pfn: u64) -> u8 {
        self.pages[pfn as usize].load(Relaxed)
    }

    /// Sets `bits` on page `pfn`.
    #[inline]
    pub fn set(&self, pfn: u64, bits: u8) {
        let page = &self.pages[pfn as usize];
        page.store(page.load(Relaxed) | bits, Relaxed);
        let group = &self.groups[pfn as usize / GROUP];
        group.store(group.load(Relaxed) | bits, Relaxed);
    }

    /// Calls `visit` with every page that has any of `bits`, in ascending order, and
    /// clears them; returns whether there was one. [`PageMarks::bump`]s if so.
    ///
    /// Costs about as much as there are such pages, whatever the size of memory.
    pub fn drain(&self, bits: u8, mut visit: impl FnMut(u64)) -> bool {
        let mut any = false;
        for (index, group) in self.groups.iter().enumerate() {
            if group.load(Relaxed) & bits == 0 {
                continue;
            }
            group.store(group.load(Relaxed) & !bits, Relaxed);
            let first = index * GROUP;
            let last = self.pages.len().min(first + GROUP);
            for (page, pfn) in self.pages[first..last].iter().zip(first as u64..) {
                let marks = page.load(Relaxed);
                if marks & bits != 0 {
                    page.store(marks & !bits, Relaxed);
                    visit(pfn);
                    any = true;
                }
            }
        }
        if any {
            self.bump();
        }
        any
    }

    /// Clears `bits` on page `pfn`. Clearing DIRTY or STALE wants a [`PageMarks::bump`] afterwards.
    #[inline]
    pub fn clear(&self, pfn: u64, bits: u8) {
        let page = &self.pages[pfn as usize];
        page.store(page.load(Relaxed) & !bits, Relaxed);
    }

    /// Tells CPUs that DIRTY or STALE bits were cleared, so that they forget which
    /// pages they may write without marking.
    pub fn bump(&self) {
        self.epoch.fetch_add(1, Relaxed);
    }

    /// Counts the calls of [`PageMarks::bump`].
    #[inline]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Relaxed)
    }

    /// Whether a page with CODE or TABLE was written from outside of the CPU since the
    /// last call; such pages carry FOREIGN.
    #[inline]
    pub fn take_foreign(&self) -> bool {
        self.foreign.load(Relaxed) && self.foreign.swap(false, Relaxed)
    }

    /// Records a write from outside of the CPU to page `pfn`.
    pub fn written(&self, pfn: u64) {
        let mut bits = DIRTY | STALE;
        if self.get(pfn) & (CODE | TABLE) != 0 {
            bits |= FOREIGN;
            self.foreign.store(true, Relaxed);
        }
        self.set(pfn, bits);
    }

    /// Number of pages.
    pub fn len(&self) -> u64 {
        self.pages.len() as u64
    }

    /// Whether there are no pages.
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }
}

/// A shared handle to the marks, in the shape of a `vm-memory` bitmap over a part of memory.
#[derive(Clone, Debug, Default)]
pub struct MarksBitmap {
    marks: Arc<PageMarks>,
    base: usize,
}

impl NewBitmap for MarksBitmap {
    fn with_len(len: usize) -> Self {
        let pages = len.div_ceil(PAGE_SIZE as usize);
        let marks = PageMarks {
            pages: (0..pages).map(|_| AtomicU8::new(0)).collect(),
            groups: (0..pages.div_ceil(GROUP))
                .map(|_| AtomicU8::new(0))
                .collect(),
            foreign: AtomicBool::new(false),
            epoch: AtomicU64::new(0),
        };
        MarksBitmap {
            marks: Arc::new(marks),
            base: 0,
        }
    }
}

impl<'a> WithBitmapSlice<'a> for MarksBitmap {
    type S = MarksBitmap;
}

impl BitmapSlice for MarksBitmap {}

impl Bitmap for MarksBitmap {
    fn mark_dirty(&self, offset: usize, len: usize) {
        if len == 0 {
            return;
        }
        let first = (self.base + offset) as u64 / PAGE_SIZE;
        let last = (self.base + offset + len - 1) as u64 / PAGE_SIZE;
        for pfn in first..=last.min(self.marks.len() - 1) {
            self.marks.written(pfn);
        }
    }

    fn dirty_at(&self, offset: usize) -> bool {
        self.marks.get((self.base + offset) as u64 / PAGE_SIZE) & DIRTY != 0
    }

    fn slice_at(&self, offset: usize) -> MarksBitmap {
        MarksBitmap {
            marks: Arc::clone(&self.marks),
            base: self.base + offset,
        }
    }
}

/// What `virtio-queue` and `linux-loader` work on.
pub type GuestMemory = GuestMemoryMmap<MarksBitmap>;

/// One machine's RAM: a contiguous range of guest-physical memory from address 0.
///
/// A handle that clones; the machine, its CPU and its devices share the bytes. They
/// take turns on one thread, never at the same time.
#[derive(Clone, Debug)]
pub struct Ram {
    memory: Arc<GuestMemory>,
    marks: Arc<PageMarks>,
    base: usize,
    size: u64,
}

/// Asks the host for large pages: guests touch more pages than its TLB has entries. It is
/// only advice; a host without large pages does as well, but slower.
#[cfg(target_os = "linux")]
fn prefer_large_pages(base: usize, size: usize) {
    // SAFETY: the range is one that the caller has just mapped and holds; the advice changes
    // nothing that can be read from it or written to it.
    unsafe { libc::madvise(base as *mut libc::c_void, size, libc::MADV_HUGEPAGE) };
}

impl Ram {
    /// Zeroed memory of `size` bytes.
    ///
    /// # Errors
    /// A size that is zero, unaligned or above [`MAX_RAM`], or a host without room.
    pub fn new(size: u64) -> Result<Ram, RamError> {
        if size == 0 || !size.is_multiple_of(PAGE_SIZE) || size > MAX_RAM {
            return Err(RamError::Size(size));
        }
        let memory = GuestMemory::from_ranges(&[(GuestAddress(0), size as usize)])
            .map_err(|e| RamError::Map(size, e.to_string()))?;
        let base = memory
            .get_host_address(GuestAddress(0))
            .map_err(|e| RamError::Map(size, e.to_string()))? as usize;
        let region = memory.iter().next().expect("memory has one region");
        let marks = region.bitmap().marks;
        #[cfg(target_os = "linux")]
        prefer_large_pages(base, size as usize);
        Ok(Ram {
            memory: Arc::new(memory),
            marks,
            base,
            size,
        })
    }

    /// Size in bytes.
    #[inline]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Number of pages.
    #[inline]
    pub fn pages(&self) -> u64 {
        self.size / PAGE_SIZE
    }

    /// The memory as `vm-memory` knows it; writes through it set the marks.
    pub fn guest_memory(&self) -> &GuestMemory {
        &self.memory
    }

    /// The per-page marks.
    #[inline]
    pub fn marks(&self) -> &PageMarks {
        &self.marks
    }

    /// The host address of page `pfn`, for as long as this handle lives; `None` outside of RAM.
    ///
    /// Whoever writes through it sets DIRTY and STALE first, and honours CODE and TABLE.
    #[inline]
    pub fn host_page(&self, pfn: u64) -> Option<*mut u8> {
        (pfn < self.size / PAGE_SIZE).then(|| (self.base + (pfn * PAGE_SIZE) as usize) as *mut u8)
    }

    /// The quad word that holds `address`; `None` outside of RAM.
    #[inline]
    pub fn load_quad(&self, address: u64) -> Option<u64> {
        let page = self.host_page(address / PAGE_SIZE)?;
        let offset = (address % PAGE_SIZE) as usize & !7;
        // SAFETY: `offset` is at most 4088 within a page that lives as long as `self`, and is
        // aligned as the page is; who shares this memory takes turns.
        Some(unsafe { page.add(offset).cast::<u64>().read() })
    }

    /// Replaces the quad word that holds `address`, without touching marks; nothing happens
    /// outside of RAM.
    #[inline]
    pub fn store_quad(&self, address: u64, value: u64) {
        if let Some(page) = self.host_page(address / PAGE_SIZE) {
            let offset = (address % PAGE_SIZE) as usize & !7;
            // SAFETY: as for `load_quad`.
            unsafe { page.add(offset).cast::<u64>().write(value) };
        }
    }

    /// Copies bytes out.
    ///
    /// # Errors
    /// A range that is not all RAM.
    pub fn read(&self, address: u64, into: &mut [u8]) -> Result<(), RamError> {
        self.memory
            .read_slice(into, GuestAddress(address))
            .map_err(|_| RamError::Range(address, into.len()))
    }

    /// Copies bytes in, and marks the pages as written from outside of the CPU.
    ///
    /// # Errors
    /// A range that is not all RAM.
    pub fn write(&self, address: u64, from: &[u8]) -> Result<(), RamError> {
        self.memory
            .write_slice(from, GuestAddress(address))
            .map_err(|_| RamError::Range(address, from.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_from_outside_mark_pages() {
        let ram = Ram::new(8 * PAGE_SIZE).unwrap();
        ram.marks().set(2, CODE);
        ram.write(2 * PAGE_SIZE - 1, &[1, 2]).unwrap();
        assert_eq!(ram.marks().get(1), DIRTY | STALE);
        assert_eq!(ram.marks().get(2), DIRTY | STALE | CODE | FOREIGN);
        assert!(ram.marks().take_foreign());
        assert!(!ram.marks().take_foreign());
        assert!(ram.write(8 * PAGE_SIZE - 1, &[1, 2]).is_err());
    }

    #[test]
    fn drain_visits_and_clears_marked_pages() {
        let ram = Ram::new(1000 * PAGE_SIZE).unwrap();
        for pfn in [999, 0, 300] {
            ram.marks().set(pfn, DIRTY | STALE);
        }
        let mut seen = Vec::new();
        assert!(ram.marks().drain(DIRTY, |pfn| seen.push(pfn)));
        assert_eq!(seen, [0, 300, 999]);
        assert!(!ram.marks().drain(DIRTY, |_| panic!("all cleared")));
        assert_eq!(ram.marks().get(300), STALE);
        assert_eq!(ram.marks().epoch(), 1);
    }

    #[test]
    fn sizes_are_checked() {
        assert!(Ram::new(0).is_err());
        assert!(Ram::new(4097).is_err());
        assert!(Ram::new(MAX_RAM + PAGE_SIZE).is_err());
    }
}
