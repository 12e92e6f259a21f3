//! Faults aimed at the server that has most to do. Who that will be is not known when a branch is
//! planned, and each fault may change it; so a plan only says which faults are aimed, and the one who
//! runs the branch names their targets when they are due. What was run is a plain recipe again.

use crate::fault::{
    Activity, Class, Fault, FaultKind, FaultSchedule, Generator, ScheduledFault, Stream, Target,
    Tolerance,
};

/// So many faults of three are aimed, if they can be.
const ODDS: u64 = 2;

/// In one of so many schedules, all faults that hit a server hit the same one: what one fault begins
/// another may bring to an end, as a clock set back does for a leader that was cut off.
const FOCUSED: u64 = 2;

/// Faults that leave a server at its work, with wrong times or wrong contents.
const DECEIVING: [Class; 2] = [Class::Clock, Class::Disk];

/// The faults of a schedule that are to hit whoever is busiest when they are due.
#[derive(Clone, Debug, Default)]
pub struct Aimed {
    /// Their indices in the schedule, in order.
    faults: Vec<usize>,
    tolerance: Tolerance,
    servers: usize,
}

/// Where the clients are when a server is cut off. It is the same for all cuts of a plan, as cuts add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// On its side.
    With,
    /// On that of the others.
    Without,
    /// In reach of everybody: who can ask both sides can be told two things.
    Between,
}

impl Place {
    /// `Between` as often as both others.
    fn draw(stream: &mut Stream) -> Place {
        match stream.below(4) {
            0 => Place::With,
            1 => Place::Without,
            _ => Place::Between,
        }
    }
}

/// Says which faults are aimed.
pub(super) struct Aimer<'a> {
    pub generator: &'a Generator,
    /// Faults before this instant (virtual ns after setup) have happened.
    pub from_ns: u64,
}

impl Aimer<'_> {
    /// Chooses faults of `schedule` to be aimed; partitions among them are made to cut off a server.
    /// In one of [`FOCUSED`] schedules, all hit the same one.
    pub fn aim(&self, schedule: &mut FaultSchedule, stream: &mut Stream) -> Aimed {
        let place = Place::draw(stream);
        if stream.chance(1, FOCUSED)
            && let Some(aimed) = self.focus(schedule, place, stream)
        {
            return aimed;
        }
        let servers = self.servers();
        let mut chosen: Vec<ScheduledFault> = schedule.faults().to_vec();
        let (mut aimed, mut killed) = (Vec::new(), Vec::new());
        for (i, fault) in chosen.iter_mut().enumerate() {
            let mut parts = fault.fault.parts();
            // Its target follows from the fault that it undoes.
            let follows = match parts.kind {
                FaultKind::Restart => killed.contains(&parts.target),
                kind => kind.only_undoes(),
            };
            if parts.kind == FaultKind::Kill {
                killed.push(parts.target.clone());
            }
            if fault.at_ns < self.from_ns || follows || !stream.chance(ODDS, 3) {
                continue;
            }
            match &parts.target {
                Target::Vm(vm) | Target::Process(vm, _) if *vm < servers => {}
                Target::Sides(..) if servers > 1 => {
                    let server = stream.index(servers);
                    parts.target = self.cut_off(server, servers, place, stream);
                    match parts.build() {
                        Some(cut) => fault.fault = cut,
                        None => continue,
                    }
                }
                _ => continue,
            }
            aimed.push(i);
        }
        let reshaped = FaultSchedule::new(chosen);
        if self.generator.allows(&reshaped) {
            *schedule = reshaped;
        } else {
            let cuts = |i: &usize| {
                matches!(
                    schedule.faults()[*i].fault.parts().target,
                    Target::Sides(..)
                )
            };
            aimed.retain(|i| !cuts(i));
        }
        self.aimed(aimed)
    }

    /// Lets all faults to come hit one server: the one that was hit last, or else whoever is busiest
    /// when the first is due. Half of the time what deceives it comes before what takes it from the
    /// others, who then go on without it. `None` if that cannot be.
    fn focus(
        &self,
        schedule: &mut FaultSchedule,
        place: Place,
        stream: &mut Stream,
    ) -> Option<Aimed> {
        let servers = self.servers();
        let faults = schedule.faults();
        let future = faults.partition_point(|fault| fault.at_ns < self.from_ns);
        let hit = faults[..future].iter().rev();
        let mut hit = hit.filter_map(|fault| self.aimed(Vec::new()).named(fault));
        let victim = hit.find(|vm| *vm < servers);
        let server = victim.unwrap_or_else(|| stream.index(servers));
        let mut focused = faults.to_vec();
        let mut hits = Vec::new();
        for (i, fault) in focused.iter_mut().enumerate().skip(future) {
            let mut parts = fault.fault.parts();
            match &mut parts.target {
                Target::Vm(vm) | Target::Process(vm, _) if *vm < servers => *vm = server,
                Target::Sides(..) if servers > 1 => {
                    parts.target = self.cut_off(server, servers, place, stream);
                }
                _ => continue,
            }
            fault.fault = parts.build()?;
            hits.extend((!fault.fault.kind().only_undoes()).then_some(i));
        }
        if stream.chance(1, 2) {
            let mut ordered: Vec<Fault> = hits.iter().map(|i| focused[*i].fault.clone()).collect();
            ordered.sort_by_key(|fault| !DECEIVING.contains(&fault.kind().info().class));
            for (i, fault) in hits.iter().zip(ordered) {
                focused[*i].fault = fault;
            }
        }
        let focused = FaultSchedule::new(focused);
        if !self.generator.allows(&focused) {
            return None;
        }
        *schedule = focused;
        let first = hits.into_iter().take(1).filter(|_| victim.is_none());
        Some(self.aimed(first.collect()))
    }

    fn aimed(&self, faults: Vec<usize>) -> Aimed {
        Aimed {
            faults,
            tolerance: self.generator.tolerance.clone(),
            servers: self.servers(),
        }
    }

    fn servers(&self) -> usize {
        self.generator.vms - self.generator.clients
    }

    /// `server` on one side, the others on the other one, and clients in their `place`.
    fn cut_off(&self, server: usize, servers: usize, place: Place, stream: &mut Stream) -> Target {
        let clients = servers..self.generator.vms;
        let with = clients.clone().filter(|_| place == Place::With);
        let without = clients.filter(|_| place == Place::Without);
        let others = (0..servers).filter(|vm| *vm != server);
        let alone: Vec<usize> = std::iter::once(server).chain(with).collect();
        let rest: Vec<usize> = others.chain(without).collect();
        match stream.chance(1, 2) {
            true => Target::Sides(alone, rest),
            false => Target::Sides(rest, alone),
        }
    }
}

