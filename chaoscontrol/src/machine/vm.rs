//! One deterministic virtual machine: a CPU and its devices taking turns on virtual time.
//!
//! Everything a guest can notice happens at a virtual time of its own, never at the time
//! at which a run was cut: an instruction at T executes if T lies before the end of the
//! run, and what is due at E happens at the first instruction boundary with T >= E.

use super::boot::{self, BootError};
use super::choices::Choices;
use super::clock::{Clock, VirtualTsc};
use super::config::VmConfig;
use super::memory::{MemoryHash, MemorySnapshot};
use super::output::{Outbox, Output, OutputKind};
use super::sdk::{Sdk, What};
use super::stop::{Off, Stop, Until, VmError};
use super::trace::Access;
use crate::cpu::ram::Ram;
use crate::cpu::{Cpu, Exit, Vcpu};
use crate::devices::platform::{Platform, PlatformConfig};
use crate::devices::random::RandomStream;
use chaoscontrol_guest::protocol;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Parts that the I/O of a single (string) instruction may have; one with more is no
/// sane guest's, and would keep the host busy without virtual time passing.
const MAX_PARTS: u32 = 1 << 20;

/// The length in ns of a turn on the cluster's timeline: what a guest orders is carried out at the
/// end of the running one.
pub const TURN_NS: u64 = 1_000_000;

/// Slices of 2^20 iterations that a single string instruction may have: more than all of
/// the largest memory has bytes. It takes no virtual time, so nothing else would end it.
const MAX_SLICES: u32 = 1 << 12;

/// Times that time is let pass for a guest that spins, before it is given up.
const MAX_SPINS: u64 = 6;

/// What comes in from outside at a given time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Input {
    Frame(Vec<u8>),
    Control(Vec<u8>),
}

impl Input {
    fn len(&self) -> u64 {
        let (Input::Frame(bytes) | Input::Control(bytes)) = self;
        bytes.len() as u64
    }
}

/// All state but CPU and memory. Plain data: its clone is its snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct MachineState {
    pub(super) clock: Clock,
    pub(super) platform: Platform,
    /// Local time to which the platform was advanced.
    pub(super) advanced: u64,
    pub(super) sdk: Sdk,
    pub(super) inputs: BTreeMap<(u64, u64), Input>,
    pub(super) input_seq: u64,
    pub(super) input_bytes: u64,
    pub(super) outbox: Outbox,
    /// Lengths in ns of what is to happen in user mode, by instructions retired.
    pub(super) preemptions: BTreeMap<u64, u64>,
    pub(super) panic: Option<String>,
    pub(super) off: Option<Off>,
    pub(super) exits: u64,
    pub(super) spins: u64,
    /// Those since the last exit.
    pub(super) spinning: u64,
}

/// A virtual machine whose whole run is a function of its [`VmConfig`] and of what is
/// sent to it.
///
/// ```no_run
/// use chaoscontrol::machine::{DeterministicVm, Until, VmConfig};
///
/// let config = VmConfig {
///     kernel: std::fs::read("vmlinux")?.into(),
///     initrd: std::fs::read("initramfs.cpio")?.into(),
///     ..VmConfig::default()
/// };
/// let mut vm = DeterministicVm::new(config)?;
/// vm.run(&Until { serial: Some(b"login:"), ..Until::default() });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct DeterministicVm {
    pub(super) config: Arc<VmConfig>,
    pub(super) ram: Ram,
    pub(super) cpu: Cpu,
    pub(super) state: MachineState,
    pub(super) base: MemorySnapshot,
    pub(super) hash: MemoryHash,
    pub(super) trace: Option<Vec<Access>>,
}

