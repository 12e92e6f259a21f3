//! One direction between two VMs: what a link with faults does to a frame.
//!
//! A frame draws the same number of values from its link's stream whatever the faults are,
//! so that changing one fault does not reroll the fate of frames that it does not concern.

use super::stats::NetworkStats;
use crate::machine::RandomStream;

/// Bytes that wait for a link of low bandwidth, as in the buffer of a switch's port; what
/// comes then is dropped.
const QUEUE_BYTES: u64 = 256 << 10;

/// Length of the Ethernet header, which corruption leaves alone: a switch that could not
/// read it would not know where to send the frame.
const HEADER: usize = 14;

/// The greatest time in ns by which a copy of a frame arrives after it.
const COPY_NS: u64 = 1_000_000;

const SECOND: u128 = 1_000_000_000;

/// What is wrong with a VM's connection. Where sender and receiver differ the worse counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LinkFaults {
    /// Added to the base latency, in ns.
    pub latency_ns: u64,
    /// Greatest random addition, in ns; order is kept.
    pub jitter_ns: u64,
    /// Frames lost, in parts per million.
    pub loss_ppm: u32,
    /// Greatest time in ns for which a frame is held back while others overtake it.
    pub reorder_ns: u64,
    /// Bytes that each of the VM's links carries in a second, in each direction; 0 is no limit.
    pub bytes_per_s: u64,
    /// Frames of which one bit behind the Ethernet header is flipped, in parts per million.
    pub corruption_ppm: u32,
    /// Frames that arrive twice, in parts per million.
    pub duplicate_ppm: u32,
}

impl LinkFaults {
    /// What holds for a link between two VMs: the worse of both for each kind.
    pub(super) fn worse(a: &LinkFaults, b: &LinkFaults) -> LinkFaults {
        let limits = [a.bytes_per_s, b.bytes_per_s].into_iter();
        LinkFaults {
            latency_ns: a.latency_ns.max(b.latency_ns),
            jitter_ns: a.jitter_ns.max(b.jitter_ns),
            loss_ppm: a.loss_ppm.max(b.loss_ppm),
            reorder_ns: a.reorder_ns.max(b.reorder_ns),
            bytes_per_s: limits.filter(|&limit| limit != 0).min().unwrap_or(0),
            corruption_ppm: a.corruption_ppm.max(b.corruption_ppm),
            duplicate_ppm: a.duplicate_ppm.max(b.duplicate_ppm),
        }
    }
}

/// One direction between two VMs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Link {
    random: RandomStream,
    /// Arrival of the last frame that kept its place.
    last: u64,
    /// T at which all that waits for a link of low bandwidth has left.
    busy: u64,
}

/// What the stream says about one frame.
struct Draws {
    lost: bool,
    jitter: u64,
    held: u64,
    corrupted: bool,
    bit: u64,
    duplicated: bool,
    behind: u64,
}

impl Link {
    pub(super) fn new(random: RandomStream) -> Link {
        Link {
            random,
            last: 0,
            busy: 0,
        }
    }

    /// Draws from another stream from now on.
    pub(super) fn reseed(&mut self, random: RandomStream) {
        self.random = random;
    }

    /// Later frames need not wait for earlier ones that are still on their way.
    pub(super) fn forget_order(&mut self) {
        self.last = 0;
    }

    /// Empties the queue for the link's bandwidth; what was in it is on its way.
    pub(super) fn forget_queue(&mut self) {
        self.busy = 0;
    }

    /// When and how a frame sent at T = `time` arrives, each copy of it, `latency_ns` being
    /// the least time; nowhere if it is dropped, as one behind a cut is.
    pub(super) fn pass(
        &mut self,
        time: u64,
        frame: &[u8],
        cut: bool,
        latency_ns: u64,
        faults: &LinkFaults,
        stats: &mut NetworkStats,
    ) -> Vec<(u64, Vec<u8>)> {
        let draws = self.draw(frame, faults);
        if cut {
            stats.partitioned += 1;
            return Vec::new();
        }
        if draws.lost {
            stats.lost += 1;
            return Vec::new();
        }
        let Some(left) = self.queue(time, frame.len() as u64, faults.bytes_per_s) else {
            stats.congested += 1;
            return Vec::new();
        };
        let mut frame = frame.to_vec();
        if draws.corrupted {
            frame[HEADER + (draws.bit / 8) as usize] ^= 1 << (draws.bit % 8);
            stats.corrupted += 1;
        }
        let due = left
            .saturating_add(latency_ns)
            .saturating_add(faults.latency_ns)
            .saturating_add(draws.jitter);
        let at = if draws.held == 0 {
            self.last = self.last.max(due);
            self.last
        } else {
            stats.reordered += 1;
            due.saturating_add(draws.held)
        };
        let mut copies = Vec::with_capacity(1);
        if draws.duplicated {
            stats.duplicated += 1;
            copies.push((at.saturating_add(draws.behind), frame.clone()));
        }
        copies.insert(0, (at, frame));
        copies
    }

