//! One branch as it really runs: a cluster, the faults that hit it, and the oracle that
//! watches it.
//!
//! A branch is a pure function of its [`Scenario`], its seed and its schedule. A
//! [`Checkpoint`] in the middle of one only saves the way there.

mod apply;
mod check;
mod follow;
mod inputs;
mod runner;
mod signs;
mod timeline;

pub use check::{Check, CheckError};
pub use runner::{SimulationFactory, SimulationRunner};
pub use timeline::{Entry, EntryKind};

use std::collections::BTreeMap;
use std::sync::Arc;

use chaoscontrol_guest::protocol::{Message, STATUS_QUIET, STATUS_SETUP};

use crate::cluster::{
    ClusterConfig, ClusterError, ClusterEvent, ClusterSnapshot, EventKind, NetworkStats,
    SimulationController, TickHashes,
};
use crate::cpu::soft::coverage::CodeMap;
use crate::cpu::{CpuError, Engine};
use crate::fault::{
    Activity, Fault, FaultEngine, FaultKind, FaultSchedule, Phase, ScheduledFault, Timing,
};
use crate::machine::{DeterministicVm, EdgeCounters, Off, VmSnapshot};
use crate::oracle::history::{Record, RecordError};
use crate::oracle::{Failure, FailureKind, Moment, PropertyOracle};

/// What all branches of a test share.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The booted machine that all VMs are forks of.
    pub boot: VmSnapshot,
    /// The cluster.
    pub cluster: ClusterConfig,
    /// Cluster time in ns at which the setup counts as complete, whoever has said so; 0 is
    /// never.
    pub force_setup_ns: u64,
    /// Virtual ns without any sign of life that fail a branch; 0 is never.
    pub stall_ns: u64,
    /// Whether a body that still runs at the end fails its branch.
    pub must_finish: bool,
    /// Names the packed code whose edges are counted; `None` counts none.
    pub code_map: Option<Arc<CodeMap>>,
    /// Judges each branch that has not failed otherwise.
    pub check: Option<Check>,
}

impl Scenario {
    fn timing(&self) -> Timing {
        Timing {
            duration_ns: self.cluster.duration_ns,
            quiet_ns: self.cluster.quiet_ns,
            force_setup_ns: (self.force_setup_ns != 0).then_some(self.force_setup_ns),
        }
    }

    fn servers(&self) -> usize {
        self.cluster.vms - self.cluster.clients
    }
}

/// What a branch did, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Instructions that all VMs retired, the way to the setup not counted.
    pub instructions: u64,
    /// Faults applied, by kind.
    pub faults: BTreeMap<FaultKind, u64>,
    /// Events that guests sent, by name.
    pub events: BTreeMap<String, u64>,
    /// How often a guest without exits had time let pass for it, at an instruction that
    /// differs from run to run. What the branch showed cannot be relied on then.
    pub spins: u64,
    /// The faults that were applied, bodies' and recoveries included, by virtual ns after setup.
    pub applied: Vec<ScheduledFault>,
    /// Which server has most to do.
    pub activity: Activity,
}

/// A cluster under test.
pub struct Simulation {
    scenario: Arc<Scenario>,
    cluster: SimulationController,
    engine: FaultEngine,
    oracle: PropertyOracle,
    tally: Tally,
    /// What each VM had counted when `tally` last did.
    counted: Vec<Counted>,
    sent: u64,
    timeline: Option<Vec<Entry>>,
    /// What `check` is to see, if there is one.
    record: Option<Record>,
    trouble: Option<Trouble>,
    /// Whoever runs the branch has seen enough of it.
    cut_off: bool,
    /// Instructions after which that is so.
    limit: u64,
}

/// What ends a branch without a verdict.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Trouble {
    /// The engine failed in the middle; no guest has to do with that.
    #[error(transparent)]
    Engine(#[from] CpuError),
    /// The test's `check` has no verdict.
    #[error(transparent)]
    Check(#[from] CheckError),
}

/// A VM's own counters, which begin anew when it does.
#[derive(Clone, Copy, Debug)]
struct Counted {
    retired: u64,
    spins: u64,
}

impl Counted {
    fn of(vm: &DeterministicVm) -> Counted {
        Counted {
            retired: vm.retired(),
            spins: vm.spins(),
        }
    }
}

/// A [`Simulation`] at one moment.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    cluster: ClusterSnapshot,
    engine: FaultEngine,
    oracle: PropertyOracle,
    record: Option<Record>,
    tally: Tally,
    counted: Vec<Counted>,
    sent: u64,
    edges: Vec<u8>,
}

