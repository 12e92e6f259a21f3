//! What one CPU knows of decoded code: blocks by physical page, place in it and mode, and
//! a jump cache from virtual addresses to blocks.
//!
//! A block lies in one page. It is valid as long as nobody writes to the page (which
//! then carries the CODE mark), so it survives changes of the page tables.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use super::code::{Block, BlockId, CodeStore};

/// Pairs of entries of the jump cache. A kernel with a program on top keeps some 10,000
/// blocks busy; those that are reached from other pages stand here. Room for all of them
/// is slower, as the caches of all VMs then crowd each other out of the host's.
const JUMPS: usize = 1 << 12;
/// Address spaces whose jumps are remembered besides the running one's.
const SPACES: usize = 4;

/// What a block is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Physical page.
    pub pfn: u32,
    /// First byte's offset in the page.
    pub offset: u16,
    /// Mode bits that decoding depends on.
    pub mode: u8,
    /// The page that the block's only instruction goes on in.
    pub next: Option<u32>,
}

impl Key {
    fn number(self) -> u64 {
        // Page frames have 20 bits, as `MAX_RAM` is below 4 GiB.
        let next = self.next.map_or(0, |pfn| u64::from(pfn) + 1);
        next << 40 | u64::from(self.pfn) << 20 | u64::from(self.offset) << 8 | u64::from(self.mode)
    }
}

/// Spreads the numbers of keys.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {}
    fn write_u64(&mut self, n: u64) {
        self.0 = n.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(20);
    }
}

#[derive(Clone, Copy, Default)]
struct Jump {
    rip: u64,
    stamp: u32,
    block: BlockId,
}

/// Two entries that share a place, the newer one first.
#[repr(align(32))]
#[derive(Clone, Copy, Default)]
struct Pair([Jump; 2]);

/// What is known of a page that blocks lie in.
#[derive(Default)]
struct Page {
    /// The keys of its blocks.
    keys: Vec<u64>,
    hash: Option<u128>,
}

/// All blocks.
pub struct Blocks {
    code: Arc<CodeStore>,
    keys: HashMap<u64, BlockId, BuildHasherDefault<Spread>>,
    pages: BTreeMap<u32, Page>,
    jumps: Box<[Pair]>,
    /// What entries of the jump cache must bear to hold for the running address space.
    generation: u32,
    last_generation: u32,
    /// The running address space and those before it, each with its generation.
    spaces: Vec<(u32, u32)>,
}

/// The pair of `rip`: its product with a large odd number spreads what is aligned.
#[inline(always)]
fn slot(rip: u64) -> usize {
    (rip.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as usize & (JUMPS - 1)
}

impl Blocks {
    /// No blocks yet; those to come are kept in `code`.
    pub fn new(code: Arc<CodeStore>) -> Blocks {
        Blocks {
            code,
            keys: HashMap::default(),
            pages: BTreeMap::new(),
            jumps: vec![Pair::default(); JUMPS].into(),
            generation: 1,
            last_generation: 1,
            spaces: vec![(0, 1)],
        }
    }

    /// The block that was last met at virtual address `rip` in `mode`, if that still holds.
    #[inline(always)]
    pub fn jump(&self, rip: u64, mode: u8) -> Option<BlockId> {
        let Pair([first, second]) = self.jumps.get(slot(rip))?;
        let stamp = self.generation << 8 | u32::from(mode);
        if first.rip == rip && first.stamp == stamp {
            return Some(first.block);
        }
        (second.rip == rip && second.stamp == stamp).then_some(second.block)
    }

    /// Remembers that `block` is what stands at `rip`.
    pub fn remember(&mut self, rip: u64, mode: u8, block: BlockId) {
        let stamp = self.generation << 8 | u32::from(mode);
        let Pair(pair) = &mut self.jumps[slot(rip)];
        *pair = [Jump { rip, stamp, block }, pair[0]];
    }

    /// The block `id`.
    #[inline(always)]
    pub fn block(&self, id: BlockId) -> &Block {
        self.code.block(id)
    }

    /// Where blocks are kept.
    #[inline(always)]
    pub fn code(&self) -> &Arc<CodeStore> {
        &self.code
    }

    /// Leaves the store, which is full, for another. There are no blocks any more.
    pub fn renew(&mut self) {
        assert!(self.keys.is_empty(), "all blocks have been dropped");
        self.code = CodeStore::shared(Some(&self.code));
    }

    /// Goes on in address space `space`, a name that stands for the same mappings as long
    /// as it is used.
    pub fn select(&mut self, space: u32) {
        let known = self.spaces.iter().position(|&(name, _)| name == space);
        let found = known.map(|at| self.spaces.remove(at));
        if self.spaces.len() > SPACES {
            self.spaces.remove(0);
        }
        let (_, generation) = found.unwrap_or_else(|| (space, self.fresh_generation()));
        self.generation = generation;
        self.spaces.push((space, generation));
    }

    /// Forgets what stands at virtual addresses, in all address spaces.
    pub fn forget_jumps(&mut self) {
        let space = self.spaces.last().map_or(0, |&(name, _)| name);
        self.spaces.clear();
        self.select(space);
    }

    fn fresh_generation(&mut self) -> u32 {
        self.last_generation += 1;
        if self.last_generation == 1 << 24 {
            self.last_generation = 1;
            self.spaces.clear();
            self.jumps.fill(Pair::default());
        }
        self.last_generation
    }

    /// The block with this key.
    pub fn find(&self, key: Key) -> Option<BlockId> {
        self.keys.get(&key.number()).copied()
    }

    /// The hash of page `pfn`, which must carry the CODE mark from now on; `compute` reads
    /// the page if need be, and answers `None` if there is no such page.
    pub fn hash(&mut self, pfn: u32, compute: impl FnOnce() -> Option<u128>) -> Option<u128> {
        if let Some(Page {
            hash: Some(hash), ..
        }) = self.pages.get(&pfn)
        {
            return Some(*hash);
        }
        let hash = compute()?;
        self.pages.entry(pfn).or_default().hash = Some(hash);
        Some(hash)
    }

    /// Adds what stands at `key`.
    pub fn add(&mut self, key: Key, block: BlockId) {
        self.keys.insert(key.number(), block);
        for pfn in std::iter::once(key.pfn).chain(key.next) {
            self.pages.entry(pfn).or_default().keys.push(key.number());
        }
    }

    /// The pages that hold blocks, in order.
    pub fn pages(&self) -> Vec<u32> {
        self.pages.keys().copied().collect()
    }

    /// Drops the blocks of page `pfn`.
    pub fn drop_page(&mut self, pfn: u32) {
        for key in self.pages.remove(&pfn).unwrap_or_default().keys {
            self.keys.remove(&key);
        }
        self.forget_jumps();
    }
}