impl DeterministicVm {
    /// A machine before its first instruction.
    ///
    /// # Errors
    /// A kernel that can't be loaded, or a bad memory size.
    pub fn new(config: VmConfig) -> Result<DeterministicVm, BootError> {
        let mut vm = DeterministicVm::empty(Arc::new(config))?;
        let cmdline = vm.config.full_cmdline();
        let entry = boot::load(&vm.ram, &vm.config.kernel, &vm.config.initrd, &cmdline)?;
        vm.cpu.set_state(entry);
        Ok(vm)
    }

    /// Zeroed memory, a reset CPU, devices after power-on.
    pub(super) fn empty(config: Arc<VmConfig>) -> Result<DeterministicVm, VmError> {
        let ram = Ram::new(config.memory_size)?;
        let mut entropy = [0; 32];
        RandomStream::derive(config.seed, "machine", &[]).fill(&mut entropy);
        let state = MachineState {
            clock: Clock::new(config.unit_ns()),
            platform: Platform::new(&PlatformConfig {
                epoch: config.epoch,
                mac: [2, 0, 0, 0, 0, 0],
                entropy,
                disk: config.disk.clone(),
            }),
            advanced: 0,
            sdk: Sdk::new(&entropy),
            inputs: BTreeMap::new(),
            input_seq: 0,
            input_bytes: 0,
            outbox: Outbox::default(),
            preemptions: BTreeMap::new(),
            panic: None,
            off: None,
            exits: 0,
            spins: 0,
            spinning: 0,
        };
        Ok(DeterministicVm {
            cpu: Cpu::new(config.engine, ram.clone(), config.cpu)?,
            base: MemorySnapshot::zeroed(ram.pages()),
            hash: MemoryHash::new(ram.pages()),
            trace: None,
            config,
            ram,
            state,
        })
    }

    /// The machine's CPU.
    pub fn cpu(&self) -> &Cpu {
        &self.cpu
    }

    /// The machine's configuration.
    pub fn config(&self) -> &VmConfig {
        &self.config
    }

    /// T in ns of the next instruction.
    pub fn time(&self) -> u64 {
        self.state.clock.time(self.cpu.count())
    }

    /// The guest's own clock in ns since power-on, at its skewed rate.
    pub fn local_time(&self) -> u64 {
        self.state.clock.local(self.time())
    }

    /// Instructions retired since power-on; 0 where the engine does not count them.
    pub fn retired(&self) -> u64 {
        self.cpu.retired()
    }

    /// How often the guest went on for so long without an exit that time was let pass, which
    /// happens at another instruction in every run: what follows cannot be reproduced.
    pub fn spins(&self) -> u64 {
        self.state.spins
    }

    /// Exits to devices since power-on.
    pub fn exits(&self) -> u64 {
        self.state.exits
    }

    /// Why the machine is off, if it is.
    pub fn off(&self) -> Option<&Off> {
        self.state.off.as_ref()
    }

