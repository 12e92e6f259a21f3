//! The network between the VMs: a switch whose links lose, delay and reorder by
//! reproducible random decisions.
//!
//! Each direction of each pair of VMs is a link with a random stream of its own. Every
//! frame draws the same number of values whatever the faults are, so that changing one
//! fault does not reroll the fate of frames that it does not concern.

use std::collections::BTreeSet;

use crate::machine::RandomStream;

/// The least latency of a link, and the length of a cluster's tick, in ns: what a VM
/// sends in a tick can't arrive in the same one, so VMs may run it in any order.
pub const TICK_NS: u64 = 1_000_000;

/// What is wrong with a VM's connection. Where sender and receiver differ the greater counts.
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
}

/// What became of the frames, counted per receiver (a broadcast counts once for each).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct NetworkStats {
    /// Frames that are delivered or on their way.
    pub delivered: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// Dropped between two sides of a partition.
    pub partitioned: u64,
    /// Lost at random.
    pub lost: u64,
    /// Dropped since the receiver was off.
    pub down: u64,
    /// Dropped since too much waited for the receiver.
    pub overflowed: u64,
    /// Without a receiver, or too short for Ethernet.
    pub unroutable: u64,
    /// Delivered frames that overtook another or were overtaken.
    pub reordered: u64,
}

impl NetworkStats {
    /// All frames that were dropped, whatever the cause.
    pub fn dropped(&self) -> u64 {
        self.partitioned + self.lost + self.down + self.overflowed + self.unroutable
    }
}

/// A frame's arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// T in ns.
    pub at: u64,
    /// The receiving VM.
    pub to: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Link {
    random: RandomStream,
    /// Arrival of the last frame that kept its place.
    last: u64,
}

/// A switch between the eth0 of all VMs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NetworkFabric {
    base_latency_ns: u64,
    faults: Vec<LinkFaults>,
    cuts: BTreeSet<(usize, usize)>,
    /// Link from `a` to `b` at `a * vms + b`.
    links: Vec<Link>,
    pub(super) stats: NetworkStats,
}

/// The Ethernet address of VM `index`.
pub fn mac(index: usize) -> [u8; 6] {
    [2, 0xCC, 0, 0, 0, index as u8]
}

impl NetworkFabric {
    /// A sound network between `vms` machines; a latency below [`TICK_NS`] counts as that.
    pub fn new(vms: usize, base_latency_ns: u64, seed: u64) -> NetworkFabric {
        let mut fabric = NetworkFabric {
            base_latency_ns: base_latency_ns.max(TICK_NS),
            faults: vec![LinkFaults::default(); vms],
            cuts: BTreeSet::new(),
            links: Vec::new(),
            stats: NetworkStats::default(),
        };
        fabric.links = (0..vms * vms)
            .map(|link| Link {
                random: RandomStream::derive(seed, "link", &[link as u64]),
                last: 0,
            })
            .collect();
        fabric
    }

    /// Derives the links' random streams anew, for a branch of its own.
    pub fn reseed(&mut self, seed: u64) {
        for (i, link) in self.links.iter_mut().enumerate() {
            link.random = RandomStream::derive(seed, "link", &[i as u64]);
        }
    }

    /// The counters since the network was made.
    pub fn stats(&self) -> &NetworkStats {
        &self.stats
    }

    /// What is wrong with VM `vm`'s connection.
    pub fn faults(&self, vm: usize) -> &LinkFaults {
        &self.faults[vm]
    }

    /// Sets what is wrong with VM `vm`'s connection. Later frames need not wait for
    /// earlier ones that are still on their way.
    pub fn set_faults(&mut self, vm: usize, faults: LinkFaults) {
        self.faults[vm] = faults;
        let vms = self.faults.len();
        for (i, link) in self.links.iter_mut().enumerate() {
            if i / vms == vm || i % vms == vm {
                link.last = 0;
            }
        }
    }

    /// Drops all frames from a VM of `from` to one of `to`, until [`NetworkFabric::heal`].
    pub fn cut(&mut self, from: &[usize], to: &[usize]) {
        for &a in from {
            self.cuts.extend(to.iter().map(|&b| (a, b)));
        }
    }

    /// Ends all faults; latency stays, the base's and what a fault added to it.
    pub fn heal(&mut self) {
        self.cuts.clear();
        for vm in 0..self.faults.len() {
            let latency_ns = self.faults[vm].latency_ns;
            self.set_faults(
                vm,
                LinkFaults {
                    latency_ns,
                    ..LinkFaults::default()
                },
            );
        }
    }

    /// Decides on a frame that VM `from` sends at T = `time`.
    pub fn send(&mut self, time: u64, from: usize, frame: &[u8]) -> Vec<Arrival> {
        let vms = self.faults.len();
        let receivers = match frame {
            [multicast, ..] if frame.len() >= 14 && multicast & 1 != 0 => 0..vms,
            [2, 0xCC, 0, 0, 0, to, ..] if frame.len() >= 14 && usize::from(*to) < vms => {
                usize::from(*to)..usize::from(*to) + 1
            }
            _ => 0..0,
        };
        let mut receivers = receivers.filter(|&to| to != from).peekable();
        if receivers.peek().is_none() {
            self.stats.unroutable += 1;
        }
        receivers
            .filter_map(|to| self.pass(time, from, to, frame.len()))
            .collect()
    }

