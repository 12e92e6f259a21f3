//! 4-level paging (SDM volume 3, 4.5): the walk, its faults, accessed and dirty bits.
//!
//! Pages that served as tables get the TABLE mark, so that a store to them can drop
//! what was derived. Accessed and dirty bits are written only by a walk that succeeds:
//! an entry without its accessed bit therefore has nothing derived from it.

use super::core::Core;
use crate::cpu::ram::{CODE, DIRTY, PAGE_SIZE, STALE, TABLE};

/// Physical address width that CPUID announces; higher bits of an entry are reserved.
pub const PHYSICAL_BITS: u32 = 40;

const P: u64 = 1;
const W: u64 = 1 << 1;
const U: u64 = 1 << 2;
/// Accessed bit of an entry.
pub const A: u64 = 1 << 5;
const D: u64 = 1 << 6;
const PS: u64 = 1 << 7;
const NX: u64 = 1 << 63;
const ADDRESS: u64 = ((1 << 52) - 1) & !0xFFF;
const TOO_HIGH: u64 = ((1 << 52) - 1) & !((1 << PHYSICAL_BITS) - 1);

/// Page-fault error code bits (SDM volume 3, 4.7).
pub mod error {
    /// The page was present: a protection violation.
    pub const PRESENT: u32 = 1;
    /// A store.
    pub const WRITE: u32 = 2;
    /// From ring 3.
    pub const USER: u32 = 4;
    /// A reserved bit was set in an entry.
    pub const RESERVED: u32 = 8;
    /// An instruction fetch.
    pub const FETCH: u32 = 16;
}

/// What an access wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Load.
    Read,
    /// Store.
    Write,
    /// Fetch.
    Exec,
}

/// A page that a walk found.
#[derive(Clone, Copy, Debug)]
pub struct Mapped {
    /// Guest-physical address of the access.
    pub physical: u64,
    /// Stores are allowed to the privilege that walked, and the dirty bit is set.
    pub writable: bool,
    /// Fetches are allowed.
    pub executable: bool,
}

/// Whether bits 47..64 of `address` are equal.
#[inline(always)]
pub fn canonical(address: u64) -> bool {
    ((address as i64) << 16 >> 16) as u64 == address
}

impl Core {
    /// Walks the tables for `address`, with the privilege of the active TLB side.
    ///
    /// With `mark`, sets accessed and dirty bits and the tables' marks; without, changes nothing.
    ///
    /// # Errors
    /// The page fault's error code.
    pub(super) fn walk(&mut self, address: u64, access: Access, mark: bool) -> Result<Mapped, u32> {
        let user = self.tlb.user();
        let nxe = self.s.efer & super::bits::EFER_NXE != 0;
        let mut code = match access {
            Access::Read => 0,
            Access::Write => error::WRITE,
            Access::Exec if nxe => error::FETCH,
            Access::Exec => 0,
        };
        if user {
            code |= error::USER;
        }
        let unusable = TOO_HIGH | if nxe { 0 } else { NX };
        let mut table = self.s.cr3 & ADDRESS;
        let mut path = [(0u64, 0u64); 4];
        let mut depth = 0;
        let mut rights = W | U;
        let mut no_execute = 0;
        let mut shift = 39;
        let (leaf, physical) = loop {
            let at = table | (address >> shift & 0x1FF) << 3;
            let entry = self.physical_load(at).unwrap_or(0);
            if entry & P == 0 {
                return Err(code);
            }
            let mut reserved = unusable;
            let large = entry & PS != 0 && shift != 12;
            if large {
                reserved |= if shift == 39 {
                    PS
                } else {
                    (1u64 << shift) - (1 << 13)
                };
            }
            if entry & reserved != 0 {
                return Err(code | error::PRESENT | error::RESERVED);
            }
            rights &= entry;
            no_execute |= entry & NX;
            path[depth] = (at, entry);
            depth += 1;
            if large || shift == 12 {
                let inside = (1u64 << shift) - 1;
                break (entry, entry & ADDRESS & !inside | address & inside);
            }
            table = entry & ADDRESS;
            shift -= 9;
        };
        let may_write = rights & W != 0 || !user && self.s.cr0 & super::bits::CR0_WP == 0;
        let allowed = match access {
            Access::Read => true,
            Access::Write => may_write,
            Access::Exec => no_execute == 0,
        };
        if !allowed || user && rights & U == 0 {
            return Err(code | error::PRESENT);
        }
        let dirty = leaf & D != 0 || access == Access::Write;
        if mark {
            for (n, &(at, entry)) in path[..depth].iter().enumerate() {
                let last = n + 1 == depth;
                let want = entry | A | if last && dirty { D } else { 0 };
                self.derive_from(at / PAGE_SIZE);
                if want != entry {
                    self.update_entry(at, want);
                }
            }
        }
        Ok(Mapped {
            physical,
            writable: may_write && dirty,
            executable: no_execute == 0,
        })
    }

    /// Marks page `pfn` as one whose stores may drop translations.
    fn derive_from(&mut self, pfn: u64) {
        if self.ram.marks().get(pfn) & TABLE == 0 {
            self.ram.marks().set(pfn, TABLE);
            self.tables.push(pfn as u32);
            self.protect(pfn);
        }
    }

    /// Writes an accessed or dirty bit.
    fn update_entry(&mut self, at: u64, entry: u64) {
        let pfn = at / PAGE_SIZE;
        self.ram.marks().set(pfn, DIRTY | STALE);
        if self.ram.marks().get(pfn) & CODE != 0 {
            self.code_changed(pfn);
        }
        self.physical_store(at, entry);
    }

    /// Goes on with what is known of the tables at `cr3`, keeping what is known of the
    /// present ones.
    pub(super) fn switch_translations(&mut self, cr3: u64) {
        self.tlb.switch(self.s.cr3, cr3);
        self.remapped = true;
        self.attention = true;
    }

    /// Drops every translation, and with it the marks on the tables they came from.
    pub(super) fn flush_translations(&mut self) {
        self.tlb.flush();
        for pfn in self.tables.drain(..) {
            self.ram.marks().clear(u64::from(pfn), TABLE);
        }
        self.remapped = true;
        self.attention = true;
    }
}