    /// Everything the guest sent since the last call, in order.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        self.state.outbox.take()
    }

    /// Lets an Ethernet frame arrive at T = `at`, or at once when that has passed.
    pub fn deliver_frame(&mut self, at: u64, frame: Vec<u8>) {
        self.input(at, Input::Frame(frame));
    }

    /// Lets bytes arrive on the agent's control channel at T = `at`, or at once when that
    /// has passed.
    pub fn send_control(&mut self, at: u64, bytes: Vec<u8>) {
        self.input(at, Input::Control(bytes));
    }

    /// Bytes of frames and commands that have not arrived yet.
    pub fn waiting_bytes(&self) -> u64 {
        self.state.input_bytes
    }

    /// T up to which nothing can happen in this machine unless something is sent to it:
    /// the present for one that executes, `u64::MAX` for one that only input can wake.
    pub fn idle_until(&self) -> u64 {
        if !self.cpu.halted() || self.state.platform.pending_interrupt() {
            return self.time();
        }
        self.next_event().max(self.time())
    }

    fn input(&mut self, at: u64, input: Input) {
        let seq = self.state.input_seq;
        self.state.input_seq += 1;
        self.state.input_bytes += input.len();
        self.state.inputs.insert((at, seq), input);
    }

    /// From T = `time` on, which is now for the cluster, the guest's clocks and timers run
    /// `ppm` parts per million fast.
    pub fn set_skew(&mut self, time: u64, ppm: i64) {
        self.state.clock.set_skew(time, ppm);
    }

    /// Joins a timeline on which it is T = `time` now; the guest's own clock goes on unmoved.
    pub fn rejoin(&mut self, time: u64) {
        self.state.clock.rejoin(self.cpu.count(), time);
    }

    /// What the agent is told when it asks who it is: an encoded
    /// [`Identity`](chaoscontrol_guest::protocol::Identity).
    pub fn set_identity(&mut self, identity: Vec<u8>) {
        self.state.sdk.set_identity(identity);
    }

    /// The incarnation in what the agent is told: the identity's, and one more for each
    /// time that a fault ended the body's process.
    pub fn incarnation(&self) -> u32 {
        self.state.sdk.incarnation()
    }

    /// Exchanges what is settled and known of the guest's random values, which outlives this
    /// machine, for `other`.
    pub fn swap_choices(&mut self, other: &mut Choices) {
        std::mem::swap(self.state.sdk.answers(), other);
    }

    /// What [`Message::Status`](protocol::Message::Status) is answered with.
    pub fn set_status(&mut self, bits: u64) {
        self.state.sdk.set_status(bits);
    }

    /// Derives all of the machine's random streams from `entropy`.
    pub fn reseed(&mut self, entropy: &[u8; 32]) {
        self.state.sdk.reseed(entropy);
        self.state.platform.reseed(*entropy);
    }

    /// Runs until T = `time`, or until the machine is off.
    pub fn run_until(&mut self, time: u64) -> Stop {
        self.run(&Until {
            time: Some(time),
            ..Until::default()
        })
    }

    /// Runs until something in `until` holds.
    ///
    /// Without any, or with nothing that comes to pass, this runs for as long as the guest does.
    pub fn run(&mut self, until: &Until<'_>) -> Stop {
        let stop = self.run_on(until);
        // Whoever looks at the machine now is to see it between two instructions.
        while self.state.off.is_none()
            && let Some(exit) = self.cpu.finish()
        {
            self.serve(exit, until);
        }
        stop
    }

    fn run_on(&mut self, until: &Until<'_>) -> Stop {
        let end = until.time.unwrap_or(u64::MAX);
        let more = until.instructions.unwrap_or(u64::MAX);
        let last = self.cpu.count().saturating_add(more);
        let exits = until.exits.map(|n| self.state.exits.saturating_add(n));
        loop {
            if self.state.off.is_some() {
                return Stop::Off;
            }
            let now = self.time();
            if now >= end {
                return Stop::Time;
            }
            if self.cpu.count() >= last {
                return Stop::Instructions;
            }
            if exits.is_some_and(|n| self.state.exits >= n) {
                return Stop::Exits;
            }
            self.apply_due(now);
            if self.preempted() {
                continue;
            }
            let pending = self.state.platform.pending_interrupt();
            if pending && let Some(exit) = self.cpu.finish() {
                if let Some(stop) = self.act(exit, until) {
                    return stop;
                }
                continue;
            }
            let window = pending && self.offer_interrupt();
            let next = self.next_event().min(end);
            if self.cpu.halted() {
                if !self.cpu.interruptible() {
                    self.state.off = Some(self.why_reset(Off::Halted));
                } else if next == u64::MAX {
                    return Stop::Halt;
                } else {
                    self.state.clock.jump(self.cpu.count(), next);
                }
                continue;
            }
            let limit = self.state.clock.instruction_at(next).min(last);
            let exit = if self.preemption_waits() {
                self.patiently(|cpu| Some(cpu.run_to_user_mode(limit, window)))
            } else {
                let limit = limit.min(self.next_preemption());
                self.patiently(|cpu| Some(cpu.run(limit, window)))
            };
            if exit == Some(Exit::Halt) && until.halt {
                return Stop::Halt;
            }
            if let Some(stop) = exit.and_then(|exit| self.act(exit, until)) {
                return stop;
            }
        }
    }

    /// Lets the CPU `go` on; [`Exit::Repeats`] is an instruction that has had all its slices.
    fn patiently(&mut self, mut go: impl FnMut(&mut Cpu) -> Option<Exit>) -> Option<Exit> {
        let mut instruction = None;
        let mut slices = 0;
        loop {
            let exit = go(&mut self.cpu);
            let now = Some(self.cpu.retired());
            slices = if now == instruction { slices + 1 } else { 0 };
            instruction = now;
            if exit != Some(Exit::Repeats) || slices == MAX_SLICES {
                return exit;
            }
        }
    }

    /// Does what an exit asks for.
    fn act(&mut self, exit: Exit, until: &Until<'_>) -> Option<Stop> {
        match exit {
            Exit::Budget | Exit::InterruptWindow | Exit::Halt => {}
            Exit::Repeats => self.state.off = Some(Off::EndlessString),
            Exit::Shutdown => self.state.off = Some(self.why_reset(Off::Reset)),
            Exit::Spinning => self.spin(),
            Exit::Failed => {
                let error = self.cpu.error().expect("an engine that failed says why");
                self.state.off = Some(Off::Engine(error));
            }
            _ => return self.serve(exit, until),
        }
        None
    }

    /// Lets time pass for a guest that has no exits by which it would, so that its timer
    /// may get it out of what it does.
    fn spin(&mut self) {
        let next = self.next_event();
        self.state.spins += 1;
        self.state.spinning += 1;
        if next == u64::MAX || self.state.spinning > MAX_SPINS {
            self.state.off = Some(Off::Spinning);
        } else {
            self.state.clock.jump(self.cpu.count(), next);
        }
    }

    /// Brings in what is due at T = `now`.
    fn apply_due(&mut self, now: u64) {
        let state = &mut self.state;
        while let Some(entry) = state.inputs.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let input = entry.remove();
            state.input_bytes -= input.len();
            let local = state.clock.local(now);
            state.advanced = local;
            // A card or console without room loses what arrives, as real ones do.
            let memory = self.ram.guest_memory();
            let _taken = match &input {
                Input::Frame(frame) => state.platform.receive_frame(frame, local, memory),
                Input::Control(bytes) => state.platform.console_input(bytes, local, memory),
            };
        }
        if let Some(due) = state.platform.deadline(state.advanced) {
            let local = state.clock.local(now);
            if due <= local {
                state.platform.advance(local, self.ram.guest_memory());
                state.advanced = local;
            }
        }
    }

    /// Delivers the pending interrupt; `true` if it has to wait for a window.
    fn offer_interrupt(&mut self) -> bool {
        if !self.cpu.interruptible() {
            return true;
        }
        let vector = self.state.platform.acknowledge();
        self.cpu.inject(vector);
        false
    }

    /// T of the next input or timer; `u64::MAX` if there is none.
    fn next_event(&self) -> u64 {
        let state = &self.state;
        let input = state.inputs.keys().next().map(|key| key.0);
        let timer = state.platform.deadline(state.advanced);
        let timer = timer.map(|local| state.clock.time_of_local(local));
        input.into_iter().chain(timer).min().unwrap_or(u64::MAX)
    }

    /// Answers an I/O exit, and all others of the same instruction.
    fn serve(&mut self, exit: Exit, until: &Until<'_>) -> Option<Stop> {
        let mut stop = None;
        let mut exit = exit;
        self.state.spinning = 0;
        for _ in 0..MAX_PARTS {
            if !exit.is_io() {
                return stop.or(self.act(exit, until));
            }
            self.state.exits += 1;
            stop = stop.or(self.answer(exit, until));
            let next = self.patiently(Cpu::more).or_else(|| self.note_end());
            match next {
                Some(next) => exit = next,
                None => return stop,
            }
        }
        self.state.off = Some(Off::EndlessIo);
        stop
    }

    /// Lets the addressed device answer one access.
    fn answer(&mut self, exit: Exit, until: &Until<'_>) -> Option<Stop> {
        let time = self.time();
        let now = self.state.clock.local(time);
        let platform = &mut self.state.platform;
        let memory = self.ram.guest_memory();
        let mut stop = None;
        match exit {
            Exit::PortOut {
                port: protocol::PORT,
                size,
                ..
            } => {
                let sent = self.state.sdk.call(&mut self.cpu, size, time);
                self.complete(exit, 0);
                if let Some(sent) = sent {
                    match sent.what {
                        What::Boot if until.boot => stop = Some(Stop::Boot),
                        What::Order => {
                            let turn = (time / TURN_NS + 1).saturating_mul(TURN_NS);
                            self.state.clock.jump(self.cpu.count(), turn);
                        }
                        What::Boot | What::Other => {}
                    }
                    self.push(time, OutputKind::Message(sent.bytes));
                }
            }
            Exit::PortOut { port, size, value } => {
                platform.port_write(port, size, value, now, memory);
                self.state.advanced = now;
                self.complete(exit, 0);
                if (0x3F8..0x400).contains(&port) {
                    stop = self.serial_output(time, until);
                }
            }
            Exit::PortIn { port, size } => {
                let value = platform.port_read(port, size, now, memory);
                self.state.advanced = now;
                self.complete(exit, u64::from(value));
            }
            Exit::ReadTsc => {
                let khz = self.config.cpu.tsc_khz;
                self.complete(exit, VirtualTsc { khz }.ticks(now));
            }
            Exit::MmioRead { address, size } => {
                let value = platform.mmio_read(address, size, now, memory);
                self.state.advanced = now;
                self.complete(exit, value);
            }
            Exit::MmioWrite {
                address,
                size,
                value,
            } => {
                platform.mmio_write(address, size, value, now, memory);
                let frames = platform.take_frames();
                // The agent's channel has one direction; nobody listens to the other.
                drop(platform.take_console_output());
                self.state.advanced = now;
                self.complete(exit, 0);
                for frame in frames {
                    self.push(time, OutputKind::Frame(frame));
                }
            }
            _ => unreachable!("{exit:?} is no access to a device"),
        }
        stop
    }

    /// Lets the CPU have the answer to an access.
    fn complete(&mut self, exit: Exit, answer: u64) {
        let count = self.cpu.count();
        self.cpu.complete(answer);
        self.note_access(count, exit, answer);
    }

    fn push(&mut self, time: u64, kind: OutputKind) {
        if !self.state.outbox.push(time, kind) {
            self.state.off = Some(Off::Flood);
        }
    }

    /// Moves what COM1 wrote into the outbox, looking for panics and the wanted pattern.
    fn serial_output(&mut self, time: u64, until: &Until<'_>) -> Option<Stop> {
        let bytes = self.state.platform.take_serial_output();
        if bytes.is_empty() {
            return None;
        }
        let lines = self.state.outbox.serial(time, &bytes);
        let mut found = false;
        for line in &lines {
            if self.state.panic.is_none() && line.contains("Kernel panic") {
                self.state.panic = Some(line.clone());
            }
            found |= until.serial.is_some_and(|p| contains(line.as_bytes(), p));
        }
        let partial = self.state.outbox.partial_line();
        found |= until.serial.is_some_and(|p| contains(partial, p));
        found.then_some(Stop::Serial)
    }

    fn why_reset(&self, otherwise: Off) -> Off {
        match &self.state.panic {
            Some(text) => Off::Panic(text.clone()),
            None => otherwise,
        }
    }
}

fn contains(text: &[u8], pattern: &[u8]) -> bool {
    pattern.is_empty() || text.windows(pattern.len()).any(|window| window == pattern)
}
