//! Guest-virtual memory accesses of the software CPU.
//!
//! On `Err(Blocked)` the access did not happen and [`Core::trap`] says why; a handler
//! then returns [`super::op::Flow::Trap`] without having changed architectural state.
//!
//! The inlined halves here ask the TLB; what it does not know goes to `mem_slow`.

use super::core::Core;
use super::tlb::PAGE_MASK;
use crate::cpu::ram::PAGE_SIZE;

/// An access did not happen; [`Core::trap`] says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocked;

/// An unsigned integer that is loaded or stored whole: u8, u16, u32, u64, u128.
pub trait Word: Copy {
    /// Zero-extends.
    fn to_u128(self) -> u128;
    /// Loads where the TLB does not help.
    fn load_slow(core: &mut Core, address: u64, for_store: bool) -> Result<Self, Blocked>;
}

macro_rules! words {
    ($($t:ty)*) => {$(
        impl Word for $t {
            #[inline(always)]
            fn to_u128(self) -> u128 {
                self as u128
            }
            #[inline(always)]
            fn load_slow(core: &mut Core, address: u64, for_store: bool) -> Result<$t, Blocked> {
                // Up to 64 bits come back in a register.
                if size_of::<$t>() <= 8 {
                    core.load_slow_word(address, size_of::<$t>(), for_store).map(|v| v as $t)
                } else {
                    core.load_slow(address, size_of::<$t>(), for_store).map(|v| v as $t)
                }
            }
        }
    )*};
}
words!(u8 u16 u32 u64 u128);

/// The page of the last byte of a `T` at `address`: equal to a TLB tag of `address`'s
/// slot only if all of the value lies in that page.
#[inline(always)]
fn last_page<T>(address: u64) -> u64 {
    address.wrapping_add(size_of::<T>() as u64 - 1) & PAGE_MASK
}

impl Core {
    /// Loads from linear address `address`, which may cross pages.
    #[inline(always)]
    pub fn load<T: Word>(&mut self, address: u64) -> Result<T, Blocked> {
        let entry = self.tlb.entry(address);
        if entry.read == last_page::<T>(address) {
            let host = entry.addend.wrapping_add(address as usize) as *const T;
            // SAFETY: the tag says that all bytes lie in one page, and `addend` leads to
            // that page's bytes in the mapping that `self.ram` keeps alive; the CPU
            // and the devices take turns on one thread, so nobody writes meanwhile.
            return Ok(unsafe { host.read_unaligned() });
        }
        T::load_slow(self, address, false)
    }

    /// Stores to linear address `address`; all of it or nothing.
    #[inline(always)]
    pub fn store<T: Word>(&mut self, address: u64, value: T) -> Result<(), Blocked> {
        let entry = self.tlb.entry(address);
        if entry.write == last_page::<T>(address) {
            let host = entry.addend.wrapping_add(address as usize) as *mut T;
            // SAFETY: as for `load`; guest memory is writable and holds no Rust objects,
            // and no reference to it exists while the CPU runs.
            unsafe { host.write_unaligned(value) };
            return Ok(());
        }
        self.store_slow(address, value.to_u128(), size_of::<T>())
    }

    /// Loads with the permission checks (and dirty bit) of a store: the first half of a
    /// read-modify-write, whose `store` to the same address then cannot fail.
    #[inline(always)]
    pub fn load_for_store<T: Word>(&mut self, address: u64) -> Result<T, Blocked> {
        let entry = self.tlb.entry(address);
        if entry.write == last_page::<T>(address) {
            let host = entry.addend.wrapping_add(address as usize) as *const T;
            // SAFETY: as for `load`.
            return Ok(unsafe { host.read_unaligned() });
        }
        T::load_slow(self, address, true)
    }

    /// Loads any number of bytes up to a page (x87 and FXSAVE areas).
    pub fn load_bytes(&mut self, address: u64, into: &mut [u8]) -> Result<(), Blocked> {
        self.load_parts(address, into, false)
    }

    /// Stores any number of bytes up to a page; all or nothing.
    pub fn store_bytes(&mut self, address: u64, from: &[u8]) -> Result<(), Blocked> {
        self.store_parts(address, from)
    }

