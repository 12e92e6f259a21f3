//! What became of the network's frames, in numbers.

/// What became of the frames, counted per receiver (a broadcast counts once for each).
///
/// What is sent and what is duplicated is, in the end, delivered or dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct NetworkStats {
    /// Frames that are delivered or on their way, copies included.
    pub delivered: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// Dropped between two sides of a partition.
    pub partitioned: u64,
    /// Lost at random.
    pub lost: u64,
    /// Dropped since the queue of a link of low bandwidth was full.
    pub congested: u64,
    /// Dropped since the receiver was off.
    pub down: u64,
    /// Dropped since too much waited for the receiver.
    pub overflowed: u64,
    /// Without a receiver, or too short for Ethernet.
    pub unroutable: u64,
    /// Frames of which a bit was flipped.
    pub corrupted: u64,
    /// Delivered frames that overtook another or were overtaken.
    pub reordered: u64,
    /// Copies that were made of frames.
    pub duplicated: u64,
    /// Frames that a clog held for a while, or still holds.
    pub held: u64,
}

impl NetworkStats {
    /// All frames that were dropped, whatever the cause.
    pub fn dropped(&self) -> u64 {
        self.partitioned
            + self.lost
            + self.congested
            + self.down
            + self.overflowed
            + self.unroutable
    }

    /// Counts a frame of `length` that is to arrive.
    pub(super) fn count(&mut self, length: usize) {
        self.delivered += 1;
        self.bytes += length as u64;
    }

    /// Takes back that a frame of `length` is to arrive.
    pub(super) fn uncount(&mut self, length: usize) {
        self.delivered -= 1;
        self.bytes -= length as u64;
    }
}
