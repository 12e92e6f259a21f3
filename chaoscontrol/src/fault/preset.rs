//! Schedules with a plan behind them, by the names under which people know them: what a random
//! handful of faults would rarely come to.

use std::ops::Range;

use super::catalogue::{Fault, FaultKind};
use super::schedule::ScheduledFault;
use super::stream::Stream;

const MS: u64 = 1_000_000;

/// A plan of faults; which servers and when is drawn anew for each schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Preset {
    /// One server after another is cut off from all others for a while.
    IsolateOne,
    /// Every server hears a majority, and no two the same one.
    MajoritiesRing,
    /// Two halves that only one server between them still joins.
    Bridge,
    /// Servers are clogged one after another and released in another order.
    SwizzleClog,
    /// Server after server loses its power and comes back.
    RollingRestart,
    /// The wall clocks of some servers jump to and fro for a while.
    StrobeClock,
}

/// What is known of a preset.
struct Known {
    preset: Preset,
    name: &'static str,
    /// Servers it needs at least.
    servers: usize,
    /// The kinds of faults it is made of.
    kinds: &'static [FaultKind],
}

use FaultKind as K;

static PRESETS: [Known; 6] = [
    Known {
        preset: Preset::IsolateOne,
        name: "isolate-one",
        servers: 2,
        kinds: &[K::Partition, K::Heal],
    },
    Known {
        preset: Preset::MajoritiesRing,
        name: "majorities-ring",
        servers: 3,
        kinds: &[K::OneWayPartition, K::Heal],
    },
    Known {
        preset: Preset::Bridge,
        name: "bridge",
        servers: 3,
        kinds: &[K::Partition, K::Heal],
    },
    Known {
        preset: Preset::SwizzleClog,
        name: "swizzle-clog",
        servers: 1,
        kinds: &[K::Clog, K::Release],
    },
    Known {
        preset: Preset::RollingRestart,
        name: "rolling-restart",
        servers: 1,
        kinds: &[K::Kill, K::Restart],
    },
    Known {
        preset: Preset::StrobeClock,
        name: "strobe-clock",
        servers: 1,
        kinds: &[K::ClockStrobe],
    },
];

impl Preset {
    fn known(self) -> &'static Known {
        let mut all = PRESETS.iter();
        all.find(|known| known.preset == self)
            .expect("every preset stands in the table")
    }

    /// Its name in `preset = ...`.
    pub fn name(self) -> &'static str {
        self.known().name
    }

    /// The kinds of faults it is made of.
    pub fn kinds(self) -> &'static [FaultKind] {
        self.known().kinds
    }

    /// The servers it needs at least.
    pub fn servers(self) -> usize {
        self.known().servers
    }

    /// Every preset.
    pub fn all() -> impl ExactSizeIterator<Item = Preset> + Clone {
        PRESETS.iter().map(|known| known.preset)
    }

    /// The preset with this name.
    ///
    /// # Errors
    /// A sentence that says the name is unknown, with all that there are.
    pub fn by_name(name: &str) -> Result<Preset, String> {
        let found = Preset::all().find(|preset| preset.name() == name);
        found.ok_or_else(|| {
            let names: Vec<_> = Preset::all().map(Preset::name).collect();
            format!(
                "unknown preset `{name}`; the presets are {}",
                names.join(", ")
            )
        })
    }

    /// The plan for a cluster with so many servers, within `duration_ns` from setup. Empty if
    /// there are fewer than [`Preset::servers`].
    pub fn draw(
        self,
        servers: usize,
        duration_ns: u64,
        stream: &mut Stream,
    ) -> Vec<ScheduledFault> {
        let mut plan = Plan {
            faults: Vec::new(),
            duration_ns,
        };
        if servers < self.servers() {
            return plan.faults;
        }
        let mut now = stream.below(1000) * MS;
        while now < duration_ns {
            let hold = (100 + stream.below(3000)) * MS;
            let order = shuffled(servers, stream);
            match self {
                Preset::IsolateOne => {
                    plan.partition(now, vec![order[0]], order[1..].to_vec());
                    plan.at(now + hold, Fault::NetworkHeal);
                }
                Preset::MajoritiesRing => {
                    for (to, unheard) in ring(&order) {
                        let fault = Fault::NetworkPartitionOneWay {
                            from: unheard,
                            to: vec![to],
                        };
                        plan.at(now, fault);
                    }
                    plan.at(now + hold, Fault::NetworkHeal);
                }
                Preset::Bridge => {
                    let half = (servers - 1) / 2;
                    plan.partition(now, order[1..=half].to_vec(), order[half + 1..].to_vec());
                    plan.at(now + hold, Fault::NetworkHeal);
                }
                Preset::SwizzleClog => {
                    let some = &order[..1 + stream.index(servers)];
                    let apart = hold / (2 * some.len() as u64);
                    for (i, &target) in (0..).zip(some) {
                        plan.at(now + i * apart, Fault::NetworkClog { target });
                    }
                    for (i, at) in (0..).zip(shuffled(some.len(), stream)) {
                        let fault = Fault::NetworkRelease { target: some[at] };
                        plan.at(now + hold / 2 + i * apart, fault);
                    }
                }
                Preset::StrobeClock => {
                    let strobe = |target, offset_ns| Fault::ClockStrobe {
                        target,
                        offset_ns,
                        period_ns: 100 * MS,
                    };
                    for &target in &order[..1 + stream.index(servers)] {
                        let offset_ns = stream.range(1, 60_000) * MS as i64;
                        plan.at(now, strobe(target, offset_ns));
                        plan.at(now + hold, strobe(target, 0));
                    }
                }
                Preset::RollingRestart => {
                    for target in 0..servers {
                        plan.at(now, Fault::ProcessKill { target });
                        now += hold / 2;
                        plan.at(now, Fault::ProcessRestart { target });
                        now += hold / 2;
                    }
                    now -= hold;
                }
            }
            now += hold + (100 + stream.below(2000)) * MS;
        }
        plan.faults
    }
}

