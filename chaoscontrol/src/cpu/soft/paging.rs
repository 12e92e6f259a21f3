//! What the software CPU derives from page tables.
//!
//! Pages that served as tables get the TABLE mark, so that a store to them can drop
//! what was derived. Accessed and dirty bits are written only by a walk that succeeds:
//! an entry without its accessed bit therefore has nothing derived from it.

use super::core::Core;
use crate::cpu::paging::{Access, Mapped, Tables, walk};
use crate::cpu::ram::{CODE, DIRTY, PAGE_SIZE, STALE, TABLE};

impl Core {
    /// Walks the tables for `address`, with the privilege of the active TLB side.
    ///
    /// With `mark`, sets accessed and dirty bits and the tables' marks; without, changes nothing.
    ///
    /// # Errors
    /// The page fault's error code.
    pub(super) fn walk(&mut self, address: u64, access: Access, mark: bool) -> Result<Mapped, u32> {
        let tables = Tables::of(&self.s, self.tlb.user());
        let mapped = walk(&self.ram, tables, address, access)?;
        if mark {
            for (at, entry, want) in mapped.entries() {
                self.derive_from(at / PAGE_SIZE);
                if want != entry {
                    self.update_entry(at, want);
                }
            }
        }
        Ok(mapped)
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
        self.ram.store_quad(at, entry);
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
