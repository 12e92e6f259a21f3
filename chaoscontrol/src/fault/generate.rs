//! Random schedules: which faults a test allows, whom they may hit, and draws
//! among them.

use std::ops::Range;

use super::aim::Aim;
use super::catalogue::{Fault, FaultKind, Parts};
use super::info::{Param, Sense, Shape, Unit};
use super::preset::Preset;
use super::schedule::{FaultSchedule, ScheduledFault};
use super::stream::Stream;
use super::table::Target;
use super::tolerance::Tolerance;

/// What may be generated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generator {
    /// The kinds a test allows, and for whom.
    pub aims: Vec<Aim>,
    /// VMs of the cluster.
    pub vms: usize,
    /// How many of them, the last ones, are clients.
    pub clients: usize,
    /// Virtual ns from setup in which faults are applied.
    pub duration_ns: u64,
    /// Nothing is drawn for an instant before this, in virtual ns from setup.
    pub from_ns: u64,
    /// Whether what does nothing but undo other faults is drawn only behind them.
    pub paired: bool,
    /// The most faults a fresh schedule gets.
    pub max_faults: usize,
    /// The plans that fresh schedules follow; without any, faults are drawn at random.
    pub presets: Vec<Preset>,
    /// What no schedule may exceed.
    pub tolerance: Tolerance,
    /// The processes by name that faults may hit besides the bodies'.
    pub processes: Vec<String>,
}

impl Default for Generator {
    /// Every kind, for three servers.
    fn default() -> Self {
        Generator {
            aims: Aim::usual(),
            vms: 3,
            clients: 0,
            duration_ns: 10_000_000_000,
            from_ns: 0,
            paired: false,
            max_faults: 16,
            presets: Vec::new(),
            tolerance: Tolerance::default(),
            processes: Vec::new(),
        }
    }
}

/// Faults that undo others are useful only after them; and a kill that nobody
/// undoes leaves little to see. One of `odds` out of four is followed by its undoing.
const UNDOING: [(FaultKind, FaultKind, u64); 11] = [
    (FaultKind::Kill, FaultKind::Restart, 3),
    (FaultKind::Partition, FaultKind::Heal, 2),
    (FaultKind::OneWayPartition, FaultKind::Heal, 2),
    (FaultKind::Loss, FaultKind::Heal, 1),
    (FaultKind::Pause, FaultKind::Resume, 1),
    (FaultKind::Clog, FaultKind::Release, 3),
    (FaultKind::StopProcess, FaultKind::ContinueProcess, 1),
    (FaultKind::DiskWriteError, FaultKind::DiskHeal, 1),
    (FaultKind::DiskFlushError, FaultKind::DiskHeal, 1),
    (FaultKind::DiskSlow, FaultKind::DiskHeal, 2),
    (FaultKind::DiskFull, FaultKind::DiskHeal, 2),
];

/// Kinds that are over in no time, and whose instant decides what they do.
const BRIEF: [FaultKind; 4] = [
    FaultKind::Preempt,
    FaultKind::Irq,
    FaultKind::Nmi,
    FaultKind::SpuriousInterrupt,
];

impl FaultKind {
    /// Whether it does nothing but undo others. A restart without a kill is a fault of its own.
    pub fn only_undoes(self) -> bool {
        self != FaultKind::Restart && UNDOING.iter().any(|(_, kind, _)| *kind == self)
    }
}

/// `aims` with what does nothing but undo some of them: who allows partitions wants them to heal.
pub fn with_undoing(mut aims: Vec<Aim>) -> Vec<Aim> {
    for (done, kind, _) in UNDOING.iter().filter(|(_, kind, _)| kind.only_undoes()) {
        if let Some(aim) = aims.iter().find(|aim| aim.kind == *done).copied()
            && !aims.iter().any(|aim| aim.kind == *kind)
        {
            aims.push(Aim { kind: *kind, ..aim });
        }
    }
    aims
}

