//! The careful half of memory access: walks, faults, device memory, and stores to pages
//! from which code or translations were derived.

use super::core::{Core, Trap};
use super::mem::Blocked;
use crate::cpu::paging::{A, Access, canonical};
use crate::cpu::ram::{CODE, DIRTY, PAGE_SIZE, STALE, TABLE};
use crate::cpu::{Exit, natural};

/// One part of an access that lies in one page: where, and which bytes of the whole.
#[derive(Clone, Copy)]
struct Part {
    physical: u64,
    start: usize,
    end: usize,
}

/// A store to device memory that the caller of `run` has not carried out yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeviceWrite {
    /// Guest-physical address.
    pub address: u64,
    /// 1, 2, 4 or 8 bytes.
    pub size: u8,
    /// The value, zero-extended.
    pub value: u64,
}

impl Core {
    /// `load` and `load_for_store` of up to 64 bits where the TLB does not help.
    #[cold]
    #[inline(never)]
    pub(super) fn load_slow_word(
        &mut self,
        address: u64,
        size: usize,
        for_store: bool,
    ) -> Result<u64, Blocked> {
        let mut bytes = [0; 8];
        self.load_parts(address, &mut bytes[..size], for_store)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// `load` and `load_for_store` of wider values where the TLB does not help.
    #[cold]
    #[inline(never)]
    pub(super) fn load_slow(
        &mut self,
        address: u64,
        size: usize,
        for_store: bool,
    ) -> Result<u128, Blocked> {
        let mut bytes = [0; 16];
        self.load_parts(address, &mut bytes[..size], for_store)?;
        Ok(u128::from_le_bytes(bytes))
    }

    /// `store` where the TLB does not help.
    #[cold]
    #[inline(never)]
    pub(super) fn store_slow(
        &mut self,
        address: u64,
        value: u128,
        size: usize,
    ) -> Result<(), Blocked> {
        self.store_parts(address, &value.to_le_bytes()[..size])
    }

    pub(super) fn load_parts(
        &mut self,
        address: u64,
        into: &mut [u8],
        for_store: bool,
    ) -> Result<(), Blocked> {
        let access = if for_store {
            Access::Write
        } else {
            Access::Read
        };
        let (parts, count) = self.translate_parts(address, into.len(), access)?;
        for part in &parts[..count] {
            let pfn = part.physical / PAGE_SIZE;
            if pfn >= self.ram.pages() {
                self.device_load(part.physical, &mut into[part.start..part.end])?;
                continue;
            }
            if for_store && !self.alone && self.ram.marks().get(pfn) & (CODE | TABLE) != 0 {
                return Err(self.run_alone());
            }
            self.physical_read(part.physical, &mut into[part.start..part.end]);
        }
        Ok(())
    }

    pub(super) fn store_parts(&mut self, address: u64, from: &[u8]) -> Result<(), Blocked> {
        let (parts, count) = self.translate_parts(address, from.len(), Access::Write)?;
        if !self.alone {
            for part in &parts[..count] {
                if self.needs_care(part, &from[part.start..part.end]) {
                    return Err(self.run_alone());
                }
            }
        }
        for part in &parts[..count] {
            self.store_part(part, &from[part.start..part.end]);
        }
        Ok(())
    }

    /// Whether a store cannot happen in the middle of a block.
    fn needs_care(&self, part: &Part, bytes: &[u8]) -> bool {
        let pfn = part.physical / PAGE_SIZE;
        if pfn >= self.ram.pages() {
            return true;
        }
        let marks = self.ram.marks().get(pfn);
        marks & CODE != 0 || marks & TABLE != 0 && self.remaps(part.physical, bytes)
    }

    /// Whether a store to a page table changes an entry from which something was derived.
    fn remaps(&self, physical: u64, bytes: &[u8]) -> bool {
        let end = physical + bytes.len() as u64;
        let mut at = physical & !7;
        while at < end {
            let old = self.ram.load_quad(at).unwrap_or(0);
            if old & (1 | A) == 1 | A {
                return true;
            }
            at += 8;
        }
        false
    }

    fn store_part(&mut self, part: &Part, bytes: &[u8]) {
        let pfn = part.physical / PAGE_SIZE;
        if pfn >= self.ram.pages() {
            self.device_store(part.physical, bytes);
            return;
        }
        let marks = self.ram.marks().get(pfn);
        if marks & TABLE != 0 && self.remaps(part.physical, bytes) {
            self.flush_translations();
        }
        if marks & CODE != 0 {
            self.code_changed(pfn);
        }
        self.ram.marks().set(pfn, DIRTY | STALE);
        self.physical_write(part.physical, bytes);
    }

    /// Translates each page of an access, so that a fault comes before any effect.
    fn translate_parts(
        &mut self,
        address: u64,
        size: usize,
        access: Access,
    ) -> Result<([Part; 2], usize), Blocked> {
        let room = (PAGE_SIZE - address % PAGE_SIZE) as usize;
        let first = size.min(room);
        let physical = self.translate(address, access)?;
        let mut parts = [Part {
            physical,
            start: 0,
            end: first,
        }; 2];
        if first == size {
            return Ok((parts, 1));
        }
        parts[1] = Part {
            physical: self.translate(address.wrapping_add(first as u64), access)?,
            start: first,
            end: size,
        };
        Ok((parts, 2))
    }

    /// Translates one address and remembers its page.
    pub(super) fn translate(&mut self, address: u64, access: Access) -> Result<u64, Blocked> {
        if !canonical(address) {
            self.fault_address = address;
            self.trap = Trap::Exception {
                vector: 13,
                error: Some(0),
            };
            self.not_canonical = true;
            return Err(Blocked);
        }
        let mapped = match self.walk(address, access, true) {
            Ok(mapped) => mapped,
            Err(code) => {
                self.fault_address = address;
                self.trap = Trap::Exception {
                    vector: 14,
                    error: Some(code),
                };
                return Err(Blocked);
            }
        };
        let pfn = mapped.physical / PAGE_SIZE;
        if let Some(host) = self.ram.host_page(pfn) {
            let mut marks = self.ram.marks().get(pfn);
            if access == Access::Write && marks & (CODE | TABLE) == 0 {
                marks |= DIRTY | STALE;
                self.ram.marks().set(pfn, marks);
            }
            let free = marks & (DIRTY | STALE | CODE | TABLE) == DIRTY | STALE;
            let addend = (host as usize).wrapping_sub((address & !0xFFF) as usize);
            let write = mapped.writable && free;
            self.tlb
                .fill(address, true, write, mapped.executable, addend);
        }
        Ok(mapped.physical)
    }

    /// Lets the op that made this access run again on its own.
    fn run_alone(&mut self) -> Blocked {
        self.trap = Trap::Alone;
        Blocked
    }

    /// Loads from outside of RAM: every part waits for the device.
    fn device_load(&mut self, physical: u64, into: &mut [u8]) -> Result<(), Blocked> {
        if !self.alone {
            return Err(self.run_alone());
        }
        let mut done = 0;
        while done < into.len() {
            let address = physical + done as u64;
            let size = natural(address, into.len() - done);
            let Some(value) = self.answer() else {
                self.trap = Trap::Exit(Exit::MmioRead {
                    address,
                    size: size as u8,
                });
                return Err(Blocked);
            };
            into[done..done + size].copy_from_slice(&value.to_le_bytes()[..size]);
            done += size;
        }
        Ok(())
    }

    /// Stores to outside of RAM: queued until the op is over.
    fn device_store(&mut self, physical: u64, from: &[u8]) {
        let mut done = 0;
        while done < from.len() {
            let address = physical + done as u64;
            let size = natural(address, from.len() - done);
            let mut value = [0; 8];
            value[..size].copy_from_slice(&from[done..done + size]);
            self.s.pending.writes.push(DeviceWrite {
                address,
                size: size as u8,
                value: u64::from_le_bytes(value),
            });
            done += size;
        }
    }
}
