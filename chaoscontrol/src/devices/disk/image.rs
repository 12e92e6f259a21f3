//! A disk's bytes, of which everybody who has a copy shares what is equal.
//!
//! A two-level tree of reference-counted 4 KiB pages: a clone costs one reference, a write
//! copies the pages it touches if somebody else has them too, and a page of zeros is no
//! page. Its hash is kept up to date by each write, so that hashing costs nothing.

use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Bytes of a sector, the unit that a guest addresses (virtio 1.2, section 5.2).
pub const SECTOR: u64 = 512;
/// Bytes of the largest disk: 64 GiB.
pub const MAX_SIZE: u64 = 64 << 30;

/// Bytes of a page, the unit that is shared.
const PAGE: usize = 4096;
/// Pages in a chunk, the unit that is shared above the page.
const CHUNK: usize = 128;

/// Why there is no disk image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// No size for a disk.
    #[error("a disk of {0} bytes is not possible: take a multiple of {SECTOR} bytes, up to 64 GiB")]
    Size(u64),
    /// The bytes cannot be read.
    #[error("the disk's bytes could not be read: {0}")]
    Read(#[from] io::Error),
}

#[derive(Clone)]
struct Page {
    bytes: [u8; PAGE],
    /// What the page adds to the image's hash.
    term: u64,
}

/// `None` is a page of zeros.
type Chunk = [Option<Arc<Page>>; CHUNK];

/// A disk's bytes at one moment. Clones share everything; what is written to one does not
/// show in another.
///
/// ```
/// use chaoscontrol::machine::DiskImage;
///
/// let base = DiskImage::zeroed(64 << 20)?;
/// let mut other = base.clone();
/// other.write(4096, b"hello");
/// assert_ne!(base, other);
/// other.zero(0, 8192);
/// assert_eq!(base, other);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct DiskImage {
    chunks: Arc<Vec<Option<Arc<Chunk>>>>,
    size: u64,
    sum: u64,
}

impl DiskImage {
    /// A disk of `size` bytes, all zeros. It takes next to no memory.
    ///
    /// # Errors
    /// A size that is no multiple of [`SECTOR`], 0, or above [`MAX_SIZE`].
    pub fn zeroed(size: u64) -> Result<DiskImage, ImageError> {
        if size == 0 || size > MAX_SIZE || !size.is_multiple_of(SECTOR) {
            return Err(ImageError::Size(size));
        }
        let chunks = size.div_ceil((PAGE * CHUNK) as u64);
        Ok(DiskImage {
            chunks: Arc::new(vec![None; chunks as usize]),
            size,
            sum: 0,
        })
    }

    /// A disk of the `size` bytes that `from` gives. Pages of zeros take no memory.
    ///
    /// # Errors
    /// As [`DiskImage::zeroed`], and those of `from`, which may not end before.
    pub fn read_from(mut from: impl Read, size: u64) -> Result<DiskImage, ImageError> {
        let mut image = DiskImage::zeroed(size)?;
        let mut buffer = vec![0; PAGE * CHUNK];
        let mut at = 0;
        while at < size {
            let part = (size - at).min(buffer.len() as u64) as usize;
            from.read_exact(&mut buffer[..part])?;
            image.write(at, &buffer[..part]);
            at += part as u64;
        }
        Ok(image)
    }

