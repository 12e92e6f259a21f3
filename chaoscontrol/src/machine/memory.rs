//! Snapshots of guest memory that share what did not change, and its hash.
//!
//! A snapshot is a two-level tree of reference-counted pages. Taking one copies the
//! pages that were written since the last; restoring one copies the pages that
//! differ from it: the cost of both grows with what a run wrote, not with memory.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::cpu::ram::{DIRTY, PAGE_SIZE, Ram, RamError, STALE};

/// Pages in a chunk, the unit that snapshots share above the page.
const CHUNK: usize = 128;
const PAGE: usize = PAGE_SIZE as usize;
const ZERO: [u8; PAGE] = [0; PAGE];

type Page = Arc<[u8; PAGE]>;
/// `None` is a page of zeros.
type Chunk = Arc<[Option<Page>; CHUNK]>;

/// Guest memory at one moment. Clones share everything.
#[derive(Clone, Debug)]
pub struct MemorySnapshot {
    chunks: Arc<[Option<Chunk>]>,
    pages: u64,
    owned: u64,
}

fn empty_chunk() -> Chunk {
    Arc::new([const { None }; CHUNK])
}

fn same<T>(a: Option<&Arc<T>>, b: Option<&Arc<T>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    }
}

impl MemorySnapshot {
    /// Memory of `pages` pages as it is when created: zeros.
    pub fn zeroed(pages: u64) -> MemorySnapshot {
        MemorySnapshot {
            chunks: vec![None; pages.div_ceil(CHUNK as u64) as usize].into(),
            pages,
            owned: 0,
        }
    }

    /// The memory of `ram`, which was taken as or restored to `base` when its DIRTY
    /// marks were last clear. Clears them.
    ///
    /// # Errors
    /// `base` is of another size.
    pub fn take(ram: &Ram, base: &MemorySnapshot) -> Result<MemorySnapshot, RamError> {
        base.check(ram)?;
        let mut chunks = base.chunks.to_vec();
        let mut owned = (chunks.len() * size_of::<Option<Chunk>>()) as u64;
        let mut changed = usize::MAX;
        let mut buffer = ZERO;
        ram.marks().drain(DIRTY, |pfn| {
            let (index, slot) = (pfn as usize / CHUNK, pfn as usize % CHUNK);
            ram.read(pfn * PAGE_SIZE, &mut buffer)
                .expect("a marked page is RAM");
            if *base.page(pfn) == buffer {
                return;
            }
            let chunk = Arc::make_mut(chunks[index].get_or_insert_with(empty_chunk));
            chunk[slot] = (buffer != ZERO).then(|| Arc::new(buffer));
            owned += if chunk[slot].is_some() { PAGE_SIZE } else { 0 };
            if changed != index {
                changed = index;
                owned += size_of_val(chunk) as u64;
            }
        });
        Ok(MemorySnapshot {
            chunks: chunks.into(),
            pages: base.pages,
            owned,
        })
    }

    /// Makes `ram` equal to this snapshot. `base` is what `ram` was taken as or restored
    /// to when its DIRTY marks were last clear. Clears them, and tells CPUs which pages
    /// with code or page tables changed.
    ///
    /// # Errors
    /// Either snapshot is of another size; nothing has changed then.
    pub fn restore(&self, ram: &Ram, base: &MemorySnapshot) -> Result<(), RamError> {
        self.check(ram)?;
        base.check(ram)?;
        let mut written = Vec::new();
        ram.marks().drain(DIRTY, |pfn| written.push(pfn));
        for pfn in written {
            ram.write(pfn * PAGE_SIZE, self.page(pfn))?;
        }
        if !Arc::ptr_eq(&self.chunks, &base.chunks) {
            for (index, (to, from)) in self.chunks.iter().zip(base.chunks.iter()).enumerate() {
                if same(to.as_ref(), from.as_ref()) {
                    continue;
                }
                for slot in 0..CHUNK {
                    let to = to.as_ref().and_then(|chunk| chunk[slot].as_ref());
                    let from = from.as_ref().and_then(|chunk| chunk[slot].as_ref());
                    if !same(to, from) {
                        let address = (index * CHUNK + slot) as u64 * PAGE_SIZE;
                        ram.write(address, to.map_or(&ZERO[..], |page| &page[..]))?;
                    }
                }
            }
        }
        ram.marks().drain(DIRTY, |_| {});
        Ok(())
    }

    /// Bytes that this snapshot holds and its base does not.
    pub fn owned_bytes(&self) -> u64 {
        self.owned
    }

    /// Bytes of pages that are not all zeros, whether or not other snapshots share them.
    pub fn used_bytes(&self) -> u64 {
        let pages = self.chunks.iter().flatten().flat_map(|chunk| chunk.iter());
        pages.flatten().count() as u64 * PAGE_SIZE
    }

    /// Size of the memory in pages.
    pub fn pages(&self) -> u64 {
        self.pages
    }

    fn page(&self, pfn: u64) -> &[u8; PAGE] {
        let chunk = self.chunks[pfn as usize / CHUNK].as_ref();
        match chunk.and_then(|chunk| chunk[pfn as usize % CHUNK].as_ref()) {
            Some(page) => page,
            None => &ZERO,
        }
    }

    fn check(&self, ram: &Ram) -> Result<(), RamError> {
        if self.pages == ram.pages() {
            Ok(())
        } else {
            Err(RamError::Size(self.pages * PAGE_SIZE))
        }
    }
}