impl Aimed {
    /// The instants at which somebody has to be named, in order, in virtual ns after setup.
    pub fn instants(&self, schedule: &FaultSchedule) -> Vec<u64> {
        let of = |i: &usize| schedule.faults().get(*i).map(|f| f.at_ns);
        let mut instants: Vec<u64> = self.faults.iter().filter_map(of).collect();
        instants.dedup();
        instants
    }

    /// Names the targets of the faults at `at_ns`: from then on the server that the plan names and
    /// the busiest one have changed places. True if that changed `schedule`.
    pub fn resolve(&self, schedule: &mut FaultSchedule, at_ns: u64, activity: &Activity) -> bool {
        let Some(busiest) = activity.busiest() else {
            return false;
        };
        let mut changed = false;
        for i in &self.faults {
            let faults = schedule.faults();
            if faults.get(*i).is_none_or(|fault| fault.at_ns != at_ns) {
                continue;
            }
            let Some(named) = self.named(&faults[*i]).filter(|vm| *vm != busiest) else {
                continue;
            };
            let mut swapped = faults.to_vec();
            for fault in &mut swapped[*i..] {
                let mut parts = fault.fault.parts();
                swap(&mut parts.target, named, busiest);
                if let Some(other) = parts.build() {
                    fault.fault = other;
                }
            }
            let swapped = FaultSchedule::new(swapped);
            if self.tolerance.allows(&swapped, self.servers) {
                *schedule = swapped;
                changed = true;
            }
        }
        changed
    }

    /// The server that a fault is aimed at so far: of a partition, the one that is alone.
    fn named(&self, fault: &ScheduledFault) -> Option<usize> {
        let alone = |side: &[usize]| {
            let mut servers = side.iter().copied().filter(|vm| *vm < self.servers);
            let first = servers.next()?;
            servers.next().is_none().then_some(first)
        };
        match fault.fault.parts().target {
            Target::Vm(vm) | Target::Process(vm, _) => Some(vm),
            Target::Sides(a, b) => alone(&a).or_else(|| alone(&b)),
            Target::All => None,
        }
    }
}