impl Checkpoint {
    /// Cluster time in ns.
    pub fn time(&self) -> u64 {
        self.cluster.time()
    }

    /// Instructions that all VMs have retired since the setup.
    pub fn instructions(&self) -> u64 {
        self.tally.instructions
    }

    /// Bytes that it holds and those before it do not.
    pub fn owned_bytes(&self) -> u64 {
        self.cluster.owned_bytes()
    }

    /// Cluster time of schedule time 0, if setup was complete.
    pub fn start_ns(&self) -> Option<u64> {
        self.engine.start_ns()
    }
}

impl Simulation {
    /// The cluster at its start, with all VMs about to wake.
    ///
    /// # Errors
    /// A size that is not possible, or a host without memory.
    pub fn new(scenario: Arc<Scenario>) -> Result<Simulation, ClusterError> {
        let mut cluster = SimulationController::new(&scenario.boot, scenario.cluster.clone())?;
        let counted = (0..scenario.cluster.vms)
            .map(|vm| Counted::of(cluster.vm(vm)))
            .collect();
        if let Some(map) = &scenario.code_map {
            cluster.count_edges(map);
        }
        Ok(Simulation {
            engine: FaultEngine::new(
                FaultSchedule::default(),
                scenario.timing(),
                scenario.servers(),
            ),
            oracle: PropertyOracle::new(),
            record: scenario.check.map(|_| Record::default()),
            tally: Tally::default(),
            counted,
            sent: 0,
            timeline: None,
            trouble: None,
            cut_off: false,
            limit: u64::MAX,
            scenario,
            cluster,
        })
    }

    /// From now on remembers what happens, line by line.
    pub fn record(&mut self) {
        self.timeline.get_or_insert_default();
    }

    /// What happened since [`Simulation::record`], in order of time.
    pub fn timeline(&self) -> &[Entry] {
        self.timeline.as_deref().unwrap_or_default()
    }

    /// Cluster time in ns.
    pub fn now(&self) -> u64 {
        self.cluster.now()
    }

    /// Cluster time of schedule time 0, once setup is complete.
    pub fn start_ns(&self) -> Option<u64> {
        self.engine.start_ns()
    }

    /// The failure, if there is one already.
    pub fn failure(&self) -> Option<&Failure> {
        self.oracle.failure()
    }

    /// Why nothing can be said of the branch, if so: no guest has to do with that.
    pub fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// What the oracle has seen.
    pub fn oracle(&self) -> &PropertyOracle {
        &self.oracle
    }

    /// What executes the guests.
    pub fn engine(&self) -> Engine {
        self.scenario.boot.config().engine
    }

    /// What the branch did so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The network's counters.
    pub fn network(&self) -> &NetworkStats {
        self.cluster.network_stats()
    }

    /// The cluster, to read its machines.
    pub fn cluster(&mut self) -> &mut SimulationController {
        &mut self.cluster
    }

    /// Hash of everything that decides how the branch goes on.
    pub fn state_hash(&mut self) -> u64 {
        self.cluster.state_hash()
    }

    /// The state hashes of the ticks since the last call, if the scenario asks for them.
    pub fn take_hashes(&mut self) -> Vec<TickHashes> {
        self.cluster.take_hashes()
    }

    /// How often each edge was taken since the branch began; empty if they are not counted.
    pub fn edges(&self) -> EdgeCounters {
        self.cluster.all_edges()
    }

    /// Runs until setup is complete, or until it has failed.
    pub fn set_up(&mut self) {
        while self.engine.start_ns().is_none() && !self.is_over() {
            self.tick(u64::MAX);
        }
    }

    /// Begins a branch: from now on `schedule` applies, and the random streams of network
    /// and machines are those of `seed`. To be called right after setup.
    pub fn begin(&mut self, seed: u64, schedule: FaultSchedule) {
        self.tally = Tally::default();
        self.cluster.clear_edges();
        self.cluster.clear_choices();
        self.reseed(seed);
        // The tick in which the setup was completed is over; what is due in it fires now.
        let start_ns = self.start_ns().unwrap_or(self.now());
        self.engine.reschedule(schedule, start_ns);
    }