impl Generator {
    /// A swarm mask: a random subset of the kinds, never empty unless `aims` is. Leaving
    /// kinds out lets the others show what they would otherwise hide from each other.
    #[must_use]
    pub fn swarm(&self, stream: &mut Stream) -> Generator {
        let odds = 1 + stream.below(4);
        let mut aims: Vec<_> = self
            .aims
            .iter()
            .copied()
            .filter(|_| stream.chance(odds, 4))
            .collect();
        if aims.is_empty() {
            aims.extend(stream.pick(&self.aims));
        }
        Generator {
            aims,
            ..self.clone()
        }
    }

    /// The same without faults of these kinds, unless there are no others.
    #[must_use]
    pub fn without(mut self, kinds: &[FaultKind]) -> Generator {
        let others = self.aims.iter().copied();
        let others: Vec<Aim> = others.filter(|aim| !kinds.contains(&aim.kind)).collect();
        if !others.is_empty() {
            self.aims = others;
        }
        self
    }

    /// A fresh schedule, inside the tolerance.
    pub fn generate(&self, stream: &mut Stream) -> FaultSchedule {
        if !self.presets.is_empty() {
            let preset = self.presets[stream.index(self.presets.len())];
            let room = self.duration_ns.saturating_sub(self.from_ns);
            let mut faults = preset.draw(self.servers(), room, stream);
            faults.iter_mut().for_each(|f| f.at_ns += self.from_ns);
            return self.keep(FaultSchedule::new(faults));
        }
        // Few faults are likelier than many: small schedules are easier to understand.
        let most = 1 + stream.below(self.max_faults.max(1) as u64);
        let count = 1 + stream.below(most) as usize;
        let mut faults = Vec::new();
        while faults.len() < count {
            let before = faults.len();
            let Some(first) = self.fault(stream) else {
                break;
            };
            let undoing = self.undoing(&first, stream);
            faults.push(first);
            faults.extend(undoing);
            debug_assert!(faults.len() > before);
        }
        faults.truncate(self.max_faults.max(1));
        self.keep(FaultSchedule::new(faults))
    }

    /// `schedule` without what exceeds the tolerance.
    pub fn keep(&self, schedule: FaultSchedule) -> FaultSchedule {
        self.tolerance.keep(schedule, self.servers())
    }

    /// Whether `schedule` is inside the tolerance.
    pub fn allows(&self, schedule: &FaultSchedule) -> bool {
        self.tolerance.allows(schedule, self.servers())
    }

    fn servers(&self) -> usize {
        self.vms.saturating_sub(self.clients)
    }

    /// One random fault at a random time; `None` if no kind fits the cluster.
    pub fn fault(&self, stream: &mut Stream) -> Option<ScheduledFault> {
        let fitting: Vec<_> = self
            .aims
            .iter()
            .copied()
            .filter(|aim| !self.targets(*aim).is_empty())
            .collect();
        let first = |aim: &Aim| !aim.kind.only_undoes();
        let fitting = match self.paired && fitting.iter().any(first) {
            true => fitting.into_iter().filter(first).collect(),
            false => fitting,
        };
        let aim = *stream.pick(&fitting)?;
        let kind = aim.kind;
        let target = self.target(aim, stream)?;
        let params = kind.info().params.iter();
        let amounts = params.map(|p| Some(draw(p, stream))).collect();
        let at_ns = self.time(stream);
        let fault = Parts {
            kind,
            target,
            amounts,
        }
        .build()?;
        Some(ScheduledFault { at_ns, fault })
    }

    /// A random instant, rounded to a tick of 1 ms.
    pub fn time(&self, stream: &mut Stream) -> u64 {
        let room = self.duration_ns.saturating_sub(self.from_ns);
        self.from_ns + stream.below(room / 1_000_000) * 1_000_000
    }

    /// The same fault with another target or amount.
    pub fn vary(&self, fault: &Fault, stream: &mut Stream) -> Option<Fault> {
        let mut parts = fault.parts();
        let params = parts.kind.info().params;
        match params {
            [p, others @ ..] if stream.chance(1, 2) => {
                let i = match others {
                    [] => 0,
                    _ => stream.index(params.len()),
                };
                let p = if i == 0 { p } else { &others[i - 1] };
                parts.amounts[i] = Some(draw(p, stream));
            }
            _ => {
                let aim = self.aim_at(parts.kind, &parts.target);
                let aim = aim.unwrap_or(Aim::of(parts.kind));
                parts.target = self.target(aim, stream)?;
            }
        }
        parts.build()
    }

