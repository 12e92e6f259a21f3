//! What a drive does wrong, by reproducible random decisions.
//!
//! Every request draws the same number of values whatever the faults are, so that changing
//! one fault does not reroll requests that it does not concern.

use crate::devices::random::RandomStream;

/// What is wrong with a drive. All rates are in parts per million.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct DiskFaults {
    /// Reads that fail.
    pub read_error_ppm: u32,
    /// Writes, discards too, that fail and change nothing.
    pub write_error_ppm: u32,
    /// Flushes that fail and make nothing durable.
    pub flush_error_ppm: u32,
    /// Writes that are reported as done, and of which only the first sectors were stored, at
    /// times none.
    pub torn_write_ppm: u32,
    /// Writes of which one bit is stored wrong.
    pub corruption_ppm: u32,
    /// Writes that land at another aligned place of the disk, and not at their own.
    pub misdirected_ppm: u32,
    /// What each request takes longer, in ns.
    pub slow_ns: u64,
}

/// What a drive did, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct DiskStats {
    /// Reads, failed ones too.
    pub reads: u64,
    /// Writes, failed ones too.
    pub writes: u64,
    /// Discards and writes of zeros, failed ones too.
    pub discards: u64,
    /// Flushes, failed ones too.
    pub flushes: u64,
    /// Reads that failed.
    pub read_errors: u64,
    /// Writes and discards that failed.
    pub write_errors: u64,
    /// Flushes that failed.
    pub flush_errors: u64,
    /// Writes of which only a part was stored.
    pub torn: u64,
    /// Writes that were stored with a wrong bit.
    pub corrupted: u64,
    /// Writes that landed elsewhere.
    pub misdirected: u64,
    /// Requests that took longer.
    pub slowed: u64,
    /// Unflushed writes that a power cut, or a drive that loses its cache, did not leave whole.
    pub lost: u64,
    /// Power cuts.
    pub power_cuts: u64,
}

/// The random part of one request's fate.
pub(super) struct Fate {
    /// Whether it fails is up to the rate that concerns it.
    error: u64,
    pub(super) torn: bool,
    pub(super) corrupted: bool,
    pub(super) misdirected: bool,
    at: [u64; 3],
}

/// A number below `n` that the random number `random` stands for.
fn scale(random: u64, n: u64) -> u64 {
    ((u128::from(random) * u128::from(n)) >> 64) as u64
}

impl Fate {
    /// Always draws seven values.
    pub(super) fn draw(faults: &DiskFaults, random: &mut RandomStream) -> Fate {
        Fate {
            error: random.next_u64(),
            torn: random.chance(faults.torn_write_ppm),
            corrupted: random.chance(faults.corruption_ppm),
            misdirected: random.chance(faults.misdirected_ppm),
            at: std::array::from_fn(|_| random.next_u64()),
        }
    }

    /// Whether a request of which `ppm` fail does.
    pub(super) fn fails(&self, ppm: u32) -> bool {
        scale(self.error, 1_000_000) < u64::from(ppm)
    }

    /// How many of a torn write's `sectors` are stored: not all.
    pub(super) fn sectors_stored(&self, sectors: u64) -> u64 {
        scale(self.at[0], sectors)
    }

    /// Which of `bits` bits is stored wrong.
    pub(super) fn wrong_bit(&self, bits: u64) -> u64 {
        scale(self.at[1], bits)
    }

    /// Which of `places` a misdirected write goes to, if not to number `own`.
    pub(super) fn place(&self, places: u64, own: u64) -> u64 {
        let other = scale(self.at[2], places.saturating_sub(1));
        other + u64::from(other >= own)
    }
}
