//! The software TLB: which virtual pages the running privilege may reach at which
//! host address.
//!
//! It is a cache the guest cannot notice. Two direct-mapped sides hold what ring 3 and
//! what the supervisor may do; the active one follows the privilege level. Address spaces
//! that were left a short while ago are parked, since all that is known of them holds
//! until somebody stores to their tables, and then everything is forgotten. An entry's
//! `write` tag is set only while a store needs no bookkeeping at all: the page is
//! mapped writable and dirty, its marks say DIRTY and STALE, and nothing was derived
//! from it.

/// Entries of one side.
pub const SETS: usize = 512;
/// The bits of a virtual address that name its page.
pub const PAGE_MASK: u64 = !0xFFF;
/// Address spaces that are kept besides the running one.
const PARKED: usize = 3;
/// A tag that no page has.
const EMPTY: u64 = 1;

/// What is known of one virtual page.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The page, if loads are allowed.
    pub read: u64,
    /// The page, if stores are allowed and need no bookkeeping.
    pub write: u64,
    /// The page, if it may be executed.
    pub exec: u64,
    /// Host address minus virtual address.
    pub addend: usize,
}

const NOTHING: Entry = Entry {
    read: EMPTY,
    write: EMPTY,
    exec: EMPTY,
    addend: 0,
};

#[derive(Debug)]
struct Side {
    entries: Box<[Entry; SETS]>,
    /// The entries that are not empty.
    filled: Vec<u16>,
}

impl Side {
    fn new() -> Side {
        Side {
            entries: Box::new([NOTHING; SETS]),
            filled: Vec::new(),
        }
    }

    fn flush(&mut self) {
        for index in self.filled.drain(..) {
            self.entries[index as usize] = NOTHING;
        }
    }
}

/// An address space that does not run.
#[derive(Debug)]
struct Space {
    cr3: u64,
    user: Side,
    supervisor: Side,
    id: u32,
}

/// The translations of both privileges.
#[derive(Debug)]
pub struct Tlb {
    active: Side,
    other: Side,
    user: bool,
    id: u32,
    last_id: u32,
    /// The one left last stands last.
    parked: Vec<Space>,
}

/// The entry that virtual address `address` falls on.
#[inline(always)]
fn slot(address: u64) -> usize {
    (address >> 12) as usize & (SETS - 1)
}

impl Tlb {
    /// An empty TLB that answers for the supervisor.
    pub fn new() -> Tlb {
        Tlb {
            active: Side::new(),
            other: Side::new(),
            user: false,
            id: 1,
            last_id: 1,
            parked: Vec::new(),
        }
    }

    /// The entry for `address`, which the caller compares with the tag it needs.
    #[inline(always)]
    pub fn entry(&self, address: u64) -> &Entry {
        &self.active.entries[slot(address)]
    }

    /// Whether ring 3's side is active.
    #[inline(always)]
    pub fn user(&self) -> bool {
        self.user
    }

    /// Makes ring 3's or the supervisor's side the active one.
    #[inline]
    pub fn set_user(&mut self, user: bool) {
        if self.user != user {
            self.user = user;
            std::mem::swap(&mut self.active, &mut self.other);
        }
    }

    /// Puts an entry for the page of `address` on the active side.
    pub fn fill(&mut self, address: u64, read: bool, write: bool, exec: bool, addend: usize) {
        let page = address & PAGE_MASK;
        let tag = |allowed| if allowed { page } else { EMPTY };
        let index = slot(address);
        let entry = &mut self.active.entries[index];
        if entry.read == EMPTY && entry.write == EMPTY && entry.exec == EMPTY {
            self.active.filled.push(index as u16);
        }
        *entry = Entry {
            read: tag(read),
            write: tag(write),
            exec: tag(exec),
            addend,
        };
    }

    /// Names what is known of the running address space: it changes when something else
    /// may stand at a virtual address, and comes back with the address space.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Goes from the address space whose tables are at `old` to the one at `new`.
    pub fn switch(&mut self, old: u64, new: u64) {
        let known = self.parked.iter().position(|space| space.cr3 == new);
        let mut next = match known {
            Some(at) => self.parked.remove(at),
            None if self.parked.len() < PARKED => {
                let (user, supervisor) = (Side::new(), Side::new());
                Space {
                    cr3: new,
                    user,
                    supervisor,
                    id: self.fresh_id(),
                }
            }
            None => {
                let mut space = self.parked.remove(0);
                space.user.flush();
                space.supervisor.flush();
                space.id = self.fresh_id();
                space
            }
        };
        let user = self.user;
        self.set_user(true);
        std::mem::swap(&mut self.active, &mut next.user);
        std::mem::swap(&mut self.other, &mut next.supervisor);
        std::mem::swap(&mut self.id, &mut next.id);
        self.set_user(user);
        next.cr3 = old;
        self.parked.push(next);
    }

    fn fresh_id(&mut self) -> u32 {
        self.last_id = self.last_id.wrapping_add(1);
        self.last_id
    }

    /// Forgets everything.
    pub fn flush(&mut self) {
        self.active.flush();
        self.other.flush();
        self.parked.clear();
        self.id = self.fresh_id();
    }

    fn sides(&mut self) -> impl Iterator<Item = &mut Side> {
        let parked = self
            .parked
            .iter_mut()
            .flat_map(|space| [&mut space.user, &mut space.supervisor]);
        [&mut self.active, &mut self.other]
            .into_iter()
            .chain(parked)
    }

    /// Forgets which pages may be written without bookkeeping.
    pub fn flush_writes(&mut self) {
        for side in self.sides() {
            for &index in &side.filled {
                side.entries[index as usize].write = EMPTY;
            }
        }
    }

    /// Forgets that the page at host address `host` may be written without bookkeeping.
    pub fn protect(&mut self, host: usize) {
        for side in self.sides() {
            for &index in &side.filled {
                let entry = &mut side.entries[index as usize];
                if entry.write != EMPTY && entry.addend.wrapping_add(entry.write as usize) == host {
                    entry.write = EMPTY;
                }
            }
        }
    }
}

impl Default for Tlb {
    fn default() -> Tlb {
        Tlb::new()
    }
}