    /// More of one of `faults` that are over in no time, each time elsewhere, until `end_ns` at the
    /// latest: what a single one hits is chance. None if all of them last, so that once is enough.
    pub fn burst(
        &self,
        faults: &[ScheduledFault],
        end_ns: u64,
        stream: &mut Stream,
    ) -> Vec<ScheduledFault> {
        let brief = faults.iter().filter(|f| BRIEF.contains(&f.fault.kind()));
        let brief: Vec<&ScheduledFault> = brief.collect();
        let Some(fault) = stream.pick(&brief) else {
            return Vec::new();
        };
        let every = (20 + stream.below(40)) * 1_000_000;
        let times = self.max_faults as u64 + stream.below(2 * self.max_faults as u64 + 1);
        let instants = (1..=times).map(|i| fault.at_ns.saturating_add(i * every));
        let instants = instants.filter(|at_ns| *at_ns < end_ns);
        instants
            .filter_map(|at_ns| {
                let mut parts = fault.fault.parts();
                let params = parts.kind.info().params.iter();
                for (p, amount) in params.zip(&mut parts.amounts) {
                    // Each is to be over when the next one comes.
                    *amount = Some(match p.unit {
                        Unit::Instructions => stream.range(p.min.max(1), every as i64 / 1_000),
                        Unit::Time => draw(p, stream).min(every as i64),
                        _ => draw(p, stream),
                    });
                }
                let fault = parts.build()?;
                Some(ScheduledFault { at_ns, fault })
            })
            .collect()
    }

    fn targets(&self, aim: Aim) -> Range<usize> {
        aim.targets(self.vms, self.clients)
    }

    /// What allows a fault of this kind and target.
    fn aim_at(&self, kind: FaultKind, target: &Target) -> Option<Aim> {
        let fits = |aim: &Aim| match target {
            Target::Vm(vm) | Target::Process(vm, _) => self.targets(*aim).contains(vm),
            Target::All | Target::Sides(..) => true,
        };
        let mut aims = self.aims.iter().copied();
        aims.find(|aim| aim.kind == kind && fits(aim))
    }

    fn target(&self, aim: Aim, stream: &mut Stream) -> Option<Target> {
        let vms: Vec<usize> = self.targets(aim).collect();
        Some(match aim.kind.info().shape {
            Shape::All => Target::All,
            Shape::Vm => Target::Vm(*stream.pick(&vms)?),
            Shape::Process => {
                let vm = *stream.pick(&vms)?;
                let i = stream.index(self.processes.len() + 1);
                let name = i.checked_sub(1).map(|i| self.processes[i].clone());
                Target::Process(vm, name.unwrap_or_default())
            }
            Shape::Sides(_) => {
                // Everyone takes a side; two VMs are drawn first so that neither stays empty.
                let first = stream.index(vms.len());
                let second = (first + 1 + stream.index(vms.len() - 1)) % vms.len();
                let left = |i: usize, s: &mut Stream| i == first || (i != second && s.chance(1, 2));
                let (a, b): (Vec<_>, Vec<_>) = vms.into_iter().partition(|&i| left(i, stream));
                Target::Sides(a, b)
            }
        })
    }

    /// What undoes `fault` somewhat later, sometimes.
    fn undoing(&self, fault: &ScheduledFault, stream: &mut Stream) -> Option<ScheduledFault> {
        let parts = fault.fault.parts();
        let (_, kind, odds) = UNDOING.iter().find(|(done, ..)| *done == parts.kind)?;
        let target = match kind.info().shape {
            Shape::All => Target::All,
            _ => parts.target,
        };
        if self.aim_at(*kind, &target).is_none() || !stream.chance(*odds, 4) {
            return None;
        }
        let most = match self.paired {
            true => self.duration_ns.saturating_sub(fault.at_ns) / 1_000_000,
            false => 3_000,
        };
        let later = 50_000_000 + stream.below(most.min(3_000)) * 1_000_000;
        let at_ns = fault.at_ns.saturating_add(later);
        let fault = Parts {
            kind: *kind,
            target,
            amounts: Vec::new(),
        }
        .build()?;
        (at_ns < self.duration_ns).then_some(ScheduledFault { at_ns, fault })
    }
}

