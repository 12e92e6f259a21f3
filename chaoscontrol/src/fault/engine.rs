//! What fires when: gates a schedule on setup, resumes what was paused for a
//! while, and at the end of `duration` heals all that faults have done.
//!
//! The engine applies nothing. It yields [`Firing`]s, and remembers which of
//! their effects still stand.

use std::collections::{BTreeMap, BTreeSet};

use super::catalogue::{Fault, FaultKind, Parts};
use super::info::Effect;
use super::schedule::{FaultSchedule, ScheduledFault};
use super::table::Target;

/// How long the parts of a branch last, in virtual ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timing {
    /// From setup: the time in which faults are applied.
    pub duration_ns: u64,
    /// After it, without faults.
    pub quiet_ns: u64,
    /// Cluster time at which the setup counts as complete, whoever is ready.
    pub force_setup_ns: Option<u64>,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            duration_ns: 10_000_000_000,
            quiet_ns: 5_000_000_000,
            force_setup_ns: None,
        }
    }
}

/// Where a branch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Some server has not completed its setup.
    Setup,
    /// Faults are applied.
    Faults,
    /// All is healed.
    Quiet,
    /// The quiet period is over.
    Over,
}

/// Why a fault fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// It stands in the schedule.
    Schedule,
    /// A body asked for it.
    Body,
    /// It undoes another: the end of a pause, or of all faults.
    Recovery,
}

/// A fault to be applied now.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Firing {
    /// The instant on the cluster's timeline, in ns.
    pub at_ns: u64,
    /// What to apply.
    pub fault: Fault,
    /// Why.
    pub cause: Cause,
}

/// The effects that stand. What is absent is healthy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Standing {
    network: bool,
    /// VMs whose disk is not sound.
    disks: BTreeSet<usize>,
    killed: BTreeSet<usize>,
    /// Paused VMs and stopped processes, and when each goes on by itself.
    paused: BTreeMap<Target, Option<u64>>,
    /// What stands in one VM until the same fault ends it.
    troubled: BTreeSet<(FaultKind, usize)>,
    /// Net jump of each wall clock, in ns.
    jumped: BTreeMap<usize, i64>,
}

impl Standing {
    /// VM `vm` lost its power, and what only its memory knew.
    fn power_lost(&mut self, vm: usize) {
        self.paused.retain(|target, _| target.vms() != [vm]);
        // It wakes with the right wall time.
        self.jumped.remove(&vm);
        self.troubled
            .retain(|(kind, of)| *of != vm || !matches!(kind.info().effect, Effect::Memory(_)));
    }
}

/// The state machine that drives the faults of one branch. Plain data: a clone is a fork.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FaultEngine {
    schedule: FaultSchedule,
    next: usize,
    timing: Timing,
    servers: usize,
    ready: BTreeSet<usize>,
    start_ns: Option<u64>,
    healed: bool,
    standing: Standing,
}

impl FaultEngine {
    /// An engine for a cluster whose first `servers` VMs must complete their setup.
    pub fn new(schedule: FaultSchedule, timing: Timing, servers: usize) -> Self {
        FaultEngine {
            schedule,
            next: 0,
            timing,
            servers,
            ready: BTreeSet::new(),
            start_ns: None,
            healed: false,
            standing: Standing::default(),
        }
    }

    /// Server `vm` has completed its setup at cluster time `now`. True if it was the last:
    /// `now` is then schedule time 0. Clients and repetitions change nothing.
    pub fn setup_complete(&mut self, vm: usize, now: u64) -> bool {
        if self.start_ns.is_some() || vm >= self.servers {
            return false;
        }
        self.ready.insert(vm);
        self.ready.len() == self.servers && self.force_setup_complete(now)
    }

    /// Begins now, whoever is ready. True unless it had begun.
    pub fn force_setup_complete(&mut self, now: u64) -> bool {
        let begins = self.start_ns.is_none();
        self.start_ns.get_or_insert(now);
        begins
    }

    /// Cluster time has come to `now`: begins if the time to begin by force has come. True if
    /// that was so.
    pub fn reach(&mut self, now: u64) -> bool {
        self.forced_ns()
            .filter(|at| *at <= now)
            .is_some_and(|at| self.force_setup_complete(at))
    }

    /// When the setup is to be complete by force, if it is still to be.
    fn forced_ns(&self) -> Option<u64> {
        let at = self.timing.force_setup_ns?;
        self.start_ns.is_none().then_some(at)
    }

    /// The servers that have not completed their setup.
    pub fn missing_setup(&self) -> Vec<usize> {
        (0..self.servers)
            .filter(|vm| self.start_ns.is_none() && !self.ready.contains(vm))
            .collect()
    }

