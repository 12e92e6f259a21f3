//! The cluster's timeline: lets all VMs run a tick, and carries between them what they sent.

use std::sync::Arc;

use super::config::{ClusterConfig, Life};
use super::event::{ClusterEvent, EventKind, TickHashes};
use super::fabric::{NetworkFabric, TICK_NS};
use super::orders::Orders;
use super::slot::{VmSlot, VmStatus};
use super::snapshot::ClusterError;
use crate::cpu::soft::coverage::CodeMap;
use crate::machine::{
    Choices, DeterministicVm, EdgeCounters, FULL_SPEED_PPM, Output, OutputKind, Stop, VmSnapshot,
};

/// All state of a cluster but its machines. Plain data: its clone is its snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ClusterState {
    pub(super) now: u64,
    pub(super) slots: Vec<VmSlot>,
    pub(super) fabric: NetworkFabric,
    /// Since the last whole tick.
    pub(super) events: Vec<ClusterEvent>,
    pub(super) status: u64,
    pub(super) branch: u64,
    pub(super) orders: Orders,
}

/// A cluster of VMs on one virtual timeline, which begins at 0 when they wake.
pub struct SimulationController {
    pub(super) config: Arc<ClusterConfig>,
    pub(super) boot: VmSnapshot,
    pub(super) vms: Vec<DeterministicVm>,
    pub(super) state: ClusterState,
    pub(super) hashes: Vec<TickHashes>,
    /// Travels with the turn; empty if nothing is counted.
    pub(super) edges: EdgeCounters,
}

impl SimulationController {
    /// A cluster whose VMs are all forks of `boot`, each with an identity of its own.
    ///
    /// # Errors
    /// Impossible numbers of VMs, or a host without memory.
    pub fn new(
        boot: &VmSnapshot,
        config: ClusterConfig,
    ) -> Result<SimulationController, ClusterError> {
        if !config.is_possible() {
            return Err(ClusterError::Size {
                vms: config.vms,
                clients: config.clients,
            });
        }
        let slot = VmSlot {
            status: VmStatus::Killed,
            skew_ppm: 0,
            speed_ppm: FULL_SPEED_PPM,
            sent_bytes: 0,
            paused_ns: 0,
            life: Life::default(),
            disk: None,
            choices: Choices::default(),
        };
        let state = ClusterState {
            now: 0,
            slots: vec![slot; config.vms],
            fabric: NetworkFabric::new(config.vms, config.latency_ns, config.seed),
            events: Vec::new(),
            status: 0,
            branch: 0,
            orders: Orders::default(),
        };
        let mut cluster = SimulationController {
            vms: (0..config.vms)
                .map(|_| DeterministicVm::from_snapshot(boot))
                .collect::<Result<_, _>>()?,
            boot: boot.clone(),
            config: Arc::new(config),
            state,
            hashes: Vec::new(),
            edges: EdgeCounters::default(),
        };
        for vm in 0..cluster.config.vms {
            cluster.power_on(vm);
        }
        Ok(cluster)
    }

    /// What the cluster was made from.
    pub fn config(&self) -> &ClusterConfig {
        &self.config
    }

    /// Cluster time in ns.
    pub fn now(&self) -> u64 {
        self.state.now
    }

    /// What the cluster knows of VM `vm`.
    pub fn slot(&self, vm: usize) -> &VmSlot {
        &self.state.slots[vm]
    }

    /// VM `vm`'s machine. Without power, what it is in is of no meaning.
    pub fn vm(&self, vm: usize) -> &DeterministicVm {
        &self.vms[vm]
    }

    /// VM `vm`'s machine, to read its coverage and the like. Whoever changes what the
    /// guest can see through it gives up determinism.
    pub fn vm_mut(&mut self, vm: usize) -> &mut DeterministicVm {
        &mut self.vms[vm]
    }

    /// Counts the edges that the guests take from now on; `map` names the code of packed
    /// files.
    pub fn count_edges(&mut self, map: &Arc<CodeMap>) {
        for vm in &mut self.vms {
            vm.name_code(map);
        }
        self.edges = EdgeCounters::new();
    }

    /// How often each edge was taken by any VM, if that is counted; not part of the state.
    /// What running guests counted themselves is not among them.
    pub fn edges(&mut self) -> &mut EdgeCounters {
        &mut self.edges
    }

    /// The same with what running guests counted themselves, on engines that see no edges.
    pub fn all_edges(&self) -> EdgeCounters {
        let mut all = self.edges.clone();
        for (slot, vm) in self.state.slots.iter().zip(&self.vms) {
            if slot.powered() {
                vm.add_guest_edges(&mut all);
            }
        }
        all
    }

    /// Lets all counters of edges begin anew, the guests' own among them, which are part of
    /// the state.
    pub fn clear_edges(&mut self) {
        self.edges.get_mut().fill(0);
        for vm in &mut self.vms {
            vm.clear_guest_edges();
        }
    }

