//! The network between the VMs: a switch whose links fail by reproducible random decisions.
//!
//! Each direction of each pair of VMs is a link with a random stream of its own. What came
//! through its link, whatever that did to it, waits in front of a clog if there is one.

use std::collections::BTreeSet;

use super::link::{Link, LinkFaults};
use super::stats::NetworkStats;
use crate::machine::{RandomStream, TURN_NS};

/// The least latency of a link, and the length of a cluster's tick, in ns: what a VM
/// sends in a tick can't arrive in the same one, so VMs may run it in any order.
pub const TICK_NS: u64 = TURN_NS;

/// Bytes of frames that clogs hold for one VM; what comes then is dropped.
const MAX_HELD: u64 = 16 << 20;

/// A frame's arrival.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Arrival {
    /// T in ns.
    pub at: u64,
    /// The sending VM.
    pub from: usize,
    /// The receiving VM.
    pub to: usize,
    /// What arrives.
    pub frame: Vec<u8>,
}

/// A switch between the eth0 of all VMs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NetworkFabric {
    base_latency_ns: u64,
    faults: Vec<LinkFaults>,
    cuts: BTreeSet<(usize, usize)>,
    clogs: BTreeSet<usize>,
    /// What clogs hold, in the order in which it was sent.
    held: Vec<Arrival>,
    /// Bytes of that for each receiver.
    held_bytes: Vec<u64>,
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
        let links = 0..(vms * vms) as u64;
        NetworkFabric {
            base_latency_ns: base_latency_ns.max(TICK_NS),
            faults: vec![LinkFaults::default(); vms],
            cuts: BTreeSet::new(),
            clogs: BTreeSet::new(),
            held: Vec::new(),
            held_bytes: vec![0; vms],
            links: links.map(|link| Link::new(stream(seed, link))).collect(),
            stats: NetworkStats::default(),
        }
    }

    /// Derives the links' random streams anew, for a branch of its own.
    pub fn reseed(&mut self, seed: u64) {
        for (link, number) in self.links.iter_mut().zip(0..) {
            link.reseed(stream(seed, number));
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
        let other_rate = self.faults[vm].bytes_per_s != faults.bytes_per_s;
        self.faults[vm] = faults;
        let vms = self.faults.len();
        for (i, link) in self.links.iter_mut().enumerate() {
            if i / vms == vm || i % vms == vm {
                link.forget_order();
                if other_rate {
                    link.forget_queue();
                }
            }
        }
    }

    /// Drops all frames from a VM of `from` to one of `to`, until [`NetworkFabric::heal`].
    pub fn cut(&mut self, from: &[usize], to: &[usize]) {
        for &a in from {
            self.cuts.extend(to.iter().map(|&b| (a, b)));
        }
    }

    /// Holds all frames from and to VM `vm`, until [`NetworkFabric::release`] or
    /// [`NetworkFabric::heal`].
    pub fn clog(&mut self, vm: usize) {
        self.clogs.insert(vm);
    }

    /// Ends VM `vm`'s clog at T = `time`, and returns all that was held and no other clog
    /// holds: late, complete, and in the order in which it would have arrived.
    pub fn release(&mut self, time: u64, vm: usize) -> Vec<Arrival> {
        self.clogs.remove(&vm);
        let clogs = &self.clogs;
        let is_free = |a: &mut Arrival| !clogs.contains(&a.from) && !clogs.contains(&a.to);
        let mut released: Vec<Arrival> = self.held.extract_if(.., is_free).collect();
        released.sort_by_key(|arrival| arrival.at);
        let earliest = time.saturating_add(self.base_latency_ns);
        for arrival in &mut released {
            arrival.at = arrival.at.max(earliest);
            self.held_bytes[arrival.to] -= arrival.frame.len() as u64;
            self.stats.count(arrival.frame.len());
        }
        released
    }

    /// Ends all faults at T = `time`, and returns what clogs held; latency stays, the base's
    /// and what a fault added to it.
    pub fn heal(&mut self, time: u64) -> Vec<Arrival> {
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
        let clogs = std::mem::take(&mut self.clogs).into_iter();
        clogs.flat_map(|vm| self.release(time, vm)).collect()
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
            .flat_map(|to| self.pass(time, from, to, frame))
            .collect()
    }

    fn pass(&mut self, time: u64, from: usize, to: usize, frame: &[u8]) -> Vec<Arrival> {
        let faults = LinkFaults::worse(&self.faults[from], &self.faults[to]);
        let cut = self.cuts.contains(&(from, to));
        let link = &mut self.links[from * self.faults.len() + to];
        let latency = self.base_latency_ns;
        let copies = link.pass(time, frame, cut, latency, &faults, &mut self.stats);
        let arrivals = copies.into_iter().map(|(at, frame)| Arrival {
            at,
            from,
            to,
            frame,
        });
        if self.clogs.contains(&from) || self.clogs.contains(&to) {
            arrivals.for_each(|arrival| self.hold(arrival));
            return Vec::new();
        }
        arrivals
            .inspect(|arrival| self.stats.count(arrival.frame.len()))
            .collect()
    }

    fn hold(&mut self, arrival: Arrival) {
        let bytes = self.held_bytes[arrival.to] + arrival.frame.len() as u64;
        if bytes > MAX_HELD {
            self.stats.overflowed += 1;
        } else {
            self.stats.held += 1;
            self.held_bytes[arrival.to] = bytes;
            self.held.push(arrival);
        }
    }
}