    fn draw(&mut self, frame: &[u8], faults: &LinkFaults) -> Draws {
        let payload = frame.len().saturating_sub(HEADER) as u64;
        let random = &mut self.random;
        Draws {
            lost: random.chance(faults.loss_ppm),
            jitter: random.below(faults.jitter_ns.saturating_add(1)),
            held: random.below(faults.reorder_ns.saturating_add(1)),
            corrupted: random.chance(faults.corruption_ppm) && payload > 0,
            bit: random.below(payload * 8),
            duplicated: random.chance(faults.duplicate_ppm),
            behind: random.below(COPY_NS),
        }
    }

    /// T at which the last byte of a frame of `length` has left through a link of
    /// `bytes_per_s`, one frame after the other; `None` if too much waits already.
    fn queue(&mut self, time: u64, length: u64, bytes_per_s: u64) -> Option<u64> {
        if bytes_per_s == 0 {
            return Some(time);
        }
        let rate = u128::from(bytes_per_s);
        let begin = self.busy.max(time);
        let waiting = u128::from(begin - time) * rate / SECOND;
        if waiting + u128::from(length) > u128::from(QUEUE_BYTES) {
            return None;
        }
        let takes = (u128::from(length) * SECOND).div_ceil(rate);
        self.busy = begin.saturating_add(u64::try_from(takes).unwrap_or(u64::MAX));
        Some(self.busy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATENCY: u64 = 1_000_000;

    fn link() -> Link {
        Link::new(RandomStream::derive(7, "test", &[]))
    }

    fn pass(link: &mut Link, time: u64, length: usize, faults: &LinkFaults) -> Vec<(u64, Vec<u8>)> {
        let frame = vec![0; length];
        let stats = &mut NetworkStats::default();
        link.pass(time, &frame, false, LATENCY, faults, stats)
    }

    #[test]
    fn frames_leave_one_after_the_other_at_the_links_bandwidth() {
        let faults = LinkFaults {
            bytes_per_s: 1_000_000,
            ..LinkFaults::default()
        };
        let mut link = link();
        let times: Vec<u64> = (0..3)
            .map(|i| pass(&mut link, i, 1000, &faults)[0].0)
            .collect();
        assert_eq!(times, [1, 2, 3].map(|ms| ms * 1_000_000 + LATENCY));
        // Idle for a while: nothing is left to wait for.
        let at = pass(&mut link, 50_000_000, 100, &faults)[0].0;
        assert_eq!(at, 50_100_000 + LATENCY);
    }

    #[test]
    fn a_full_queue_drops_and_drains() {
        let faults = LinkFaults {
            bytes_per_s: 1 << 20,
            ..LinkFaults::default()
        };
        let (mut link, mut stats) = (link(), NetworkStats::default());
        let frame = [0; 1024];
        for _ in 0..300 {
            link.pass(0, &frame, false, LATENCY, &faults, &mut stats);
        }
        assert_eq!(stats.congested, 300 - 256);
        assert_eq!(stats.dropped(), stats.congested);
        assert_eq!(pass(&mut link, 0, 1024, &faults), []);
        assert_eq!(pass(&mut link, 1_000_000, 1024, &faults).len(), 1);
        let last = link.last;
        link.forget_queue();
        let at = pass(&mut link, 2_000_000, 1024, &LinkFaults::default())[0].0;
        assert_eq!(at, last, "order is kept");
    }

    #[test]
    fn corruption_flips_one_bit_behind_the_header() {
        let faults = LinkFaults {
            corruption_ppm: 1_000_000,
            ..LinkFaults::default()
        };
        let mut link = link();
        for length in 15..100 {
            let arrived = pass(&mut link, 0, length, &faults).remove(0).1;
            assert!(arrived[..14].iter().all(|byte| *byte == 0));
            assert_eq!(arrived.iter().map(|b| b.count_ones()).sum::<u32>(), 1);
        }
        assert_eq!(pass(&mut link, 0, 14, &faults)[0].1, [0; 14]);
    }

    #[test]
    fn duplicates_arrive_soon_after_the_frame() {
        let faults = LinkFaults {
            duplicate_ppm: 500_000,
            ..LinkFaults::default()
        };
        let mut link = link();
        let mut doubled = 0;
        for time in 0..200 {
            let copies = pass(&mut link, time, 60, &faults);
            assert!(copies.iter().all(|(_, frame)| frame == &copies[0].1));
            assert!(copies.iter().all(|(at, _)| at - copies[0].0 < COPY_NS));
            doubled += copies.len() - 1;
        }
        assert!((60..140).contains(&doubled), "{doubled}");
    }

    #[test]
    fn all_faults_together_draw_as_much_as_none() {
        let all = LinkFaults {
            latency_ns: 5,
            jitter_ns: 7,
            loss_ppm: 500_000,
            reorder_ns: 9,
            bytes_per_s: 1,
            corruption_ppm: 500_000,
            duplicate_ppm: 500_000,
        };
        let (mut sound, mut faulty) = (link(), link());
        for length in [14, 60, 1518] {
            pass(&mut sound, 0, length, &LinkFaults::default());
            pass(&mut faulty, 0, length, &all);
        }
        assert_eq!(sound.random, faulty.random);
        assert_eq!(
            LinkFaults::worse(&all, &LinkFaults::default()).bytes_per_s,
            1
        );
    }
}