    /// Replaces what has not fired yet, as a fork with another schedule does. Faults of `schedule`
    /// that lie before `now` are taken as fired.
    pub fn reschedule(&mut self, schedule: FaultSchedule, now: u64) {
        self.next = match self.start_ns {
            Some(start) => schedule
                .faults()
                .iter()
                .take_while(|f| start.saturating_add(f.at_ns) < now)
                .count(),
            None => 0,
        };
        self.schedule = schedule;
    }

    /// The schedule in force.
    pub fn schedule(&self) -> &FaultSchedule {
        &self.schedule
    }

    /// Cluster time of schedule time 0, once setup is complete.
    pub fn start_ns(&self) -> Option<u64> {
        self.start_ns
    }

    /// Cluster time at which all is healed, once setup is complete.
    pub fn quiet_ns(&self) -> Option<u64> {
        Some(self.start_ns?.saturating_add(self.timing.duration_ns))
    }

    /// Cluster time at which the branch ends at the latest, once setup is complete.
    pub fn end_ns(&self) -> Option<u64> {
        Some(self.quiet_ns()?.saturating_add(self.timing.quiet_ns))
    }

    /// Where the branch stands at cluster time `now`.
    pub fn phase(&self, now: u64) -> Phase {
        match (self.quiet_ns(), self.end_ns()) {
            (Some(_), Some(end)) if now >= end => Phase::Over,
            (Some(quiet), _) if now >= quiet => Phase::Quiet,
            (Some(_), _) => Phase::Faults,
            (None, _) => Phase::Setup,
        }
    }

    /// Cluster time of the next firing, or of a begin by force, if any is to come. It may lie
    /// in the past when setup was completed within a tick; it then fires at once.
    pub fn next_ns(&self) -> Option<u64> {
        let resume = self.standing.paused.values().flatten().min().copied();
        let own = if self.healed { None } else { self.quiet_ns() };
        let scheduled = self.scheduled().map(|(at, _)| at);
        [resume, own, scheduled, self.forced_ns()]
            .into_iter()
            .flatten()
            .min()
    }

    /// The next fault of the schedule that will fire before all is healed.
    fn scheduled(&self) -> Option<(u64, &Fault)> {
        if self.healed {
            return None;
        }
        let f = self.schedule.faults().get(self.next)?;
        let at = self.start_ns?.saturating_add(f.at_ns);
        (at < self.quiet_ns()?).then_some((at, &f.fault))
    }

    /// Whatever is due at or before cluster time `now`, in the order in which it is to be applied.
    pub fn fire(&mut self, now: u64) -> Vec<Firing> {
        self.reach(now);
        let mut firings = Vec::new();
        while let Some(at_ns) = self.next_ns().filter(|at| *at <= now) {
            let resumed = self
                .standing
                .paused
                .iter()
                .find(|(_, t)| **t == Some(at_ns))
                .map(|(target, _)| resuming(target));
            if let Some(fault) = resumed {
                self.push(&mut firings, at_ns, fault, Cause::Recovery);
            } else if let Some((_, fault)) = self.scheduled().filter(|(at, _)| *at == at_ns) {
                let fault = fault.clone();
                self.next += 1;
                self.push(&mut firings, at_ns, fault, Cause::Schedule);
            } else {
                self.healed = true;
                for fault in self.recovery() {
                    self.push(&mut firings, at_ns, fault, Cause::Recovery);
                }
            }
        }
        firings
    }

    /// The faults that undo, `at_ns` after setup, all that `schedule` has done by then.
    pub fn undoing(schedule: &FaultSchedule, at_ns: u64) -> Vec<ScheduledFault> {
        let timing = Timing {
            duration_ns: at_ns,
            ..Timing::default()
        };
        let mut engine = FaultEngine::new(schedule.clone(), timing, 0);
        engine.force_setup_complete(0);
        let firings = engine.fire(at_ns).into_iter();
        let last = firings.filter(|f| f.at_ns == at_ns && f.cause == Cause::Recovery);
        last.map(|Firing { at_ns, fault, .. }| ScheduledFault { at_ns, fault })
            .collect()
    }

    /// A body asks for `fault` at cluster time `now`; the engine will heal it in the end,
    /// unless that is over: then a body answers for what it does.
    pub fn inject(&mut self, fault: Fault, now: u64) -> Firing {
        self.note(&fault, now);
        Firing {
            at_ns: now,
            fault,
            cause: Cause::Body,
        }
    }

