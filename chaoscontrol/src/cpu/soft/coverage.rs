//! Branch coverage as the CPU sees it, so that plain binaries count.
//!
//! Edges are recorded at branch instructions, named by where the branch stands (in the
//! kernel its virtual address, in user code the packed file and the offset in it) and
//! where it goes, so neither interrupts nor address-space layout create or hide one.

use std::collections::BTreeMap;

use super::core::Core;
use super::op::Op;

/// Counters of one region.
pub const REGION: usize = 1 << 16;
/// The regions: the test's own executable, other packed files, the kernel.
pub const REGIONS: usize = 3;
/// The kernel's region.
const KERNEL: u8 = 2;

/// Where a page of code comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeOrigin {
    /// Number of the packed file.
    pub file: u32,
    /// Offset of the page in the file, bytes.
    pub offset: u64,
    /// 0 = the test's own executable, 1 = another packed file.
    pub region: u8,
}

/// The packed files' pages by the xxh3 of their 4096 bytes.
pub type CodeMap = BTreeMap<u64, CodeOrigin>;

/// A well-mixed number from two (the finalizer of SplitMix64).
fn mix(a: u64, b: u64) -> u64 {
    let mut z = a.wrapping_add(b.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// What the counters of the branches of one page are named by; `None` counts nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageName {
    region: u8,
    file: u64,
    offset: u64,
}

impl PageName {
    /// The page of kernel code at virtual address `address`.
    pub fn kernel(address: u64) -> PageName {
        PageName {
            region: KERNEL,
            file: 0,
            offset: address & !0xFFF,
        }
    }

    /// A page of a packed file.
    pub fn user(origin: CodeOrigin) -> PageName {
        PageName {
            region: origin.region.min(1),
            file: 1 + u64::from(origin.file),
            offset: origin.offset,
        }
    }

    /// [`Op::edge`] of the branch at `offset` in the page: never 0, even, and the
    /// number behind it is free for the taken edge.
    pub fn edge(self, offset: u64) -> u32 {
        let hash = mix(self.file, self.offset + offset) as u32 & (REGION as u32 - 2);
        (u32::from(self.region) * REGION as u32 + hash).max(2)
    }
}

impl Core {
    #[inline(always)]
    fn count(&mut self, edge: u32) {
        if let Some(counter) = self.coverage.get_mut(edge as usize) {
            *counter = counter.saturating_add(1);
        }
    }

    /// Counts a branch that was taken to a fixed target.
    #[inline(always)]
    pub fn edge_taken(&mut self, op: &Op) {
        if op.edge != 0 {
            self.count(op.edge + 1);
        }
    }

    /// Counts a conditional branch that was not taken.
    #[inline(always)]
    pub fn edge_not_taken(&mut self, op: &Op) {
        if op.edge != 0 {
            self.count(op.edge);
        }
    }

    /// Counts an indirect branch, call or return to `target`, of which only the place
    /// in its page takes part in the edge's name.
    #[inline(always)]
    pub fn edge_indirect(&mut self, op: &Op, target: u64) {
        if op.edge != 0 {
            let hash = mix(u64::from(op.edge), target & 0xFFF) as u32 & (REGION as u32 - 1);
            self.count(op.edge & !(REGION as u32 - 1) | hash);
        }
    }
}
