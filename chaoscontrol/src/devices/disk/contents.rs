//! What a disk holds: what is safe on the medium, and what its volatile write cache would
//! lose with the power.
//!
//! Reads see every write at once. Only a flush makes writes durable, or the drive itself,
//! oldest first, when its cache is full. What the cache holds is a log in the order of the
//! writes, so that a power cut can decide about each of them.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::image::DiskImage;
use crate::devices::random::RandomStream;

/// Bytes of writes that the cache holds at most.
pub const CACHE_LIMIT: u64 = 32 << 20;
/// Bytes that the drive writes whole or not at all when its power fails: a physical block,
/// as the device tells its driver.
pub const PHYSICAL_BLOCK: u64 = 4096;

/// What an entry of the log costs besides its bytes.
const ENTRY: u64 = size_of::<Write>() as u64;
/// How likely a write survives a power cut, of which each cut takes one.
const SURVIVAL_PPM: [u32; 5] = [0, 250_000, 500_000, 750_000, 1_000_000];

/// A write that is not durable yet.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Write {
    offset: u64,
    length: u64,
    /// `None` writes zeros.
    bytes: Option<Arc<[u8]>>,
    hash: u64,
}

impl Hash for Write {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        (self.offset, self.length, self.hash).hash(hasher);
    }
}

impl Write {
    fn cost(&self) -> u64 {
        ENTRY + self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)
    }

    /// Writes the part that lies from `start` to `end`, in bytes from its own start.
    fn apply(&self, to: &mut DiskImage, start: u64, end: u64) -> u64 {
        match &self.bytes {
            Some(bytes) => to.write(self.offset + start, &bytes[start as usize..end as usize]),
            None => to.zero(self.offset + start, end - start),
        }
    }

    /// What a power cut leaves of it: the start and the end of a part. Draws four values.
    fn remains(&self, survival_ppm: u32, random: &mut RandomStream) -> (u64, u64) {
        let first = self.offset / PHYSICAL_BLOCK;
        let last = (self.offset + self.length - 1) / PHYSICAL_BLOCK;
        let whole = random.chance(survival_ppm);
        let torn = random.chance(500_000) && survival_ppm > 0 && last > first;
        let border = (first + 1 + random.below(last - first)) * PHYSICAL_BLOCK - self.offset;
        let front = random.chance(500_000);
        match (whole, torn, front) {
            (true, ..) => (0, self.length),
            (false, false, _) => (0, 0),
            (false, true, true) => (0, border),
            (false, true, false) => (border, self.length),
        }
    }
}

/// A medium and the cache in front of it. Its clone is its snapshot.
///
/// Methods that write return how many bytes of the host's memory that took, [`Contents::held`]
/// aside.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Contents {
    /// With all writes.
    current: DiskImage,
    /// What no power cut can take.
    durable: DiskImage,
    /// The writes that lie between the two, oldest first.
    log: VecDeque<Write>,
    /// What they cost.
    held: u64,
}

impl Contents {
    /// A medium that holds `image`, all durable.
    pub fn new(image: DiskImage) -> Contents {
        Contents {
            current: image.clone(),
            durable: image,
            log: VecDeque::new(),
            held: 0,
        }
    }

    /// The bytes as a guest reads them.
    pub fn current(&self) -> &DiskImage {
        &self.current
    }

    /// The bytes as they are without what the cache holds.
    pub fn durable(&self) -> &DiskImage {
        &self.durable
    }

    /// Writes that are not durable yet.
    pub fn unflushed(&self) -> usize {
        self.log.len()
    }