    /// Writes all bytes to `to`.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn write_to(&self, mut to: impl Write) -> io::Result<()> {
        let mut buffer = [0; PAGE];
        let mut at = 0;
        while at < self.size {
            let part = (self.size - at).min(PAGE as u64) as usize;
            self.read(at, &mut buffer[..part]);
            to.write_all(&buffer[..part])?;
            at += part as u64;
        }
        Ok(())
    }

    /// Bytes of the disk.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Copies out what lies at byte `offset`. Beyond the end there are zeros.
    pub fn read(&self, offset: u64, into: &mut [u8]) {
        into.fill(0);
        for (page, within, from, part) in parts(offset, self.clip(offset, into.len() as u64)) {
            let (index, slot) = (page / CHUNK, page % CHUNK);
            if let Some(page) = self.chunks[index].as_ref().and_then(|c| c[slot].as_ref()) {
                into[from..from + part].copy_from_slice(&page.bytes[within..within + part]);
            }
        }
    }

    /// Writes `bytes` at byte `offset`, as far as the disk reaches. Returns how many bytes
    /// of the host's memory that took.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> u64 {
        let length = self.clip(offset, bytes.len() as u64);
        let parts = parts(offset, length).map(|(page, within, from, part)| {
            self.change(page, |page| {
                page[within..within + part].copy_from_slice(&bytes[from..from + part]);
            })
        });
        parts.sum()
    }

    /// Writes `length` zeros at byte `offset`, as far as the disk reaches. Returns how many
    /// bytes of the host's memory that took; whole pages give theirs back.
    pub fn zero(&mut self, offset: u64, length: u64) -> u64 {
        let parts = parts(offset, self.clip(offset, length)).map(|(page, within, _, part)| {
            let (index, slot) = (page / CHUNK, page % CHUNK);
            let there = self.chunks[index]
                .as_ref()
                .is_some_and(|c| c[slot].is_some());
            if !there {
                return 0;
            }
            self.change(page, |page| page[within..within + part].fill(0))
        });
        parts.sum()
    }

    /// How many of `length` bytes at `offset` are on the disk.
    fn clip(&self, offset: u64, length: u64) -> u64 {
        length.min(self.size.saturating_sub(offset))
    }

    /// Lets `change` write to page number `page`; the bytes of memory that it took.
    fn change(&mut self, page: usize, change: impl FnOnce(&mut [u8; PAGE])) -> u64 {
        let (index, slot) = (page / CHUNK, page % CHUNK);
        let chunk = &mut Arc::make_mut(&mut self.chunks)[index];
        let mut taken = 0;
        let chunk = chunk.get_or_insert_with(|| Arc::new([const { None }; CHUNK]));
        if Arc::get_mut(chunk).is_none() {
            taken += size_of::<Chunk>() as u64;
        }
        let entry = &mut Arc::make_mut(chunk)[slot];
        if entry.as_mut().and_then(Arc::get_mut).is_none() {
            taken += size_of::<Page>() as u64;
        }
        let page_of_zeros = || {
            Arc::new(Page {
                bytes: [0; PAGE],
                term: 0,
            })
        };
        let written = Arc::make_mut(entry.get_or_insert_with(page_of_zeros));
        change(&mut written.bytes);
        let before = written.term;
        if written.bytes == [0; PAGE] {
            *entry = None;
            self.sum = self.sum.wrapping_sub(before);
            return 0;
        }
        written.term = xxh3_64_with_seed(&written.bytes, page as u64);
        self.sum = self.sum.wrapping_sub(before).wrapping_add(written.term);
        taken
    }

    /// Bytes of the host's memory that hold this image, shared ones included.
    pub fn held_bytes(&self) -> u64 {
        let chunks = self.chunks.iter().flatten();
        let pages = chunks.clone().map(|chunk| chunk.iter().flatten().count());
        (pages.sum::<usize>() * size_of::<Page>() + chunks.count() * size_of::<Chunk>()) as u64
    }
}

/// The parts of pages that make up `length` bytes at `offset`: number of the page, place
/// within it, place within the bytes, length.
fn parts(offset: u64, length: u64) -> impl Iterator<Item = (usize, usize, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done;
        let within = (at % PAGE as u64) as usize;
        let part = (length - done).min((PAGE - within) as u64) as usize;
        let from = done as usize;
        done += part as u64;
        (part > 0).then_some(((at / PAGE as u64) as usize, within, from, part))
    })
}

fn bytes(page: &Option<Arc<Page>>) -> Option<&[u8; PAGE]> {
    page.as_ref().map(|page| &page.bytes)
}

impl Hash for DiskImage {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        (self.size, self.sum).hash(hasher);
    }
}

impl PartialEq for DiskImage {
    fn eq(&self, other: &DiskImage) -> bool {
        let same_chunk = |a: &Chunk, b: &Chunk| a.iter().map(bytes).eq(b.iter().map(bytes));
        let empty = [const { None }; CHUNK];
        let same = |(a, b): (&Option<Arc<Chunk>>, &Option<Arc<Chunk>>)| match (a, b) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b) || same_chunk(a, b),
            (Some(one), None) | (None, Some(one)) => same_chunk(one, &empty),
            (None, None) => true,
        };
        self.size == other.size
            && self.sum == other.sum
            && (Arc::ptr_eq(&self.chunks, &other.chunks)
                || self.chunks.iter().zip(other.chunks.iter()).all(same))
    }
}

impl Eq for DiskImage {}