    /// From now on the random streams of network and machines are those of `seed`.
    pub fn reseed(&mut self, seed: u64) {
        self.cluster.branch(seed);
    }

    /// Replaces the faults that are still to come.
    pub fn reschedule(&mut self, schedule: FaultSchedule) {
        self.engine.reschedule(schedule, self.now());
    }

    /// Runs to the end of the branch, or to cluster time `time` if that comes first.
    pub fn run_until(&mut self, time: u64) {
        while self.now() < time && !self.is_over() {
            self.tick(time);
        }
    }

    /// Whether the branch has come to its end: it failed, its time is up, or every body
    /// that counts has returned.
    pub fn is_over(&self) -> bool {
        if self.trouble.is_some() || self.cut_off {
            return true;
        }
        if self.oracle.failure().is_some() || self.engine.phase(self.now()) == Phase::Over {
            return true;
        }
        let cluster = &self.scenario.cluster;
        let counts = |vm: &usize| cluster.clients == 0 || cluster.is_client(*vm);
        self.engine.start_ns().is_some()
            && (0..cluster.vms)
                .filter(counts)
                .all(|vm| self.oracle.finished().contains(&vm))
    }

    /// Lets the branch end here, without a verdict on what it would have come to.
    pub fn cut_off(&mut self) {
        self.cut_off = true;
    }

    /// From now on branches are cut off when their tally comes to more than so many instructions.
    pub fn limit(&mut self, instructions: u64) {
        self.limit = instructions;
    }

    /// The whole of it at this moment.
    pub fn checkpoint(&mut self) -> Checkpoint {
        Checkpoint {
            cluster: self.cluster.snapshot(),
            engine: self.engine.clone(),
            oracle: self.oracle.clone(),
            record: self.record.clone(),
            tally: self.tally.clone(),
            counted: self.counted.clone(),
            sent: self.sent,
            edges: self.cluster.edges().get().to_vec(),
        }
    }

    /// Goes back (or over) to `checkpoint`; a recorded timeline is dropped.
    ///
    /// # Errors
    /// A checkpoint of a cluster of another shape.
    pub fn restore(&mut self, checkpoint: &Checkpoint) -> Result<(), ClusterError> {
        self.cluster.restore(&checkpoint.cluster)?;
        self.engine = checkpoint.engine.clone();
        self.oracle = checkpoint.oracle.clone();
        self.record.clone_from(&checkpoint.record);
        self.tally = checkpoint.tally.clone();
        self.counted.clone_from(&checkpoint.counted);
        self.sent = checkpoint.sent;
        self.cluster
            .edges()
            .get_mut()
            .copy_from_slice(&checkpoint.edges);
        self.timeline = None;
        self.trouble = None;
        self.cut_off = false;
        Ok(())
    }

    /// Applies what is due, and runs to what is next: the end of a tick, a fault, `time`.
    fn tick(&mut self, time: u64) {
        for firing in self.engine.fire(self.now()) {
            self.apply(firing);
        }
        self.update_status();
        let tick = self.now() + crate::cluster::TICK_NS - self.now() % crate::cluster::TICK_NS;
        let next = self
            .engine
            .next_ns()
            .filter(|&at| at > self.now())
            .unwrap_or(u64::MAX);
        let events = self.cluster.run_until(tick.min(next).min(time));
        for event in &events {
            self.event(event);
        }
        if self.engine.reach(self.now()) {
            let at = Moment {
                time_ns: self.now(),
                vm: self.scenario.cluster.vms,
            };
            self.note(at, EntryKind::Event, || "setup complete by force".into());
        }
        self.count_work();
        self.judge();
        self.cut_off |= self.tally.instructions > self.limit;
    }

    fn update_status(&mut self) {
        let phase = self.engine.phase(self.now());
        let mut bits = 0;
        if phase >= Phase::Faults {
            bits |= STATUS_SETUP;
        }
        if phase >= Phase::Quiet {
            bits |= STATUS_QUIET;
        }
        self.cluster.set_status_bits(bits);
    }

