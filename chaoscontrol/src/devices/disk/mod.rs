//! A drive: its contents with their volatile cache, what is wrong with it, and its random
//! streams, apart from the device by which a guest reaches it.
//!
//! A drive outlives the machine around it: a restart takes it over to the next life.

mod contents;
mod faults;
pub mod image;

use std::hash::{Hash, Hasher};

pub use contents::{CACHE_LIMIT, Contents, PHYSICAL_BLOCK};
use faults::Fate;
pub use faults::{DiskFaults, DiskStats};
pub use image::{DiskImage, ImageError, SECTOR};

use super::random::RandomStream;

/// What a machine's disk is made from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DiskConfig {
    /// What it holds at first. It is shared by all machines, and never written to.
    pub image: DiskImage,
    /// The guest cannot write to it.
    pub read_only: bool,
    /// Says that a flush is done, and does nothing. No drive that anybody should buy: it is
    /// there so that tests of storage can show that they would notice.
    pub ignore_flush: bool,
}

impl DiskConfig {
    /// A sound disk that holds `image` at first.
    pub fn new(image: DiskImage) -> DiskConfig {
        DiskConfig {
            image,
            read_only: false,
            ignore_flush: false,
        }
    }
}

/// The drive could not do what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("the drive reports an I/O error")]
pub struct DriveError;

/// Bytes of the host's memory that a drive took since its last snapshot. No part of its
/// state: a snapshot changes it.
#[derive(Clone, Debug, Default)]
struct Taken {
    pages: u64,
    /// Of the cache; what was flushed since is gone again.
    cached: u64,
}

impl Hash for Taken {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl PartialEq for Taken {
    fn eq(&self, _: &Taken) -> bool {
        true
    }
}

impl Eq for Taken {}

/// A drive. Its clone is its snapshot, and shares what is equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Disk {
    contents: Contents,
    faults: DiskFaults,
    stats: DiskStats,
    /// Decides what its faults hit.
    random: RandomStream,
    /// Decides what a power cut leaves.
    cuts: RandomStream,
    read_only: bool,
    ignore_flush: bool,
    taken: Taken,
}

impl Disk {
    /// A sound drive; its random streams derive from `key`.
    pub fn new(config: &DiskConfig, key: &[u8; 32]) -> Disk {
        let mut disk = Disk {
            contents: Contents::new(config.image.clone()),
            faults: DiskFaults::default(),
            stats: DiskStats::default(),
            random: RandomStream::from_key(*key),
            cuts: RandomStream::from_key(*key),
            read_only: config.read_only,
            ignore_flush: config.ignore_flush,
            taken: Taken::default(),
        };
        disk.reseed(key);
        disk
    }

    /// Derives its random streams anew.
    pub fn reseed(&mut self, key: &[u8; 32]) {
        let stream = |purpose: &[u8]| RandomStream::from_bytes(&[key, purpose].concat());
        self.random = stream(b"disk faults");
        self.cuts = stream(b"disk power cuts");
    }

    /// Bytes of the disk.
    pub fn size(&self) -> u64 {
        self.contents.current().size()
    }

    /// Whether the guest can only read it.
    pub fn read_only(&self) -> bool {
        self.read_only
    }

    /// What it holds.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// What is wrong with it.
    pub fn faults(&self) -> &DiskFaults {
        &self.faults
    }

    /// What is wrong with it, to change it. A whole request sees one state of it.
    pub fn faults_mut(&mut self) -> &mut DiskFaults {
        &mut self.faults
    }

    /// What it did since it was made.
    pub fn stats(&self) -> &DiskStats {
        &self.stats
    }

    /// What a request that begins now takes longer, in ns.
    pub(super) fn delay(&mut self) -> u64 {
        self.stats.slowed += u64::from(self.faults.slow_ns > 0);
        self.faults.slow_ns
    }

    fn fate(&mut self) -> Fate {
        Fate::draw(&self.faults, &mut self.random)
    }

    /// Reads what lies at byte `offset`.
    ///
    /// # Errors
    /// As its faults say.
    pub fn read(&mut self, offset: u64, into: &mut [u8]) -> Result<(), DriveError> {
        self.stats.reads += 1;
        if self.fate().fails(self.faults.read_error_ppm) {
            self.stats.read_errors += 1;
            return Err(DriveError);
        }
        self.contents.current().read(offset, into);
        Ok(())
    }

    /// Writes whole sectors at byte `offset`, within the disk.
    ///
    /// # Errors
    /// As its faults say; nothing was written then.
    pub fn write(&mut self, offset: u64, bytes: &mut [u8]) -> Result<(), DriveError> {
        self.stats.writes += 1;
        let fate = self.fate();
        if self.read_only || fate.fails(self.faults.write_error_ppm) {
            self.stats.write_errors += 1;
            return Err(DriveError);
        }
        let length = bytes.len() as u64;
        let mut at = offset;
        if fate.misdirected {
            // Places lie as the write itself does within a physical block.
            let within = offset % PHYSICAL_BLOCK;
            let room = self.size().saturating_sub(length + within);
            let block = fate.place(room / PHYSICAL_BLOCK + 1, offset / PHYSICAL_BLOCK);
            let place = block * PHYSICAL_BLOCK + within;
            // A write as large as the disk has no other place.
            if place + length <= self.size() {
                at = place;
                self.stats.misdirected += 1;
            }
        }
        if fate.corrupted && length > 0 {
            let bit = fate.wrong_bit(length * 8);
            bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
            self.stats.corrupted += 1;
        }
        let mut stored = length;
        if fate.torn {
            stored = fate.sectors_stored(length / SECTOR) * SECTOR;
            self.stats.torn += 1;
        }
        let before = self.contents.held();
        self.taken.pages += self.contents.write(at, &bytes[..stored as usize]);
        self.taken.cached += self.contents.held().saturating_sub(before);
        Ok(())
    }

    /// Writes zeros to all `ranges` of (byte offset, bytes), within the disk.
    ///
    /// # Errors
    /// As its faults say; nothing was written then.
    pub fn zero(&mut self, ranges: &[(u64, u64)]) -> Result<(), DriveError> {
        self.stats.discards += 1;
        let fate = self.fate();
        if self.read_only || fate.fails(self.faults.write_error_ppm) {
            self.stats.write_errors += 1;
            return Err(DriveError);
        }
        for &(offset, length) in ranges {
            self.taken.pages += self.contents.zero(offset, length);
        }
        Ok(())
    }

    /// Makes all that was written durable.
    ///
    /// # Errors
    /// As its faults say; nothing became durable then.
    pub fn flush(&mut self) -> Result<(), DriveError> {
        self.stats.flushes += 1;
        if self.fate().fails(self.faults.flush_error_ppm) {
            self.stats.flush_errors += 1;
            return Err(DriveError);
        }
        self.destage();
        Ok(())
    }

    /// Makes all that was written durable without having been asked to.
    pub(super) fn destage(&mut self) {
        if !self.ignore_flush {
            self.contents.flush();
        }
    }

    /// The power fails: see [`Contents::power_cut`].
    pub fn power_cut(&mut self) {
        self.stats.power_cuts += 1;
        self.stats.lost += self.contents.power_cut(&mut self.cuts) as u64;
    }

    /// Loses all that was written since the last flush, and goes on.
    pub fn lose_unflushed(&mut self) {
        self.stats.lost += self.contents.lose() as u64;
    }

    /// Bytes of the host's memory that it took since the last call.
    pub fn take_owned_bytes(&mut self) -> u64 {
        let Taken { pages, cached } = std::mem::take(&mut self.taken);
        pages + cached.min(self.contents.held())
    }
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