    fn pass(&mut self, time: u64, from: usize, to: usize, length: usize) -> Option<Arrival> {
        let (a, b) = (&self.faults[from], &self.faults[to]);
        let loss = a.loss_ppm.max(b.loss_ppm);
        let latency = a.latency_ns.max(b.latency_ns);
        let jitter = a.jitter_ns.max(b.jitter_ns);
        let window = a.reorder_ns.max(b.reorder_ns);
        let link = &mut self.links[from * self.faults.len() + to];
        let lost = link.random.chance(loss);
        let jitter = link.random.below(jitter.saturating_add(1));
        let held = link.random.below(window.saturating_add(1));
        if self.cuts.contains(&(from, to)) {
            self.stats.partitioned += 1;
            return None;
        }
        if lost {
            self.stats.lost += 1;
            return None;
        }
        let due = time
            .saturating_add(self.base_latency_ns)
            .saturating_add(latency)
            .saturating_add(jitter);
        let at = if held == 0 {
            link.last = link.last.max(due);
            link.last
        } else {
            self.stats.reordered += 1;
            due.saturating_add(held)
        };
        self.stats.delivered += 1;
        self.stats.bytes += length as u64;
        Some(Arrival { at, to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(to: [u8; 6]) -> Vec<u8> {
        let mut frame = to.to_vec();
        frame.resize(60, 0);
        frame
    }

    fn fabric() -> NetworkFabric {
        NetworkFabric::new(3, 0, 7)
    }

    fn loss(loss_ppm: u32) -> LinkFaults {
        LinkFaults {
            loss_ppm,
            ..LinkFaults::default()
        }
    }

    #[test]
    fn frames_reach_whom_they_are_for() {
        let mut net = fabric();
        let one = net.send(5, 0, &frame(mac(2)));
        let at = 5 + TICK_NS;
        assert_eq!(one, [Arrival { at, to: 2 }]);
        let all = net.send(5, 1, &frame([0xFF; 6]));
        assert_eq!(all, [Arrival { at, to: 0 }, Arrival { at, to: 2 }]);
        assert!(net.send(5, 1, &frame(mac(1))).is_empty());
        assert!(net.send(5, 1, &frame(mac(3))).is_empty());
        assert!(net.send(5, 1, &[2]).is_empty());
        assert_eq!((net.stats().delivered, net.stats().unroutable), (3, 3));
    }

    #[test]
    fn partitions_have_directions_and_heal() {
        let mut net = fabric();
        net.cut(&[0], &[1, 2]);
        assert!(net.send(0, 0, &frame(mac(1))).is_empty());
        assert_eq!(net.send(0, 1, &frame(mac(0))).len(), 1);
        net.set_faults(1, loss(1_000_000));
        assert!(net.send(0, 2, &frame(mac(1))).is_empty());
        net.set_faults(
            0,
            LinkFaults {
                latency_ns: 7,
                loss_ppm: 5,
                ..LinkFaults::default()
            },
        );
        net.heal();
        assert_eq!((net.faults(0).latency_ns, net.faults(0).loss_ppm), (7, 0));
        net.set_faults(0, LinkFaults::default());
        assert_eq!(net.send(0, 0, &frame(mac(1))).len(), 1);
        assert_eq!((net.stats().partitioned, net.stats().lost), (1, 1));
    }

    #[test]
    fn jitter_keeps_order_and_reordering_does_not() {
        let in_order = |net: &mut NetworkFabric| {
            let times: Vec<u64> = (0..200)
                .map(|i| net.send(i * 1000, 0, &frame(mac(1)))[0].at)
                .collect();
            assert!(
                times
                    .iter()
                    .zip(0..)
                    .all(|(&at, i)| at >= i * 1000 + TICK_NS)
            );
            times.is_sorted()
        };
        let mut net = fabric();
        let mut faults = LinkFaults {
            jitter_ns: 50_000,
            ..LinkFaults::default()
        };
        net.set_faults(1, faults.clone());
        assert!(in_order(&mut net));
        faults.reorder_ns = 50_000;
        net.set_faults(1, faults);
        assert!(!in_order(&mut net));
    }

    #[test]
    fn a_fault_does_not_reroll_others() {
        let lost = |latency: u64| {
            let mut net = fabric();
            net.set_faults(
                0,
                LinkFaults {
                    latency_ns: latency,
                    ..loss(300_000)
                },
            );
            let fates: Vec<bool> = (0..100)
                .map(|i| net.send(i, 0, &frame(mac(1))).is_empty())
                .collect();
            fates
        };
        assert_eq!(lost(0), lost(5_000_000));
        assert!((15..45).contains(&lost(0).iter().filter(|l| **l).count()));
    }
}