/// An amount of usual size; where sizes matter, small ones as likely as great ones, with at most
/// two digits.
fn draw(p: &Param, stream: &mut Stream) -> i64 {
    let (low, high) = p.usual;
    if p.sense == Sense::Place {
        return stream.range(low, high);
    }
    let octaves = (high / low).max(1).ilog2();
    let base = low << stream.below(u64::from(octaves) + 1);
    let size = stream
        .range(base, base.saturating_mul(2).min(high).max(base))
        .clamp(low, high);
    let ten = 10i64.pow(size.max(1).ilog10().saturating_sub(1));
    let round = (size / ten * ten).max(p.min);
    if p.min < 0 && stream.chance(1, 2) {
        -round
    } else {
        round
    }
}

#[cfg(test)]
mod tests {
    use super::super::info::Class;
    use super::*;
    use std::collections::BTreeSet;

    fn many(g: &Generator) -> Vec<ScheduledFault> {
        (0..800)
            .flat_map(|i| {
                g.generate(&mut Stream::new(i, "generate", &[]))
                    .into_faults()
            })
            .collect()
    }

    #[test]
    fn every_schedule_fits_its_cluster() {
        for vms in 1..6 {
            let g = Generator {
                vms,
                clients: vms / 3,
                max_faults: vms,
                ..Generator::default()
            };
            for seed in 0..300 {
                let schedule = g.generate(&mut Stream::new(seed, "fits", &[]));
                assert!(!schedule.is_empty() && schedule.len() <= g.max_faults);
                schedule.check(vms, g.duration_ns).unwrap();
            }
        }
    }

    #[test]
    fn clients_are_hit_by_the_network_and_by_what_is_meant_for_them() {
        let g = Generator {
            vms: 4,
            clients: 1,
            ..Generator::default()
        };
        let hits = |network| {
            let hit = move |f: &ScheduledFault| {
                (f.fault.kind().info().class == Class::Network) == network
            };
            many(&g)
                .iter()
                .filter(|f| hit(f))
                .flat_map(|f| f.fault.vms())
                .collect::<BTreeSet<_>>()
        };
        assert_eq!(hits(true), (0..4).collect());
        assert_eq!(hits(false), (0..3).collect());
        let aims = |names: &[&str]| {
            names
                .iter()
                .map(|name| Aim::by_name(name).unwrap())
                .collect()
        };
        let some = Generator {
            aims: aims(&["kill", "pause", "pause clients", "restart clients"]),
            ..g.clone()
        };
        let drawn = many(&some);
        let hits = |kind| {
            let hit = drawn.iter().filter(|f| f.fault.kind() == kind);
            hit.flat_map(|f| f.fault.vms()).collect::<BTreeSet<_>>()
        };
        assert_eq!(hits(FaultKind::Kill), (0..3).collect());
        assert_eq!(hits(FaultKind::Pause), (0..4).collect());
        assert_eq!(hits(FaultKind::Restart), (3..4).collect());
        let paused = Fault::ProcessPause {
            target: 3,
            duration_ns: None,
        };
        let varied = (0..50).filter_map(|i| some.vary(&paused, &mut Stream::new(i, "vary", &[])));
        assert!(varied.flat_map(|fault| fault.vms()).all(|vm| vm == 3));
    }

