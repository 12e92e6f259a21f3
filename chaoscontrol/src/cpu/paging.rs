//! 4-level paging (SDM volume 3, 4.5) as a function of tables in memory: the walk and the
//! faults it ends in. What is derived from a walk, and when accessed and dirty bits are
//! written, is the engine's business.

use std::ops::Range;

use super::bits::{CR0_WP, EFER_NXE};
use super::ram::{PAGE_SIZE, Ram};
use super::state::CpuState;

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

/// The registers that a walk depends on.
#[derive(Clone, Copy, Debug)]
pub struct Tables {
    /// CR3.
    pub cr3: u64,
    /// IA32_EFER.NXE.
    pub nxe: bool,
    /// CR0.WP.
    pub wp: bool,
    /// Whether the access has the rights of ring 3 only.
    pub user: bool,
}

impl Tables {
    /// Those of `state`, for an access with the rights of `user`.
    #[inline(always)]
    pub fn of(state: &CpuState, user: bool) -> Tables {
        Tables {
            cr3: state.cr3,
            nxe: state.efer & EFER_NXE != 0,
            wp: state.cr0 & CR0_WP != 0,
            user,
        }
    }
}

/// A page that a walk found.
#[derive(Clone, Copy, Debug)]
pub struct Mapped {
    /// Guest-physical address of the access.
    pub physical: u64,
    /// Stores are allowed to the privilege that walked, and the dirty bit is set, or would
    /// be by the access.
    pub writable: bool,
    /// Fetches are allowed.
    pub executable: bool,
    /// Physical address and value of each entry on the way, the leaf last.
    path: [(u64, u64); 4],
    depth: usize,
    dirty: bool,
}

impl Mapped {
    /// Physical address, value, and value with accessed and dirty bits of each entry on the way.
    #[inline(always)]
    pub fn entries(&self) -> impl Iterator<Item = (u64, u64, u64)> + use<> {
        let Mapped {
            path, depth, dirty, ..
        } = *self;
        path.into_iter()
            .take(depth)
            .enumerate()
            .map(move |(n, (at, entry))| {
                let leaf_dirty = if n + 1 == depth && dirty { D } else { 0 };
                (at, entry, entry | A | leaf_dirty)
            })
    }
}

/// Whether bits 47..64 of `address` are equal.
#[inline(always)]
pub fn canonical(address: u64) -> bool {
    ((address as i64) << 16 >> 16) as u64 == address
}

/// Walks the tables for a canonical `address`. Changes nothing.
///
/// # Errors
/// The page fault's error code.
#[inline(always)]
pub fn walk(ram: &Ram, tables: Tables, address: u64, access: Access) -> Result<Mapped, u32> {
    let Tables { cr3, nxe, wp, user } = tables;
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
    let mut table = cr3 & ADDRESS;
    let mut path = [(0u64, 0u64); 4];
    let mut depth = 0;
    let mut rights = W | U;
    let mut no_execute = 0;
    let mut shift = 39;
    let (leaf, physical) = loop {
        let at = table | (address >> shift & 0x1FF) << 3;
        let entry = ram.load_quad(at).unwrap_or(0);
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
    let may_write = rights & W != 0 || !user && !wp;
    let allowed = match access {
        Access::Read => true,
        Access::Write => may_write,
        Access::Exec => no_execute == 0,
    };
    if !allowed || user && rights & U == 0 {
        return Err(code | error::PRESENT);
    }
    let dirty = leaf & D != 0 || access == Access::Write;
    Ok(Mapped {
        physical,
        writable: may_write && dirty,
        executable: no_execute == 0,
        path,
        depth,
        dirty,
    })
}

/// Calls `each` with the page and the part of every page of a virtual range, from its
/// start on; `false` once a page is not found by `resolve` or not wanted by `each`.
pub fn each_page(
    address: u64,
    size: usize,
    mut resolve: impl FnMut(u64) -> Option<Mapped>,
    mut each: impl FnMut(Mapped, Range<usize>) -> bool,
) -> bool {
    let mut done = 0;
    while done < size {
        let at = address.wrapping_add(done as u64);
        let room = (PAGE_SIZE - at % PAGE_SIZE) as usize;
        let end = size.min(done + room);
        match resolve(at).filter(|_| canonical(at)) {
            Some(mapped) if each(mapped, done..end) => done = end,
            _ => return false,
        }
    }
    true
}