    fn push(&mut self, firings: &mut Vec<Firing>, at_ns: u64, fault: Fault, cause: Cause) {
        self.note(&fault, at_ns);
        firings.push(Firing {
            at_ns,
            fault,
            cause,
        });
    }

    /// Remembers what stands after `fault`.
    fn note(&mut self, fault: &Fault, now: u64) {
        let s = &mut self.standing;
        let parts = fault.parts();
        match (parts.kind.info().effect, &parts.target) {
            (Effect::Network, _) => s.network = true,
            (Effect::Disk, Target::Vm(vm)) => {
                s.disks.insert(*vm);
            }
            // Without power there is no memory to be troubled.
            (Effect::Memory(_), Target::Vm(vm)) if s.killed.contains(vm) => {}
            (Effect::Hardware(none) | Effect::Memory(none), Target::Vm(vm)) => {
                let trouble = (parts.kind, *vm);
                if parts.amounts.first() == Some(&Some(none)) {
                    s.troubled.remove(&trouble);
                } else {
                    s.troubled.insert(trouble);
                }
            }
            _ => {}
        }
        match *fault {
            Fault::NetworkHeal => s.network = false,
            Fault::DiskHeal { target } => {
                s.disks.remove(&target);
            }
            Fault::ProcessKill { target } => {
                s.killed.insert(target);
                s.power_lost(target);
            }
            Fault::ProcessRestart { target } => {
                s.killed.remove(&target);
                s.power_lost(target);
            }
            Fault::ProcessPause {
                target,
                duration_ns,
            } if !s.killed.contains(&target) => {
                let until = duration_ns.map(|d| now.saturating_add(d));
                s.paused.insert(Target::Vm(target), until);
            }
            Fault::ProcessResume { target } => {
                s.paused.remove(&Target::Vm(target));
            }
            // What the body has started ends with it.
            Fault::ProcessKillNamed { target, ref name } if name.is_empty() => {
                let of_vm = |one: &Target| matches!(one, Target::Process(vm, _) if *vm == target);
                s.paused.retain(|one, _| !of_vm(one));
            }
            Fault::ProcessKillNamed { .. } | Fault::ProcessContinueNamed { .. } => {
                s.paused.remove(&parts.target);
            }
            Fault::ProcessStopNamed {
                target,
                duration_ns,
                ..
            } if !s.killed.contains(&target) => {
                let until = duration_ns.map(|d| now.saturating_add(d));
                s.paused.insert(parts.target, until);
            }
            Fault::ClockJump { target, offset_ns } if !s.killed.contains(&target) => {
                let sum = s.jumped.entry(target).or_insert(0);
                *sum = sum.saturating_add(offset_ns);
            }
            _ => {}
        }
    }

    /// The faults that undo whatever stands: network first, then disks, then what troubles single
    /// VMs, then wall clocks, then machines.
    fn recovery(&self) -> Vec<Fault> {
        let s = &self.standing;
        let mut all = Vec::new();
        all.extend(s.network.then_some(Fault::NetworkHeal));
        all.extend(s.disks.iter().map(|&target| Fault::DiskHeal { target }));
        all.extend(s.troubled.iter().map(|(kind, vm)| ending(*kind, *vm)));
        let jumped = s.jumped.iter().filter(|(_, sum)| **sum != 0);
        all.extend(jumped.map(|(&target, sum)| Fault::ClockJump {
            target,
            offset_ns: sum.saturating_neg(),
        }));
        all.extend(s.paused.keys().map(resuming));
        all.extend(
            s.killed
                .iter()
                .map(|&target| Fault::ProcessRestart { target }),
        );
        all
    }
}

/// The fault by which a paused VM or a stopped process goes on.
fn resuming(target: &Target) -> Fault {
    match target {
        Target::Vm(target) => Fault::ProcessResume { target: *target },
        Target::Process(target, name) => Fault::ProcessContinueNamed {
            target: *target,
            name: name.clone(),
        },
        Target::All | Target::Sides(..) => unreachable!("only VMs and processes stand still"),
    }
}

/// The fault that ends what faults of `kind` did to VM `vm`.
fn ending(kind: FaultKind, vm: usize) -> Fault {
    let info = kind.info();
    let (Effect::Hardware(none) | Effect::Memory(none)) = info.effect else {
        unreachable!("{kind} leaves nothing that an amount would end");
    };
    let mut amounts: Vec<_> = info.params.iter().map(|p| Some(p.default)).collect();
    amounts[0] = Some(none);
    let parts = Parts {
        kind,
        target: Target::Vm(vm),
        amounts,
    };
    parts.build().expect("the catalogue's bounds allow its end")
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