    fn event(&mut self, event: &ClusterEvent) {
        let at = Moment {
            time_ns: event.time,
            vm: event.vm,
        };
        self.oracle.activity(event.time);
        match &event.kind {
            EventKind::Message(bytes) => {
                // The machine refuses what does not decode.
                let Ok(message) = Message::decode(bytes) else {
                    return;
                };
                self.note_message(at, &message);
                match message {
                    Message::SetupComplete => {
                        self.engine.setup_complete(event.vm, event.time);
                    }
                    Message::Event { name, .. } => {
                        *self.tally.events.entry(name.to_owned()).or_default() += 1;
                    }
                    Message::Fault { fault } => {
                        match Fault::ordered(fault, self.scenario.cluster.vms) {
                            Ok(fault) => {
                                let firing = self.engine.inject(fault, self.now());
                                self.apply(firing);
                            }
                            Err(why) => {
                                let kind = FailureKind::FaultRefused(why);
                                self.oracle.fail(Failure { at: Some(at), kind });
                            }
                        }
                    }
                    _ => {}
                }
                self.oracle.message(at, &message);
                self.keep(at, |record| record.message(at, &message));
            }
            EventKind::Serial(line) => {
                self.note_console(at, line);
                self.oracle.console(at, line);
                self.keep(at, |record| record.console(at, line));
            }
            EventKind::Order(report) => self.note(at, EntryKind::Fault, || report.to_string()),
            EventKind::Off(Off::Engine(error)) => {
                self.trouble.get_or_insert_with(|| error.clone().into());
            }
            EventKind::Off(why) => {
                let kind = FailureKind::Shutdown(why.to_string());
                self.oracle.fail(Failure { at: Some(at), kind });
            }
        }
    }

    /// Keeps something for the test's `check`, if it has one.
    fn keep(&mut self, at: Moment, what: impl FnOnce(&mut Record) -> Result<(), RecordError>) {
        if let Some(Err(error)) = self.record.as_mut().map(what) {
            let kind = error.into();
            self.oracle.fail(Failure { at: Some(at), kind });
        }
    }

    fn count_work(&mut self) {
        (0..self.scenario.cluster.vms).for_each(|vm| self.count(vm));
        if let Some(start_ns) = self.start_ns() {
            let at_ns = self.now().saturating_sub(start_ns);
            for vm in 0..self.scenario.servers() {
                let sent = self.cluster.slot(vm).sent_bytes;
                self.tally.activity.add(at_ns, vm, sent);
            }
        }
    }

    /// Adds what VM `vm` has done since it was last counted. A machine without power is no part
    /// of the cluster's state: a restored checkpoint leaves in it what this worker had there.
    fn count(&mut self, vm: usize) {
        if !self.cluster.is_powered(vm) {
            return;
        }
        let now = Counted::of(self.cluster.vm(vm));
        let before = std::mem::replace(&mut self.counted[vm], now);
        self.tally.instructions += now.retired - before.retired;
        self.tally.spins += now.spins - before.spins;
    }

    /// Looks for failures of the cluster as a whole.
    fn judge(&mut self) {
        let now = self.now();
        let cluster = &self.scenario.cluster;
        let mut fail = |time_ns, kind| self.oracle.fail(Failure::new(time_ns, cluster.vms, kind));
        let sent = self.cluster.network_stats().delivered + self.cluster.network_stats().dropped();
        if self.engine.start_ns().is_none() && now >= cluster.setup_ns {
            let (vms, limit_ns) = (self.engine.missing_setup(), cluster.setup_ns);
            fail(limit_ns, FailureKind::SetupIncomplete { vms, limit_ns });
        }
        if self.scenario.must_finish && self.engine.phase(now) == Phase::Over {
            let counts = |vm: &usize| cluster.clients == 0 || cluster.is_client(*vm);
            let late = (0..cluster.vms).filter(counts);
            let vms: Vec<usize> = late
                .filter(|vm| !self.oracle.finished().contains(vm))
                .collect();
            if !vms.is_empty() {
                self.oracle.fail(Failure::new(
                    now,
                    cluster.vms,
                    FailureKind::Unfinished { vms },
                ));
            }
        }
        if sent != self.sent {
            self.sent = sent;
            self.oracle.activity(now);
        }
        let stall_ns = self.scenario.stall_ns;
        let at = self.oracle.stalls_at(stall_ns);
        if stall_ns != 0 && self.engine.start_ns().is_some() && now >= at {
            self.oracle.fail(Failure::new(
                at,
                cluster.vms,
                FailureKind::Stall { stall_ns },
            ));
        }
    }
}
