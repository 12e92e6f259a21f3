//! The edges that guests count themselves, for engines that do not see branches: programs
//! built with SanitizerCoverage's guards and the kernel variant `kcov` do so in one table of
//! guest memory.
//!
//! The table is part of the machine's state like all memory, so it forks and goes back with
//! it. The host only reads it, and clears it at instants that are the same in every run.

use chaoscontrol_guest::protocol::{EDGES, EDGES_BYTES};

use super::coverage::EdgeCounters;
use super::vm::DeterministicVm;
use crate::cpu::Engine;
use crate::cpu::ram::{PAGE_SIZE, Ram};

const PAGE: usize = PAGE_SIZE as usize;

/// Adds the table in `ram` to the first counters of `counters`.
fn add(ram: &Ram, counters: &mut EdgeCounters) {
    each_page(ram, |at, page| {
        let counters = counters.get_mut().iter_mut().skip(at);
        for (counter, &count) in counters.zip(page) {
            *counter = counter.saturating_add(count);
        }
    });
}

/// Fills the table in `ram` with zeros; pages that hold nothing else stay unmarked.
fn clear(ram: &Ram) {
    each_page(ram, |at, page| {
        ram.write(EDGES + at as u64, &[0; PAGE][..page.len()])
            .expect("it was just read");
    });
}

/// Calls `visit` with offset and bytes of each page of the table that is not all zero. A
/// machine with less memory has no table.
fn each_page(ram: &Ram, mut visit: impl FnMut(usize, &[u8])) {
    let mut page = [0; PAGE];
    for at in (0..EDGES_BYTES).step_by(PAGE) {
        if ram.read(EDGES + at as u64, &mut page).is_ok() && page != [0; PAGE] {
            visit(at, &page);
        }
    }
}

impl DeterministicVm {
    /// Adds what the guest counted itself to `counters`, unless the engine sees all edges:
    /// then it is among them already.
    pub fn add_guest_edges(&self, counters: &mut EdgeCounters) {
        if self.config.engine == Engine::Kvm {
            add(&self.ram, counters);
        }
    }

    /// Lets the guest's own counters begin anew.
    pub fn clear_guest_edges(&mut self) {
        clear(&self.ram);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::ram::DIRTY;

    #[test]
    fn counts_are_added_and_saturate() {
        let ram = Ram::new(1 << 20).unwrap();
        ram.write(EDGES, &[3]).unwrap();
        ram.write(EDGES + 0xFFFF, &[200]).unwrap();
        ram.write(EDGES - 1, &[9]).unwrap();
        let mut counters = EdgeCounters::new();
        counters.get_mut()[0xFFFF] = 100;
        add(&ram, &mut counters);
        let taken = counters.get().iter().enumerate().filter(|(_, c)| **c != 0);
        let taken: Vec<_> = taken.map(|(index, count)| (index, *count)).collect();
        assert_eq!(taken, [(0, 3), (0xFFFF, 255)]);
        add(&ram, &mut EdgeCounters::default());
    }

    #[test]
    fn only_what_was_counted_is_cleared() {
        let ram = Ram::new(1 << 20).unwrap();
        ram.write(EDGES + 0x1234, &[3]).unwrap();
        ram.write(EDGES + 0x1_0000, &[9]).unwrap();
        ram.marks().drain(DIRTY, |_| {});
        clear(&ram);
        let mut bytes = [7; EDGES_BYTES + 1];
        ram.read(EDGES, &mut bytes).unwrap();
        assert!(bytes[..EDGES_BYTES].iter().all(|&byte| byte == 0));
        assert_eq!(bytes[EDGES_BYTES], 9);
        let mut written = Vec::new();
        ram.marks().drain(DIRTY, |page| written.push(page));
        assert_eq!(written, [0xE1]);
    }

    #[test]
    fn a_small_machine_has_no_table() {
        let ram = Ram::new(64 << 10).unwrap();
        clear(&ram);
        add(&ram, &mut EdgeCounters::new());
    }
}