    /// How many whole values of `size` bytes, up to `count`, lie from `address` on
    /// (downwards with `down`) in pages that can be reached without bookkeeping, with the
    /// host address of the lowest byte. `None` if not even one does.
    #[inline]
    fn span(&self, address: u64, size: u64, count: u64, write: bool) -> Option<(usize, u64)> {
        let entry = self.tlb.entry(address);
        let tag = if write { entry.write } else { entry.read };
        if tag != address & PAGE_MASK {
            return None;
        }
        let whole = (PAGE_SIZE - (address & !PAGE_MASK)) / size;
        let host = entry.addend.wrapping_add(address as usize);
        (whole > 0).then(|| (host, whole.min(count)))
    }

    /// Fills up to `count` values from `address` upwards with `value` as far as that needs
    /// no bookkeeping, and answers how many it did: the fast part of REP STOS.
    pub fn fill_run<T: Word>(&mut self, address: u64, value: T, count: u64) -> u64 {
        let size = size_of::<T>() as u64;
        let Some((host, count)) = self.span(address, size, count, true) else {
            return 0;
        };
        let host = host as *mut T;
        for n in 0..count as usize {
            // SAFETY: `span` says that `count` values from `host` on lie in one writable
            // page of guest memory, which outlives this call and is not shared meanwhile.
            unsafe { host.add(n).write_unaligned(value) };
        }
        count
    }

    /// Copies up to `count` values from `source` to `target` upwards as far as that needs
    /// no bookkeeping, value by value in order, and answers how many it did: the fast
    /// part of REP MOVS.
    pub fn copy_run<T: Word>(&mut self, target: u64, source: u64, count: u64) -> u64 {
        let size = size_of::<T>() as u64;
        let Some((from, count)) = self.span(source, size, count, false) else {
            return 0;
        };
        let Some((to, count)) = self.span(target, size, count, true) else {
            return 0;
        };
        let bytes = (count * size) as usize;
        if from.abs_diff(to) >= bytes {
            // SAFETY: both ranges lie in one page of guest memory each, as `span` says,
            // and do not overlap.
            unsafe { std::ptr::copy_nonoverlapping(from as *const u8, to as *mut u8, bytes) };
        } else {
            let (from, to) = (from as *const T, to as *mut T);
            for n in 0..count as usize {
                // SAFETY: as above; overlapping ranges are copied in the guest's order.
                unsafe { to.add(n).write_unaligned(from.add(n).read_unaligned()) };
            }
        }
        count
    }

    /// Calls `look` with the bytes of page `pfn`; `None` outside of RAM.
    pub(super) fn with_page<R>(&self, pfn: u64, look: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let page = self.ram.host_page(pfn)?;
        // SAFETY: the page lives as long as `self.ram`, and as `look` has no way to the
        // CPU or the memory, nobody writes to it before the slice is gone.
        Some(look(unsafe {
            std::slice::from_raw_parts(page, PAGE_SIZE as usize)
        }))
    }

    /// The physical address of `address` if it may be executed and the TLB knows it.
    #[inline]
    pub(super) fn known_code(&self, address: u64) -> Option<u64> {
        let entry = self.tlb.entry(address);
        if entry.exec != address & PAGE_MASK {
            return None;
        }
        let first = self.ram.host_page(0)? as usize;
        let host = entry.addend.wrapping_add(address as usize);
        Some((host - first) as u64)
    }

    /// Copies from physical `address` on, within one page; `false` outside of RAM.
    pub(super) fn physical_read(&self, address: u64, into: &mut [u8]) -> bool {
        let offset = (address % PAGE_SIZE) as usize;
        let Some(page) = self.ram.host_page(address / PAGE_SIZE) else {
            return false;
        };
        assert!(offset + into.len() <= PAGE_SIZE as usize);
        // SAFETY: the range was just checked to lie in the page; `into` is not guest memory.
        unsafe { std::ptr::copy_nonoverlapping(page.add(offset), into.as_mut_ptr(), into.len()) };
        true
    }

    /// Copies to physical `address` on, within one page, without touching marks;
    /// `false` outside of RAM.
    pub(super) fn physical_write(&mut self, address: u64, from: &[u8]) -> bool {
        let offset = (address % PAGE_SIZE) as usize;
        let Some(page) = self.ram.host_page(address / PAGE_SIZE) else {
            return false;
        };
        assert!(offset + from.len() <= PAGE_SIZE as usize);
        // SAFETY: as for `physical_read`.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), page.add(offset), from.len()) };
        true
    }
}