fn stream(seed: u64, link: u64) -> RandomStream {
    RandomStream::derive(seed, "link", &[link])
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
        let mut receivers = |from, to| {
            let arrivals = net.send(5, from, &frame(to)).into_iter();
            let checked = arrivals.map(|a| {
                assert_eq!((a.at, a.from, a.frame), (5 + TICK_NS, from, frame(to)));
                a.to
            });
            checked.collect::<Vec<usize>>()
        };
        assert_eq!(receivers(0, mac(2)), [2]);
        assert_eq!(receivers(1, [0xFF; 6]), [0, 2]);
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
        assert_eq!(net.heal(0), []);
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

    #[test]
    fn a_clog_holds_and_releases_late_complete_and_in_order() {
        let mut net = fabric();
        let numbered = |n: u8, to| {
            let mut frame = frame(mac(to));
            frame[20] = n;
            frame
        };
        net.clog(1);
        net.clog(2);
        for n in 0..100 {
            assert_eq!(net.send(u64::from(n), 0, &numbered(n, 1)), []);
        }
        assert_eq!(net.send(100, 1, &numbered(0, 2)), []);
        assert_eq!(
            net.send(100, 0, &numbered(0, 1)).len() + net.send(0, 2, &[2]).len(),
            0
        );
        let late = 50 * TICK_NS;
        let released = net.clone().release(late, 1);
        let numbers = released.iter().map(|a| a.frame[20]);
        assert!(numbers.eq((0..100).chain([0])));
        assert!(released.iter().all(|a| (a.to, a.at) == (1, late + TICK_NS)));
        assert_eq!(net.stats().held, 102);
        assert_eq!(net.stats().delivered, 0);
        // Healing releases all, also what two clogs held.
        assert_eq!(net.heal(late).len(), 102);
        assert_eq!(net.stats().delivered, 102);
        assert_eq!(net.held_bytes, [0; 3]);
        assert_eq!(net.send(late, 0, &numbered(0, 1)).len(), 1);
    }

    #[test]
    fn a_release_keeps_what_other_clogs_hold_and_the_order_of_arrival() {
        let mut net = fabric();
        let reorder = LinkFaults {
            reorder_ns: 50_000_000,
            ..LinkFaults::default()
        };
        net.set_faults(0, reorder);
        let mut open = net.clone();
        let numbered = |n: u8| {
            let mut frame = frame(mac(1));
            frame[20] = n;
            frame
        };
        net.clog(1);
        net.clog(2);
        let mut expected: Vec<Arrival> = Vec::new();
        for n in 0..50 {
            expected.extend(open.send(0, 0, &numbered(n)));
            net.send(0, 0, &numbered(n));
            net.send(0, 2, &numbered(n));
        }
        expected.sort_by_key(|arrival| arrival.at);
        let order = |arrivals: &[Arrival]| {
            let numbers = arrivals.iter().map(|a| (a.from, a.frame[20]));
            numbers.collect::<Vec<_>>()
        };
        assert!(!order(&expected).is_sorted());
        let released = net.release(TICK_NS * 1000, 1);
        assert_eq!(order(&released), order(&expected));
        let rest = order(&net.release(TICK_NS * 1000, 2));
        assert_eq!(rest, (0..50).map(|n| (2, n)).collect::<Vec<_>>());
    }

    #[test]
    fn another_bandwidth_empties_the_queue() {
        let mut net = fabric();
        let rate = |bytes_per_s, latency_ns| LinkFaults {
            bytes_per_s,
            latency_ns,
            ..LinkFaults::default()
        };
        let mut at = |faults| {
            net.set_faults(0, faults);
            net.send(0, 0, &frame(mac(1)))[0].at - TICK_NS
        };
        assert_eq!(at(rate(1000, 0)), 60_000_000);
        assert_eq!(at(rate(1000, 5)), 120_000_005, "the queue is as it was");
        assert_eq!(at(rate(1_000_000, 0)), 60_000);
    }

    #[test]
    fn what_a_clog_holds_is_bounded() {
        let mut net = fabric();
        net.clog(0);
        let mut large = mac(0).to_vec();
        large.resize(1 << 20, 0);
        for _ in 0..20 {
            net.send(0, 1, &large);
        }
        assert_eq!((net.stats().held, net.stats().overflowed), (16, 4));
        assert_eq!(net.release(0, 0).len(), 16);
    }
}