impl std::fmt::Debug for DiskImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DiskImage({} bytes, {:016x})", self.size, self.sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn hash(image: &DiskImage) -> u64 {
        let mut hasher = xxhash_rust::xxh3::Xxh3::new();
        image.hash(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn reads_what_was_written_across_pages_and_chunks() {
        let mut image = DiskImage::zeroed(2 * MIB).unwrap();
        let bytes: Vec<u8> = (0..MIB).map(|i| (i % 251) as u8).collect();
        image.write(12_345, &bytes);
        let mut back = vec![0xEE; bytes.len() + 2];
        image.read(12_344, &mut back);
        assert_eq!(back[0], 0);
        assert_eq!(back[1..=bytes.len()], bytes);
        assert_eq!(back[bytes.len() + 1], 0);
    }

    #[test]
    fn nothing_lies_beyond_the_end() {
        let mut image = DiskImage::zeroed(5 * SECTOR).unwrap();
        let before = hash(&image);
        assert_eq!(image.write(5 * SECTOR, &[1; 512]), 0);
        assert_eq!(image.write(u64::MAX, &[1; 512]), 0);
        assert_eq!(hash(&image), before);
        image.write(4 * SECTOR, &[1; 1024]);
        let mut back = [7; 1024];
        image.read(4 * SECTOR, &mut back);
        assert_eq!((back[511], back[512]), (1, 0));
    }

    #[test]
    fn clones_share_what_is_equal() {
        let base = DiskImage::read_from(&vec![1; MIB as usize][..], MIB).unwrap();
        let mut fork = base.clone();
        let page = size_of::<Page>() as u64;
        assert_eq!(fork.write(0, &[2; 512]), page + size_of::<Chunk>() as u64);
        assert_eq!(fork.write(0, &[3; 4096]), 0, "the page is its own by now");
        assert_eq!(fork.write(8192, &[3; 4096]), page);
        let mut byte = [0];
        base.read(0, &mut byte);
        assert_eq!(byte, [1]);
        assert_ne!(base, fork);
    }

    /// Bytes of the host's memory that hold `image` and not `other`.
    fn unshared(image: &DiskImage, other: &DiskImage) -> usize {
        fn own<T>(one: &Arc<T>, other: Option<&Arc<T>>) -> usize {
            match other {
                Some(other) if Arc::ptr_eq(one, other) => 0,
                _ => size_of::<T>(),
            }
        }
        let chunks = image.chunks.iter().zip(other.chunks.iter());
        let of_chunk = |(chunk, other): (&Arc<Chunk>, Option<&Arc<Chunk>>)| {
            let pages = (0..CHUNK).map(|slot| {
                let other = other.and_then(|other| other[slot].as_ref());
                chunk[slot].as_ref().map_or(0, |page| own(page, other))
            });
            own(chunk, other) + pages.sum::<usize>()
        };
        let both = chunks.filter_map(|(chunk, other)| Some((chunk.as_ref()?, other.as_ref())));
        both.map(of_chunk).sum()
    }

    #[test]
    fn a_copy_of_a_large_disk_costs_what_is_written_to_it() {
        let mut base = DiskImage::zeroed(512 * MIB).unwrap();
        base.write(0, &vec![1; 16 * MIB as usize]);
        let mut copy = base.clone();
        assert_eq!(unshared(&copy, &base), 0);
        let taken = copy.write(8 * MIB + 512, &vec![2; MIB as usize]);
        let own = unshared(&copy, &base) as u64;
        assert!((MIB..MIB + MIB / 64).contains(&own), "{own}");
        assert_eq!(own, taken, "it is what the write says");
    }

    #[test]
    fn zeros_cost_nothing() {
        let mut image = DiskImage::zeroed(512 * MIB).unwrap();
        image.write(0, &vec![0; MIB as usize]);
        image.zero(0, 512 * MIB);
        assert!(image.held_bytes() < 4096);
        image.write(0, &vec![5; MIB as usize]);
        assert!(image.held_bytes() > MIB);
        image.zero(0, MIB);
        assert!(image.held_bytes() < 16_384);
        assert_eq!(image, DiskImage::zeroed(512 * MIB).unwrap());
    }

    #[test]
    fn the_hash_follows_content_only() {
        let mut image = DiskImage::zeroed(MIB).unwrap();
        let mut other = image.clone();
        image.write(0, b"a");
        image.write(70_000, b"b");
        other.write(70_000, b"x");
        other.write(0, b"a");
        assert_ne!(hash(&image), hash(&other));
        other.write(70_000, b"b");
        assert_eq!((hash(&image), &image), (hash(&other), &other));
        other.write(70_000 + 4096, b"b");
        other.zero(70_000, 1);
        assert_ne!(hash(&image), hash(&other), "the same page elsewhere");
    }

    #[test]
    fn impossible_images_are_refused() {
        for size in [0, 511, 513, MAX_SIZE + SECTOR] {
            let error = DiskImage::zeroed(size).unwrap_err();
            assert!(error.to_string().contains(&size.to_string()));
        }
        let short = DiskImage::read_from(&[0; 100][..], 512).unwrap_err();
        assert!(matches!(short, ImageError::Read(_)), "{short}");
        let mut bytes = Vec::new();
        let image = DiskImage::read_from(&[9; 1024][..], 1024).unwrap();
        image.write_to(&mut bytes).unwrap();
        assert_eq!(bytes, [9; 1024]);
    }
}