/// Lets two VMs change places.
fn swap(target: &mut Target, one: usize, other: usize) {
    let change = |vm: &mut usize| {
        if *vm == one {
            *vm = other;
        } else if *vm == other {
            *vm = one;
        }
    };
    match target {
        Target::Vm(vm) | Target::Process(vm, _) => change(vm),
        Target::Sides(a, b) => a.iter_mut().chain(b).for_each(change),
        Target::All => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy(vm: usize) -> Activity {
        let mut activity = Activity::default();
        activity.add(0, vm, 1);
        activity
    }

    #[test]
    fn what_undoes_a_fault_goes_where_the_fault_went() {
        let plan = "+1 s kill vm 0\n+2 s kill vm 1\n+3 s restart vm 0\n+4 s partition {2} | {0, 1}";
        let mut schedule: FaultSchedule = plan.parse().unwrap();
        let aimed = Aimed {
            faults: vec![0, 3],
            servers: 3,
            ..Aimed::default()
        };
        let at = aimed.instants(&schedule);
        assert_eq!(at, [1_000_000_000, 4_000_000_000]);
        assert!(!aimed.resolve(&mut schedule, at[0], &Activity::default()));
        assert!(aimed.resolve(&mut schedule, at[0], &busy(2)));
        assert!(aimed.resolve(&mut schedule, at[1], &busy(1)));
        let run = "+1 s kill vm 2\n+2 s kill vm 1\n+3 s restart vm 2\n+4 s partition {1} | {2, 0}";
        assert_eq!(schedule, run.parse().unwrap());
    }

    #[test]
    fn aiming_stays_inside_the_tolerance() {
        let tolerance = Tolerance::parse(&["kill: 1"]).unwrap();
        let mut schedule: FaultSchedule = "+1 s kill vm 0\n+2 s kill vm 0".parse().unwrap();
        let aimed = Aimed {
            faults: vec![1],
            tolerance,
            servers: 3,
        };
        assert!(!aimed.resolve(&mut schedule, 2_000_000_000, &busy(1)));
    }

    #[test]
    fn plans_are_aimed_where_servers_are_hit() {
        let generator = Generator {
            vms: 4,
            clients: 1,
            ..Generator::default()
        };
        let (mut all, mut cut) = (0, 0);
        for seed in 0..200 {
            let mut stream = Stream::new(seed, "aim", &[]);
            let drawn = generator.generate(&mut stream);
            let mut schedule = drawn.clone();
            let aimer = Aimer {
                generator: &generator,
                from_ns: 2_000_000_000,
            };
            let aimed = aimer.aim(&mut schedule, &mut stream);
            schedule.check(4, generator.duration_ns).unwrap();
            assert_eq!(schedule.len(), drawn.len());
            for i in &aimed.faults {
                let fault = &schedule.faults()[*i];
                assert!(fault.at_ns >= aimer.from_ns && !fault.fault.kind().only_undoes());
                assert!(aimed.named(fault).is_some_and(|vm| vm < 3), "{fault:?}");
                cut += u32::from(matches!(fault.fault.parts().target, Target::Sides(..)));
            }
            all += aimed.faults.len();
        }
        assert!(all > 150 && cut > 15, "{all} {cut}");
    }

    #[test]
    fn half_of_the_plans_keep_to_the_server_that_was_hit_last() {
        let generator = Generator {
            vms: 4,
            clients: 1,
            ..Generator::default()
        };
        let (mut kept, mut plans) = (0, 0);
        for seed in 0..200 {
            let mut stream = Stream::new(seed, "focus", &[]);
            let drawn = generator.generate(&mut stream).into_faults().into_iter();
            let past: FaultSchedule =
                "+0.5 s pause vm 0\n+1 s pause vm 2\n+1.5 s heal\n+1.6 s latency vm 3"
                    .parse()
                    .unwrap();
            let future = drawn.filter(|f| f.at_ns >= 2_000_000_000);
            let all = past.into_faults().into_iter().chain(future);
            let mut schedule = FaultSchedule::new(all.collect());
            let aimer = Aimer {
                generator: &generator,
                from_ns: 2_000_000_000,
            };
            let aimed = aimer.aim(&mut schedule, &mut stream);
            schedule.check(4, generator.duration_ns).unwrap();
            let named = schedule.faults().iter().skip(4);
            // Those that hit the client stay as they are.
            let named = named.filter_map(|f| aimed.named(f)).filter(|vm| *vm < 3);
            let named: Vec<usize> = named.collect();
            if named.len() > 3 {
                plans += 1;
                kept += u32::from(named.iter().all(|vm| *vm == 2));
            }
        }
        assert!(
            plans > 50 && kept * 3 > plans && kept * 3 < plans * 2,
            "{kept} of {plans}"
        );
    }

    #[test]
    fn what_deceives_a_server_may_come_before_cuts_that_leave_clients_in_one_place() {
        let generator = Generator {
            vms: 4,
            clients: 1,
            ..Generator::default()
        };
        let aimer = Aimer {
            generator: &generator,
            from_ns: 0,
        };
        let plan = "+1 s partition {0} | {1, 2, 3}\n+2 s one-way partition {1} -> {2}\n+3 s skew vm 2 by 10 %";
        for (place, with, without) in [
            (Place::With, true, false),
            (Place::Without, false, true),
            (Place::Between, false, false),
        ] {
            let mut first = 0;
            for seed in 0..200 {
                let mut schedule: FaultSchedule = plan.parse().unwrap();
                let mut stream = Stream::new(seed, "place", &[]);
                let aimed = aimer.focus(&mut schedule, place, &mut stream).unwrap();
                first += u32::from(schedule.faults()[0].fault.kind() == FaultKind::Skew);
                for fault in schedule.faults() {
                    let Target::Sides(a, b) = fault.fault.parts().target else {
                        continue;
                    };
                    let server = aimed.named(fault).unwrap();
                    let (alone, rest) = if a.contains(&server) { (a, b) } else { (b, a) };
                    assert_eq!((alone.contains(&3), rest.contains(&3)), (with, without));
                }
            }
            assert!((60..140).contains(&first), "{first}");
        }
    }
}
