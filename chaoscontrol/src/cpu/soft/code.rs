//! Decoded code, shared by all CPUs of the process.
//!
//! The machines of a cluster are forks of one, so they execute the same pages over and
//! over: a block is decoded once for all of them, and stays in the host's caches when
//! another machine has its turn. What a block holds depends on nothing but its
//! [`Origin`]; so does where a branch within the page leads, which is why blocks link to
//! each other here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::coverage::PageName;
use super::op::Op;

/// Blocks that a store takes before a new one is begun.
const LIMIT: usize = 1 << 17;
/// A link that leads nowhere yet.
const NOWHERE: u32 = u32::MAX;

/// All that decoding a block depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Hash of the bytes: of the whole page, or of those around the page's end if the
    /// block's only instruction crosses it.
    pub bytes: u128,
    /// Whether the instruction crosses the page's end.
    pub crosses: bool,
    /// First byte's offset in the page.
    pub offset: u16,
    /// Mode bits that decoding depends on.
    pub mode: u8,
    /// What coverage calls the page.
    pub name: Option<PageName>,
}

/// A straight run of instructions; only the last may be a branch.
#[derive(Debug)]
pub struct Block {
    /// The instructions.
    pub ops: Box<[Op]>,
    /// Length in bytes.
    pub bytes: u16,
    offset: u16,
    crosses: bool,
    /// Blocks of the same page that have followed this one.
    links: [AtomicU32; 2],
}

/// A block's place in its [`CodeStore`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockId(u32);

/// Blocks by what they were decoded from. They are never changed nor removed; a full
/// store is left by one CPU after the other, and goes with the last.
pub struct CodeStore {
    blocks: Box<[OnceLock<Block>]>,
    known: Mutex<HashMap<Origin, BlockId>>,
}

static CURRENT: Mutex<Option<Arc<CodeStore>>> = Mutex::new(None);

impl CodeStore {
    /// An empty store, which nobody else has, for `limit` blocks.
    pub fn with_room(limit: usize) -> Arc<CodeStore> {
        Arc::new(CodeStore {
            blocks: (0..limit).map(|_| OnceLock::new()).collect(),
            known: Mutex::default(),
        })
    }

    /// The process's store; never `full`, which the caller has found full.
    pub fn shared(full: Option<&Arc<CodeStore>>) -> Arc<CodeStore> {
        let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
        match &*current {
            Some(store) if full.is_none_or(|full| !Arc::ptr_eq(store, full)) => Arc::clone(store),
            _ => Arc::clone(current.insert(CodeStore::with_room(LIMIT))),
        }
    }

    /// The block at `id`.
    #[inline(always)]
    pub fn block(&self, id: BlockId) -> &Block {
        self.blocks[id.0 as usize]
            .get()
            .expect("ids are given out for blocks that are there")
    }

    /// The block of `origin`, if anybody has asked for it before.
    pub fn find(&self, origin: &Origin) -> Option<BlockId> {
        self.known().get(origin).copied()
    }

    /// Adds the block of `origin`, `bytes` long; `None` if the store is full.
    pub fn add(&self, origin: Origin, ops: &[Op], bytes: u16) -> Option<BlockId> {
        let mut known = self.known();
        // Another CPU may have been faster.
        if let Some(id) = known.get(&origin) {
            return Some(*id);
        }
        let id = BlockId(known.len() as u32);
        self.blocks.get(known.len())?.get_or_init(|| Block {
            ops: ops.into(),
            bytes,
            offset: origin.offset,
            crosses: origin.crosses,
            links: [const { AtomicU32::new(NOWHERE) }; 2],
        });
        known.insert(origin, id);
        Some(id)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Origin, BlockId>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The block at `offset` of the page of `from`, if it has followed before.
    #[inline(always)]
    pub fn follow(&self, from: BlockId, offset: u16) -> Option<BlockId> {
        for link in &self.block(from).links {
            // Whoever sees the link sees the block as well.
            let id = link.load(Ordering::Acquire);
            if id == NOWHERE {
                return None;
            }
            if self.block(BlockId(id)).offset == offset {
                return Some(BlockId(id));
            }
        }
        None
    }

    /// Remembers that `to`, which lies in the same page, has followed `from`.
    pub fn link(&self, from: BlockId, to: BlockId) {
        let block = self.block(from);
        if block.crosses || self.block(to).crosses {
            return;
        }
        for link in &block.links {
            // Whoever else links this block means the same by it, in some order.
            let free = link.compare_exchange(NOWHERE, to.0, Ordering::Release, Ordering::Relaxed);
            if free.is_ok() || free == Err(to.0) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(offset: u16, crosses: bool) -> Origin {
        Origin {
            bytes: 1,
            crosses,
            offset,
            mode: 0,
            name: None,
        }
    }

    #[test]
    fn a_block_is_kept_once_and_follows_what_it_was_linked_to() {
        let code = CodeStore::with_room(4);
        let ids = [0, 10, 20].map(|n| code.add(origin(n, false), &[], 10).unwrap());
        assert_eq!(code.add(origin(10, false), &[], 10), Some(ids[1]));
        assert_eq!(code.find(&origin(20, false)), Some(ids[2]));
        assert_eq!(code.follow(ids[0], 10), None);
        code.link(ids[0], ids[1]);
        code.link(ids[0], ids[1]);
        code.link(ids[0], ids[2]);
        code.link(ids[0], ids[0]);
        assert_eq!(code.follow(ids[0], 10), Some(ids[1]));
        assert_eq!(code.follow(ids[0], 20), Some(ids[2]));
        assert_eq!(code.follow(ids[0], 0), None, "there are two links");
    }

    #[test]
    fn an_instruction_that_crosses_pages_is_not_linked() {
        let code = CodeStore::with_room(4);
        let whole = code.add(origin(0, false), &[], 10).unwrap();
        let cut = code.add(origin(4090, true), &[], 10).unwrap();
        code.link(whole, cut);
        code.link(cut, whole);
        assert_eq!(code.follow(whole, 4090), None);
        assert_eq!(code.follow(cut, 0), None);
    }

    #[test]
    fn a_full_store_takes_no_more() {
        let code = CodeStore::with_room(1);
        let first = code.add(origin(0, false), &[], 1);
        assert!(first.is_some());
        assert_eq!(code.add(origin(1, false), &[], 1), None);
        assert_eq!(code.add(origin(0, false), &[], 1), first);
        assert!(!Arc::ptr_eq(&code, &CodeStore::shared(Some(&code))));
    }
}