    /// Keeps what VM `vm` counted itself, before its memory is lost.
    fn keep_edges(&mut self, vm: usize) {
        if self.state.slots[vm].powered() {
            self.vms[vm].add_guest_edges(&mut self.edges);
        }
    }

    /// The bits that all VMs are answered when they ask for the status.
    pub fn set_status_bits(&mut self, bits: u64) {
        self.state.status = bits;
        for vm in &mut self.vms {
            vm.set_status(bits);
        }
    }

    /// Lets VMs' random values be counted anew, with none settled.
    pub fn clear_choices(&mut self) {
        for slot in &mut self.state.slots {
            slot.choices = Choices::default();
        }
    }

    /// The random values that VM `vm` has asked for and those settled for it, over all its lives.
    pub fn choices(&mut self, vm: usize) -> &mut Choices {
        &mut self.state.slots[vm].choices
    }

    /// Runs to the end of the running tick.
    pub fn run_tick(&mut self) -> Vec<ClusterEvent> {
        self.run_until(self.tick_end())
    }

    /// Runs to cluster time `time` and returns what happened in all ticks that have ended,
    /// ordered by (time, VM, sequence). What happened in a tick that is cut is returned
    /// when it has ended, so that observers see the same whatever cuts there are.
    pub fn run_until(&mut self, time: u64) -> Vec<ClusterEvent> {
        let mut seen = Vec::new();
        while self.state.now < time {
            self.step(self.step_end(time));
            if self.state.now.is_multiple_of(TICK_NS) {
                self.record_hashes();
                seen.append(&mut self.state.events);
            }
        }
        seen
    }

    fn tick_end(&self) -> u64 {
        (self.state.now / TICK_NS + 1) * TICK_NS
    }

    /// How far all VMs can run without hearing of each other, but not beyond `time`.
    fn step_end(&self, time: u64) -> u64 {
        let mut end = self.tick_end();
        let mut idle = u64::MAX;
        for (slot, vm) in self.state.slots.iter().zip(&self.vms) {
            match slot.status {
                VmStatus::Running => idle = idle.min(vm.idle_until()),
                VmStatus::Paused(Some(until)) => idle = idle.min(until),
                VmStatus::Paused(None) | VmStatus::Killed | VmStatus::Halted => {}
            }
        }
        if !self.config.record_hashes {
            end = end.max(idle / TICK_NS * TICK_NS);
        }
        for slot in &self.state.slots {
            if let VmStatus::Paused(Some(until)) = slot.status {
                end = end.min(until);
            }
        }
        end.min(time)
    }

    /// Runs all VMs to `end`, then carries over what they sent.
    fn step(&mut self, end: u64) {
        let mut sent: Vec<(usize, Output)> = Vec::new();
        let mut off = Vec::new();
        for vm in 0..self.vms.len() {
            if self.state.slots[vm].status != VmStatus::Running {
                continue;
            }
            let machine = &mut self.vms[vm];
            let choices = &mut self.state.slots[vm].choices;
            machine.swap_counters(&mut self.edges);
            machine.swap_choices(choices);
            let stop = machine.run_until(end);
            machine.swap_choices(choices);
            machine.swap_counters(&mut self.edges);
            sent.extend(self.vms[vm].take_outputs().into_iter().map(|o| (vm, o)));
            if stop == Stop::Off {
                self.state.slots[vm].status = VmStatus::Halted;
                off.push(vm);
            }
        }
        sent.sort_by_key(|(vm, output)| (output.time, *vm, output.seq));
        self.state.now = end;
        for (vm, output) in sent {
            match output.kind {
                OutputKind::Frame(frame) => self.carry(output.time, vm, &frame),
                OutputKind::Message(bytes) => {
                    self.confirm(output.time, vm, &bytes);
                    self.event(output.time, vm, EventKind::Message(bytes));
                }
                OutputKind::Serial(line) => self.event(output.time, vm, EventKind::Serial(line)),
            }
        }
        for (slot, machine) in self.state.slots.iter_mut().zip(&self.vms) {
            if slot.powered() {
                slot.life.incarnation = slot.life.incarnation.max(machine.incarnation());
            }
        }
        for vm in off {
            let machine = &self.vms[vm];
            if let Some(why) = machine.off().cloned() {
                self.event(machine.time(), vm, EventKind::Off(why));
            }
        }
        self.state
            .events
            .sort_by_key(|event| (event.time, event.vm));
        for vm in 0..self.vms.len() {
            if matches!(self.state.slots[vm].status, VmStatus::Paused(Some(at)) if at <= end) {
                self.resume(vm);
            }
        }
    }

    pub(super) fn event(&mut self, time: u64, vm: usize, kind: EventKind) {
        let incarnation = self.state.slots[vm].incarnation();
        self.state.events.push(ClusterEvent {
            time,
            vm,
            incarnation,
            kind,
        });
    }