    /// Bytes of the host's memory that hold those.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// Writes `bytes` at byte `offset`, within the disk.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> u64 {
        self.log(Write {
            offset,
            length: bytes.len() as u64,
            bytes: Some(bytes.into()),
            hash: xxh3_64(bytes),
        })
    }

    /// Writes `length` zeros at byte `offset`, within the disk.
    pub fn zero(&mut self, offset: u64, length: u64) -> u64 {
        self.log(Write {
            offset,
            length,
            bytes: None,
            hash: 0,
        })
    }

    fn log(&mut self, write: Write) -> u64 {
        if write.length == 0 {
            return 0;
        }
        self.held += write.cost();
        let mut taken = write.apply(&mut self.current, 0, write.length);
        self.log.push_back(write);
        while self.held > CACHE_LIMIT
            && let Some(oldest) = self.log.pop_front()
        {
            self.held -= oldest.cost();
            taken += oldest.apply(&mut self.durable, 0, oldest.length);
        }
        taken
    }

    /// Makes all writes durable.
    pub fn flush(&mut self) {
        self.durable = self.current.clone();
        self.log.clear();
        self.held = 0;
    }

    /// Loses all writes that are not durable, and returns how many.
    pub fn lose(&mut self) -> usize {
        let lost = self.log.len();
        self.current = self.durable.clone();
        self.log.clear();
        self.held = 0;
        lost
    }

    /// The power fails. Of each write that is not durable yet there remains, as `random`
    /// says, all, nothing, or what lies on one side of a border between physical blocks; and
    /// they reach the medium in any order. Returns how many did not survive whole.
    pub fn power_cut(&mut self, random: &mut RandomStream) -> usize {
        let survival = SURVIVAL_PPM[random.below(SURVIVAL_PPM.len() as u64) as usize];
        let remains = |write: &Write| write.remains(survival, random);
        let parts: Vec<(u64, u64)> = self.log.iter().map(remains).collect();
        let mut order: Vec<usize> = (0..parts.len()).collect();
        for i in (1..order.len()).rev() {
            order.swap(i, random.below(i as u64 + 1) as usize);
        }
        let mut damaged = 0;
        for i in order {
            let (write, (start, end)) = (&self.log[i], parts[i]);
            damaged += usize::from(end - start < write.length);
            write.apply(&mut self.durable, start, end);
        }
        self.lose();
        damaged
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const BLOCK: usize = PHYSICAL_BLOCK as usize;

    fn contents() -> Contents {
        Contents::new(DiskImage::zeroed(64 << 20).unwrap())
    }

    fn byte(image: &DiskImage, at: u64) -> u8 {
        let mut byte = [0];
        image.read(at, &mut byte);
        byte[0]
    }

    fn blocks<const N: usize>(contents: &Contents) -> [u8; N] {
        std::array::from_fn(|i| byte(contents.current(), (i * BLOCK) as u64))
    }

    #[test]
    fn only_flushed_writes_are_durable() {
        let mut disk = contents();
        disk.write(0, &[1; 512]);
        disk.flush();
        disk.write(512, &[2; 512]);
        disk.zero(0, 512);
        assert_eq!((byte(disk.current(), 0), byte(disk.current(), 512)), (0, 2));
        assert_eq!((byte(disk.durable(), 0), byte(disk.durable(), 512)), (1, 0));
        assert_eq!((disk.unflushed(), disk.held()), (2, 2 * ENTRY + 512));
        assert_eq!((disk.lose(), disk.unflushed(), disk.held()), (2, 0, 0));
        assert_eq!((byte(disk.current(), 0), byte(disk.current(), 512)), (1, 0));
    }

    #[test]
    fn a_full_cache_destages_the_oldest() {
        let mut disk = contents();
        let mib = vec![7; 1 << 20];
        for i in 0..40 {
            disk.write(i << 20, &mib);
        }
        assert!(disk.held <= CACHE_LIMIT);
        assert_eq!(disk.unflushed(), 31);
        assert_eq!(byte(disk.durable(), 8 << 20), 7);
        assert_eq!(byte(disk.durable(), 9 << 20), 0);
        for _ in 0..CACHE_LIMIT / ENTRY + 10 {
            disk.zero(0, 1);
        }
        assert!(disk.held <= CACHE_LIMIT, "writes of zeros are bounded too");
    }

    /// What 300 power cuts leave of `writes` of (block, blocks, value) over durable nines.
    fn outcomes<const N: usize>(writes: &[(usize, usize, u8)]) -> BTreeSet<[u8; N]> {
        let mut disk = contents();
        disk.write(0, &vec![9; N * BLOCK]);
        disk.flush();
        for &(at, count, value) in writes {
            disk.write((at * BLOCK) as u64, &vec![value; count * BLOCK]);
        }
        let cut = |seed| {
            let mut disk = disk.clone();
            disk.power_cut(&mut RandomStream::derive(seed, "test", &[]));
            assert_eq!((disk.unflushed(), disk.current()), (0, disk.durable()));
            blocks(&disk)
        };
        (0..300).map(cut).collect()
    }

    #[test]
    fn a_power_cut_keeps_any_subset_of_writes_and_blocks() {
        let two: BTreeSet<[u8; 2]> = outcomes(&[(0, 1, 1), (1, 1, 2)]);
        assert_eq!(two, [[1, 2], [1, 9], [9, 2], [9, 9]].into());
        let torn: BTreeSet<[u8; 3]> = outcomes(&[(0, 3, 1)]);
        let expected = [
            [1, 1, 1],
            [1, 1, 9],
            [1, 9, 9],
            [9, 9, 9],
            [9, 1, 1],
            [9, 9, 1],
        ];
        assert_eq!(torn, expected.into());
        let over: BTreeSet<[u8; 1]> = outcomes(&[(0, 1, 1), (0, 1, 2)]);
        assert_eq!(over, [[1], [2], [9]].into());
    }

    #[test]
    fn writes_that_survive_a_power_cut_reach_the_medium_in_any_order() {
        let mut disk = contents();
        disk.write(0, &[1; BLOCK]);
        disk.write(0, &[2; BLOCK]);
        let whole = |seed| {
            let mut disk = disk.clone();
            let damaged = disk.power_cut(&mut RandomStream::derive(seed, "test", &[]));
            (damaged == 0).then(|| byte(disk.current(), 0))
        };
        let last: BTreeSet<u8> = (0..100).filter_map(whole).collect();
        assert_eq!(last, [1, 2].into());
    }

    #[test]
    fn the_hash_covers_what_the_cache_holds() {
        let with = |first: u8, at: u64| {
            let mut disk = contents();
            disk.write(at, &[first; 512]);
            disk.write(0, &[9; 4096]);
            assert_eq!(byte(disk.current(), 0), 9);
            let mut hasher = xxhash_rust::xxh3::Xxh3::new();
            disk.hash(&mut hasher);
            hasher.finish()
        };
        let hashes = [with(1, 0), with(2, 0), with(1, 512), with(1, 0)];
        assert_eq!(hashes[0], hashes[3]);
        assert_eq!(BTreeSet::from(hashes).len(), 3);
    }

    #[test]
    fn a_power_cut_leaves_what_was_flushed_and_whole_blocks() {
        let mut disk = contents();
        disk.write(0, &[1; 3 * BLOCK]);
        disk.flush();
        disk.write(1024, &[2; 2048]);
        disk.write(2 * PHYSICAL_BLOCK - 512, &[3; 1024]);
        for seed in 0..100 {
            let mut cut = disk.clone();
            cut.power_cut(&mut RandomStream::derive(seed, "test", &[]));
            let image = cut.current();
            let part = [1024, 1536, 2560].map(|at| byte(image, at));
            assert!(part == [1; 3] || part == [2; 3], "{part:?}");
            assert_eq!([0, 3072, 4096].map(|at| byte(image, at)), [1; 3]);
        }
    }

    #[test]
    fn equal_streams_cut_equally() {
        let mut disk = contents();
        for i in 0..50 {
            disk.write(i * 8192, &[i as u8 + 1; 8192]);
        }
        let mut other = disk.clone();
        let stream = RandomStream::from_key([1; 32]);
        assert_eq!(
            disk.power_cut(&mut stream.clone()),
            other.power_cut(&mut stream.clone())
        );
        assert_eq!(disk, other);
    }
}
