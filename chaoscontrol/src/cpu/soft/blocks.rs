//! The cache of decoded blocks, by physical page, place in it and mode, and a jump cache
//! from virtual addresses to blocks.
//!
//! A block lies in one page. It is valid as long as nobody writes to the page (which
//! then carries the CODE mark), so it survives changes of the page tables.

use std::collections::BTreeMap;

use super::op::Op;

/// Entries of the jump cache.
const JUMPS: usize = 4096;
/// Blocks that are kept before all are dropped.
const LIMIT: usize = 400_000;

/// A straight run of instructions.
#[derive(Debug, Default)]
pub struct Block {
    /// The instructions; only the last may be a branch.
    pub ops: Box<[Op]>,
    /// Length in bytes.
    pub bytes: u16,
}

/// What a block is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Physical page.
    pub pfn: u32,
    /// First byte's offset in the page.
    pub offset: u16,
    /// Mode bits that decoding depends on.
    pub mode: u8,
}

#[derive(Clone, Copy)]
struct Jump {
    rip: u64,
    stamp: u32,
    block: u32,
}

/// All blocks.
pub struct Blocks {
    blocks: Vec<Block>,
    free: Vec<u32>,
    keys: BTreeMap<Key, u32>,
    jumps: Box<[Jump; JUMPS]>,
    generation: u32,
}

#[inline(always)]
fn slot(rip: u64) -> usize {
    (rip ^ rip >> 12) as usize & (JUMPS - 1)
}

impl Blocks {
    /// No blocks.
    pub fn new() -> Blocks {
        Blocks {
            blocks: Vec::new(),
            free: Vec::new(),
            keys: BTreeMap::new(),
            jumps: Box::new(
                [Jump {
                    rip: 0,
                    stamp: 0,
                    block: 0,
                }; JUMPS],
            ),
            generation: 1,
        }
    }

    /// The block that was last met at virtual address `rip` in `mode`, if that still holds.
    #[inline(always)]
    pub fn jump(&self, rip: u64, mode: u8) -> Option<&Block> {
        let jump = &self.jumps[slot(rip)];
        if jump.rip == rip && jump.stamp == self.generation << 8 | u32::from(mode) {
            self.blocks.get(jump.block as usize)
        } else {
            None
        }
    }

    /// Remembers that `block` is what stands at `rip`.
    pub fn remember(&mut self, rip: u64, mode: u8, block: u32) {
        self.jumps[slot(rip)] = Jump {
            rip,
            stamp: self.generation << 8 | u32::from(mode),
            block,
        };
    }

    /// Forgets what stands at virtual addresses.
    pub fn forget_jumps(&mut self) {
        self.generation += 1;
        if self.generation == 1 << 24 {
            self.generation = 1;
            self.jumps.fill(Jump {
                rip: 0,
                stamp: 0,
                block: 0,
            });
        }
    }

    /// The number of the block with this key.
    pub fn find(&self, key: Key) -> Option<u32> {
        self.keys.get(&key).copied()
    }

    /// Whether it is time for [`Blocks::pages`] and [`Blocks::drop_page`] of all.
    pub fn full(&self) -> bool {
        self.keys.len() >= LIMIT
    }

    /// Adds a block.
    pub fn add(&mut self, key: Key, block: Block) -> u32 {
        let number = match self.free.pop() {
            Some(number) => {
                self.blocks[number as usize] = block;
                number
            }
            None => {
                self.blocks.push(block);
                self.blocks.len() as u32 - 1
            }
        };
        self.keys.insert(key, number);
        number
    }

    /// The pages that hold blocks, in order.
    pub fn pages(&self) -> Vec<u32> {
        let mut pages: Vec<u32> = self.keys.keys().map(|key| key.pfn).collect();
        pages.dedup();
        pages
    }

    /// Drops the blocks of page `pfn`.
    pub fn drop_page(&mut self, pfn: u32) {
        let at = |pfn| Key {
            pfn,
            offset: 0,
            mode: 0,
        };
        let doomed: Vec<Key> = self
            .keys
            .range(at(pfn)..at(pfn + 1))
            .map(|(&key, _)| key)
            .collect();
        for key in doomed {
            if let Some(number) = self.keys.remove(&key) {
                self.blocks[number as usize] = Block::default();
                self.free.push(number);
            }
        }
        self.forget_jumps();
    }
}

impl Default for Blocks {
    fn default() -> Blocks {
        Blocks::new()
    }
}