    #[test]
    fn every_kind_is_drawn_often_and_only_the_allowed_ones() {
        let g = Generator {
            aims: FaultKind::all().map(Aim::of).collect(),
            ..Generator::default()
        };
        let all = many(&g);
        let share = all.len() / FaultKind::all().len();
        for kind in FaultKind::all() {
            let drawn = all.iter().filter(|f| f.fault.kind() == kind).count();
            assert!(drawn > share / 2, "{kind}: {drawn}");
        }
        let few = Generator {
            aims: vec![Aim::of(FaultKind::Kill), Aim::of(FaultKind::Skew)],
            ..g
        };
        assert!(
            many(&few)
                .iter()
                .all(|f| few.aims.contains(&Aim::of(f.fault.kind())))
        );
        let none = Generator {
            aims: vec![],
            ..Generator::default()
        };
        assert!(none.generate(&mut Stream::new(0, "none", &[])).is_empty());
    }

    #[test]
    fn a_burst_repeats_what_is_over_before_it_comes_again() {
        let generator = Generator {
            duration_ns: 2_000_000_000,
            ..Generator::default()
        };
        let once: FaultSchedule =
            "+1.9 s preempt vm 1 for 20 ms after 7 instructions\n+2 s kill vm 0"
                .parse()
                .unwrap();
        let end_ns = 3_000_000_000;
        let mut beyond = 0;
        for seed in 0..50 {
            let mut stream = Stream::new(seed, "burst", &[]);
            let burst = generator.burst(once.faults(), end_ns, &mut stream);
            assert!(burst.len() >= generator.max_faults, "{}", burst.len());
            let every = burst[1].at_ns - burst[0].at_ns;
            for (n, fault) in (1..).zip(&burst) {
                assert_eq!(fault.at_ns, 1_900_000_000 + n * every);
                let Fault::Preempt {
                    target: 1,
                    slice_ns,
                    instructions,
                } = fault.fault
                else {
                    panic!("{fault}");
                };
                assert!(slice_ns <= every && (1..=every / 1_000).contains(&instructions));
            }
            let last = burst.last().unwrap().at_ns;
            assert!(last < end_ns);
            beyond += u32::from(last >= generator.duration_ns);
        }
        assert_eq!(beyond, 50, "it goes on behind the time for other faults");
        let lasting = &once.faults()[1..];
        let mut stream = Stream::new(0, "burst", &[]);
        assert!(generator.burst(lasting, end_ns, &mut stream).is_empty());
    }

    #[test]
    fn what_undoes_a_fault_is_allowed_with_it() {
        let with = |names: &[&str]| {
            let aims = names.iter().map(|name| Aim::by_name(name).unwrap());
            let all = with_undoing(aims.collect());
            all.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(with(&["partition", "loss"]), ["partition", "loss", "heal"]);
        assert_eq!(
            with(&["pause clients"]),
            ["pause clients", "resume clients"]
        );
        assert_eq!(with(&["heal", "partition"]), ["heal", "partition"]);
        assert_eq!(with(&["kill"]), ["kill"], "a restart is a fault of its own");
    }

    #[test]
    fn swarm_masks_leave_kinds_out() {
        let g = Generator::default();
        let sizes: BTreeSet<_> = (0..100)
            .map(|i| g.swarm(&mut Stream::new(i, "swarm", &[])).aims.len())
            .collect();
        assert!(sizes.contains(&g.aims.len()) && sizes.len() > 5);
        let one = Generator {
            aims: vec![Aim::of(FaultKind::Kill)],
            ..g.clone()
        };
        let kept = (0..100).all(|i| one.swarm(&mut Stream::new(i, "swarm", &[])) == one);
        assert!(kept, "never empty");
        let few = g.clone().without(&[FaultKind::Kill]);
        assert_eq!(few.aims.len() + 1, g.aims.len());
        assert_eq!(one.clone().without(&[FaultKind::Kill]), one);
    }

    #[test]
    fn amounts_are_round_and_usual() {
        let mut s = Stream::new(5, "draw", &[]);
        for p in FaultKind::all().flat_map(|k| k.info().params) {
            for _ in 0..500 {
                let a = draw(p, &mut s);
                assert!((p.usual.0..=p.usual.1).contains(&a.abs()), "{a} {p:?}");
            }
        }
    }
}