struct Plan {
    faults: Vec<ScheduledFault>,
    duration_ns: u64,
}

impl Plan {
    fn at(&mut self, at_ns: u64, fault: Fault) {
        if at_ns < self.duration_ns {
            self.faults.push(ScheduledFault { at_ns, fault });
        }
    }

    fn partition(&mut self, at_ns: u64, mut side_a: Vec<usize>, mut side_b: Vec<usize>) {
        side_a.sort_unstable();
        side_b.sort_unstable();
        self.at(at_ns, Fault::NetworkPartition { side_a, side_b });
    }
}

/// The servers in random order.
fn shuffled(servers: usize, stream: &mut Stream) -> Vec<usize> {
    let mut order: Vec<usize> = (0..servers).collect();
    for i in (1..servers).rev() {
        order.swap(i, stream.index(i + 1));
    }
    order
}

/// Each server of a ring with those that it does not hear: all but itself and enough of those
/// that follow it to make a majority.
fn ring(order: &[usize]) -> impl Iterator<Item = (usize, Vec<usize>)> {
    let servers = order.len();
    let majority = servers / 2 + 1;
    let unheard: Range<usize> = majority..servers;
    (0..servers).map(move |i| {
        let mut from: Vec<usize> = unheard
            .clone()
            .map(|distance| order[(i + distance) % servers])
            .collect();
        from.sort_unstable();
        (order[i], from)
    })
}

#[cfg(test)]
mod tests {
    use super::super::FaultSchedule;
    use super::*;
    use std::collections::BTreeSet;

    const SEC: u64 = 1000 * MS;

    #[test]
    fn every_plan_fits_its_cluster_and_consists_of_its_kinds() {
        for preset in Preset::all() {
            assert_eq!(Preset::by_name(preset.name()), Ok(preset));
            for servers in 0..7 {
                for seed in 0..50 {
                    let mut stream = Stream::new(seed, "preset", &[]);
                    let faults = preset.draw(servers, 10 * SEC, &mut stream);
                    assert_eq!(faults.is_empty(), servers < preset.servers(), "{preset:?}");
                    let kinds = faults.iter().map(|f| f.fault.kind());
                    assert!(kinds.clone().all(|kind| preset.kinds().contains(&kind)));
                    let schedule = FaultSchedule::new(faults);
                    schedule.check(servers, 10 * SEC).unwrap();
                    assert_eq!(schedule.to_string().parse(), Ok(schedule));
                }
            }
        }
        assert!(Preset::by_name("brige").unwrap_err().contains("bridge"));
    }

    #[test]
    fn in_a_ring_everyone_hears_another_majority() {
        for servers in 3..8 {
            let order: Vec<usize> = (0..servers).collect();
            let mut majorities = BTreeSet::new();
            for (to, unheard) in ring(&order) {
                let heard: Vec<usize> = (0..servers).filter(|s| !unheard.contains(s)).collect();
                assert!(heard.contains(&to) && heard.len() > servers / 2);
                majorities.insert(heard);
            }
            assert_eq!(majorities.len(), servers);
        }
    }

    #[test]
    fn a_bridge_leaves_one_server_that_everyone_reaches() {
        let faults = Preset::Bridge.draw(5, 10 * SEC, &mut Stream::new(1, "preset", &[]));
        let Fault::NetworkPartition { side_a, side_b } = &faults[0].fault else {
            panic!("{faults:?}");
        };
        assert_eq!((side_a.len(), side_b.len()), (2, 2));
    }
}