/// A hash of all of memory that is kept up to date by hashing only written pages.
///
/// It is the sum over all pages of a mix of page number and content hash, so it does not
/// depend on the order of writes, nor on which machine the bytes were restored into.
#[derive(Debug)]
pub struct MemoryHash {
    pages: Vec<u64>,
    sum: u64,
    zero: u64,
}

impl MemoryHash {
    /// The hash of zeroed memory of `pages` pages.
    pub fn new(pages: u64) -> MemoryHash {
        MemoryHash {
            pages: vec![0; pages as usize],
            sum: 0,
            zero: xxh3_64(&ZERO),
        }
    }

    /// The hash of `ram`, always the same memory. Clears STALE marks.
    pub fn of(&mut self, ram: &Ram) -> u64 {
        let mut buffer = ZERO;
        ram.marks().drain(STALE, |pfn| {
            ram.read(pfn * PAGE_SIZE, &mut buffer)
                .expect("a marked page is RAM");
            let hash = xxh3_64(&buffer);
            let term = if hash == self.zero { 0 } else { mix(pfn, hash) };
            let old = std::mem::replace(&mut self.pages[pfn as usize], term);
            self.sum = self.sum.wrapping_add(term).wrapping_sub(old);
        });
        self.sum
    }
}

/// Spreads a page's number and content hash over 64 bits.
fn mix(pfn: u64, hash: u64) -> u64 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&pfn.to_le_bytes());
    bytes[8..].copy_from_slice(&hash.to_le_bytes());
    xxh3_64(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::ram::{CODE, FOREIGN};

    fn ram() -> Ram {
        Ram::new(1000 * PAGE_SIZE).unwrap()
    }

    fn byte(ram: &Ram, pfn: u64) -> u8 {
        let mut byte = [0];
        ram.read(pfn * PAGE_SIZE + 7, &mut byte).unwrap();
        byte[0]
    }

    fn set(ram: &Ram, pfn: u64, value: u8) {
        ram.write(pfn * PAGE_SIZE + 7, &[value]).unwrap();
    }

    #[test]
    fn restores_what_it_took() {
        let ram = ram();
        let zero = MemorySnapshot::zeroed(1000);
        set(&ram, 3, 1);
        set(&ram, 500, 2);
        let first = MemorySnapshot::take(&ram, &zero).unwrap();
        set(&ram, 3, 9);
        set(&ram, 999, 9);
        let second = MemorySnapshot::take(&ram, &first).unwrap();
        set(&ram, 999, 10);
        set(&ram, 7, 10);
        first.restore(&ram, &second).unwrap();
        assert_eq!([3, 500, 999, 7].map(|p| byte(&ram, p)), [1, 2, 0, 0]);
        second.restore(&ram, &first).unwrap();
        assert_eq!([3, 500, 999, 7].map(|p| byte(&ram, p)), [9, 2, 9, 0]);
        zero.restore(&ram, &second).unwrap();
        assert_eq!([3, 500, 999, 7].map(|p| byte(&ram, p)), [0; 4]);
    }

    #[test]
    fn shares_unchanged_pages() {
        let ram = ram();
        for pfn in 0..1000 {
            set(&ram, pfn, 1);
        }
        let first = MemorySnapshot::take(&ram, &MemorySnapshot::zeroed(1000)).unwrap();
        assert!(first.owned_bytes() > 1000 * PAGE_SIZE);
        set(&ram, 1, 2);
        set(&ram, 2, 2);
        set(&ram, 2, 1);
        let second = MemorySnapshot::take(&ram, &first).unwrap();
        assert!((PAGE_SIZE..3 * PAGE_SIZE).contains(&second.owned_bytes()));
        set(&ram, 3, 0);
        let third = MemorySnapshot::take(&ram, &second).unwrap();
        assert_eq!(second.used_bytes() - third.used_bytes(), PAGE_SIZE);
    }

    #[test]
    fn restored_code_is_reported() {
        let ram = ram();
        let zero = MemorySnapshot::zeroed(1000);
        set(&ram, 4, 1);
        let first = MemorySnapshot::take(&ram, &zero).unwrap();
        ram.marks().set(4, CODE);
        zero.restore(&ram, &first).unwrap();
        assert!(ram.marks().take_foreign());
        assert_eq!(
            ram.marks().get(4) & (CODE | FOREIGN | DIRTY),
            CODE | FOREIGN
        );
    }

    #[test]
    fn the_hash_follows_content_only() {
        let (a, b) = (ram(), ram());
        let (mut of_a, mut of_b) = (MemoryHash::new(1000), MemoryHash::new(1000));
        assert_eq!(of_a.of(&a), of_b.of(&b));
        let zero = MemorySnapshot::zeroed(1000);
        set(&a, 1, 1);
        set(&a, 2, 2);
        set(&b, 2, 2);
        assert_ne!(of_a.of(&a), of_b.of(&b));
        set(&b, 1, 1);
        assert_eq!(of_a.of(&a), of_b.of(&b));
        let snapshot = MemorySnapshot::take(&a, &zero).unwrap();
        set(&b, 5, 5);
        assert_ne!(of_a.of(&a), of_b.of(&b));
        snapshot.restore(&b, &zero).unwrap();
        assert_eq!(of_a.of(&a), of_b.of(&b));
    }
}