    fn record_hashes(&mut self) {
        if self.config.record_hashes {
            let hashes = TickHashes {
                time: self.state.now,
                vms: self.vm_hashes(),
            };
            self.hashes.push(hashes);
        }
    }

    /// The hashes recorded since the last call, if the configuration asks for them.
    pub fn take_hashes(&mut self) -> Vec<TickHashes> {
        std::mem::take(&mut self.hashes)
    }

    /// Cuts VM `vm`'s power; all it held in memory, and what was on its way to it, is lost.
    /// So is what its drive had not made durable, or a part of that.
    pub fn kill(&mut self, vm: usize) {
        self.keep_edges(vm);
        self.lose_orders(vm);
        self.cut_disk(vm);
        self.state.slots[vm].status = VmStatus::Killed;
    }

    /// Whether VM `vm` has power: what its machine holds means something.
    pub fn is_powered(&self, vm: usize) -> bool {
        self.state.slots[vm].powered()
    }

    /// Lets VM `vm` stand still for `ns`, or until [`Self::resume`]. Its clocks stand
    /// still with it. Frames that arrive wait. Nothing happens to a VM that is off.
    pub fn pause(&mut self, vm: usize, ns: Option<u64>) {
        let now = self.state.now;
        let until = ns.map(|ns| now.saturating_add(ns.max(1)));
        let slot = &mut self.state.slots[vm];
        match slot.status {
            VmStatus::Running => slot.paused_ns = now,
            VmStatus::Paused(_) => {}
            VmStatus::Killed | VmStatus::Halted => return,
        }
        slot.status = VmStatus::Paused(until);
    }

    /// The present in VM `vm`'s machine, in which time stands still while it is paused.
    pub(super) fn time_of(&self, vm: usize) -> u64 {
        let slot = &self.state.slots[vm];
        match slot.status {
            VmStatus::Paused(_) => slot.paused_ns,
            _ => self.state.now,
        }
    }

    /// Lets a paused VM go on. What is left of a stall is still before it.
    pub fn resume(&mut self, vm: usize) {
        let slot = &mut self.state.slots[vm];
        if let VmStatus::Paused(_) = slot.status {
            slot.status = VmStatus::Running;
            let paused = self.state.now.saturating_sub(slot.paused_ns);
            self.vms[vm].put_off(paused);
        }
    }

    /// Cuts VM `vm`'s power if it has any, and boots it again: from the boot snapshot, with
    /// a new identity and today's wall time, its monotonic clock starting anew, and with the
    /// drive that it had. The drive of a VM that went off by itself kept its power and its cache.
    pub fn restart(&mut self, vm: usize) {
        self.keep_edges(vm);
        self.lose_orders(vm);
        self.take_disk_out(vm);
        self.state.slots[vm].life = Life {
            incarnation: self.state.slots[vm].incarnation().saturating_add(1),
            branch: self.state.branch,
        };
        self.vms[vm]
            .restore(&self.boot)
            .expect("all VMs have the boot snapshot's memory size");
        self.put_disk_back(vm);
        self.power_on(vm);
    }

    /// Lets a machine that is at the boot snapshot wake as VM `vm`.
    fn power_on(&mut self, vm: usize) {
        let now = self.state.now;
        let slot = &mut self.state.slots[vm];
        slot.status = VmStatus::Running;
        let machine = &mut self.vms[vm];
        machine.rejoin(now);
        machine.set_skew(now, slot.skew_ppm);
        machine.set_speed(slot.speed_ppm);
        machine.set_status(self.state.status);
        let disk = machine.config().disk.is_some();
        machine.set_identity(self.config.identity(vm, disk, slot.life, now));
        machine.reseed(&self.config.entropy("machine", vm, slot.life));
        machine.take_outputs();
    }

    /// Lets VM `vm`'s clocks and timers run `ppm` parts per million fast; 0 ends it.
    pub fn skew(&mut self, vm: usize, ppm: i64) {
        self.state.slots[vm].skew_ppm = ppm;
        let time = self.time_of(vm);
        self.vms[vm].set_skew(time, ppm);
    }

    /// Ends all faults: heals network and disks, resumes what is paused, sets clocks to a
    /// true rate and CPUs to full speed, and restarts what is off.
    pub fn recover(&mut self) {
        self.heal();
        for vm in 0..self.vms.len() {
            self.disk_heal(vm);
            self.skew(vm, 0);
            self.cpu_speed(vm, FULL_SPEED_PPM);
            self.latency(vm, 0);
            match self.state.slots[vm].status {
                VmStatus::Running => {}
                VmStatus::Paused(_) => self.resume(vm),
                VmStatus::Killed | VmStatus::Halted => self.restart(vm),
            }
        }
    }
}
