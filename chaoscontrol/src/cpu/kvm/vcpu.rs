//! One virtual CPU on the host's own.
//!
//! Time is counted in completed exits, since nothing else that the host's CPU offers is
//! the same in two runs. KVM completes an exit only on its next entry, so an exit may be
//! *owed*: whoever wants to see the state behind it lets KVM enter and leave at once.

use std::collections::VecDeque;
use std::mem::offset_of;
use std::ops::Range;
use std::time::Duration;

use kvm_bindings::{KVM_EXIT_IO_IN, kvm_regs, kvm_run};
use kvm_ioctls::{VcpuExit, VcpuFd, VmFd};

use super::alarm::{self, Patience};
use super::host::KvmError;
use super::state::{gprs, load, save};
use super::vm::{SLOT, call, create};
use crate::cpu::bits::{CR0_WP, EFER_NXE};
use crate::cpu::missing::{Missing, record_named};
use crate::cpu::msr::{Msr, msr};
use crate::cpu::paging::{Access, Tables, each_page, walk};
use crate::cpu::ram::{DIRTY, PAGE_SIZE, Ram, STALE};
use crate::cpu::state::CpuState;
use crate::cpu::{Exit, Vcpu, natural};

const RUN: &str = "run the guest";

/// What the caller has to answer: an access to a port or a device is taken apart into
/// elements of their natural size.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    exit: Exit,
    /// Where KVM takes the answer from, in the pages that it shares with us; empty for writes.
    place: Range<usize>,
}

/// What KVM does on its next way in and out, whether it runs the guest or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owed {
    /// Nothing.
    Nothing,
    /// It says whether an interrupt could be taken now, after a change of state.
    Readiness,
    /// It completes an exit that was answered.
    Exit,
}

/// A virtual CPU that KVM runs.
pub struct KvmCpu {
    vcpu: VcpuFd,
    vm: VmFd,
    /// What KVM does not hold: time, HLT, and the registers it is not asked to keep.
    kept: CpuState,
    /// What is left of the exit that is being answered.
    waiting: VecDeque<Part>,
    owed: Owed,
    regs: Option<kvm_regs>,
    regs_changed: bool,
    missing: Missing,
    error: Option<KvmError>,
    /// CPU time after which a guest without exits spins.
    pub(crate) patience: Duration,
    /// Last, so that it goes after the machine that uses it.
    ram: Ram,
}

impl KvmCpu {
    /// A CPU in its reset state over `ram`.
    ///
    /// # Errors
    /// KVM is not to be had, or refuses.
    pub fn new(ram: Ram) -> Result<KvmCpu, KvmError> {
        let (vm, vcpu) = create(&ram)?;
        Ok(KvmCpu {
            vcpu,
            vm,
            kept: CpuState::default(),
            waiting: VecDeque::new(),
            owed: Owed::Nothing,
            regs: None,
            regs_changed: false,
            missing: Missing::default(),
            error: None,
            patience: alarm::PATIENCE,
            ram,
        })
    }

    /// Why [`Exit::Failed`] came.
    pub fn error(&self) -> Option<&KvmError> {
        self.error.as_ref()
    }

    /// Model-specific registers that the guest tried to use and that there are not.
    pub fn missing(&self) -> &Missing {
        &self.missing
    }

    /// The architectural state between two instructions.
    pub fn state(&mut self) -> CpuState {
        let saved = self.flush().and_then(|()| save(&self.vcpu, &self.kept));
        saved.unwrap_or_else(|error| {
            self.fail(error);
            self.kept.clone()
        })
    }

    /// Replaces the architectural state.
    pub fn set_state(&mut self, state: CpuState) {
        // What is under way would be done to the new state.
        while self.owed == Owed::Exit || !self.waiting.is_empty() {
            self.waiting.clear();
            self.enter(true);
        }
        self.error = None;
        self.regs = None;
        self.regs_changed = false;
        self.kept = state;
        if let Err(error) = load(&self.vcpu, &self.kept) {
            self.fail(error);
        }
        self.owed = Owed::Readiness;
    }

    /// Marks the pages that the guest has written since the last call.
    pub fn mark_written(&mut self) {
        let log = self.vm.get_dirty_log(SLOT, self.ram.size() as usize);
        match call("tell which pages were written", log) {
            Ok(log) => mark(&self.ram, &log),
            Err(error) => _ = self.fail(error),
        }
    }

    /// Hands changed registers to KVM.
    fn flush(&mut self) -> Result<(), KvmError> {
        if std::mem::take(&mut self.regs_changed)
            && let Some(regs) = &self.regs
        {
            call("set registers", self.vcpu.set_regs(regs))?;
        }
        Ok(())
    }

    fn fail(&mut self, error: KvmError) -> Exit {
        self.error.get_or_insert(error);
        Exit::Failed
    }

    fn registers(&mut self) -> Option<&mut kvm_regs> {
        if self.regs.is_none() {
            match call("read registers", self.vcpu.get_regs()) {
                Ok(regs) => self.regs = Some(regs),
                Err(error) => _ = self.fail(error),
            }
        }
        self.regs.as_mut()
    }

    /// One KVM_RUN, with `immediately` only to complete what is owed. `None`: nothing but
    /// that, a signal, or an open window.
    fn enter(&mut self, immediately: bool) -> Option<Exit> {
        if let Err(error) = self.flush() {
            return Some(self.fail(error));
        }
        self.regs = None;
        self.owed = Owed::Nothing;
        self.vcpu.set_kvm_immediate_exit(immediately.into());
        #[cfg(test)]
        super::CALLS.set(super::CALLS.get() + 1);
        let exit = self.vcpu.run();
        match exit {
            Err(e) if e.errno() == libc::EINTR || e.errno() == libc::EAGAIN => None,
            Err(e) => Some(self.fail(KvmError::call(RUN)(e))),
            Ok(VcpuExit::IrqWindowOpen | VcpuExit::Intr) => None,
            Ok(VcpuExit::IoOut(..) | VcpuExit::IoIn(..)) => self.port(),
            Ok(VcpuExit::MmioRead(address, data)) => {
                let len = data.len();
                self.device(address, len, None)
            }
            Ok(VcpuExit::MmioWrite(address, data)) => {
                let mut bytes = [0; 8];
                bytes[..data.len()].copy_from_slice(data);
                let len = data.len();
                self.device(address, len, Some(bytes))
            }
            Ok(VcpuExit::Hlt) => {
                self.kept.exits += 1;
                self.kept.halted = true;
                Some(Exit::Halt)
            }
            Ok(VcpuExit::Shutdown) => {
                self.kept.shutdown = true;
                Some(Exit::Shutdown)
            }
            Ok(VcpuExit::X86Rdmsr(access)) => {
                let index = access.index;
                match msr(index) {
                    Some(Msr::Tsc) => {
                        let data = offset_of!(kvm_run, __bindgen_anon_1.msr.data);
                        return self.ask(Exit::ReadTsc, data..data + 8);
                    }
                    Some(register) => *access.data = register.read(&self.kept),
                    None => *access.error = 1,
                }
                Some(self.register_done("RDMSR", index))
            }
            Ok(VcpuExit::X86Wrmsr(access)) => {
                let (index, data) = (access.index, access.data);
                let written = msr(index).map(|register| register.write(&mut self.kept, data));
                if written != Some(Ok(())) {
                    *access.error = 1;
                }
                Some(self.register_done("WRMSR", index))
            }
            Ok(other) => {
                let why = format!("{other:?}");
                let at = self.vcpu.get_regs().map_or(0, |regs| regs.rip);
                Some(self.fail(KvmError::Call {
                    what: RUN,
                    why: format!("{why} at {at:#x}"),
                }))
            }
        }
    }

    /// An access to a withheld register is over.
    fn register_done(&mut self, what: &str, index: u32) -> Exit {
        if msr(index).is_none() {
            let rip = self.vcpu.get_regs().map_or(0, |regs| regs.rip);
            record_named(&mut self.missing, format!("{what} {index:#x}"), rip);
        }
        self.kept.exits += 1;
        self.owed = Owed::Exit;
        Exit::Budget
    }

    /// Lets the caller be asked for one more part; returns the first of them.
    fn ask(&mut self, exit: Exit, place: Range<usize>) -> Option<Exit> {
        self.waiting.push_back(Part { exit, place });
        self.next_part()
    }

    /// An access to a port, which has an element for each iteration of a string instruction.
    fn port(&mut self) -> Option<Exit> {
        // SAFETY: the exit was KVM_EXIT_IO, for which KVM has filled in this member.
        let io = unsafe { self.vcpu.get_kvm_run().__bindgen_anon_1.io };
        let (port, size) = (io.port, io.size);
        let mut start = io.data_offset as usize;
        for _ in 0..io.count {
            let place = start..start + usize::from(size);
            start = place.end;
            if u32::from(io.direction) == KVM_EXIT_IO_IN {
                self.ask(Exit::PortIn { port, size }, place);
            } else {
                let mut value = [0; 4];
                value[..size.into()].copy_from_slice(self.shared(place));
                let value = u32::from_le_bytes(value);
                self.ask(Exit::PortOut { port, size, value }, 0..0);
            }
        }
        self.next_part()
    }

    /// A load of `len` bytes from a device's address, or a store of those `written`.
    fn device(&mut self, address: u64, len: usize, written: Option<[u8; 8]>) -> Option<Exit> {
        let data = offset_of!(kvm_run, __bindgen_anon_1.mmio.data);
        let mut done = 0;
        while done < len {
            let address = address.wrapping_add(done as u64);
            let size = natural(address, len - done);
            let part = done..done + size;
            done = part.end;
            let size = size as u8;
            if let Some(bytes) = written {
                let mut value = [0; 8];
                value[..part.len()].copy_from_slice(&bytes[part]);
                let value = u64::from_le_bytes(value);
                self.ask(
                    Exit::MmioWrite {
                        address,
                        size,
                        value,
                    },
                    0..0,
                );
            } else {
                let place = data + part.start..data + part.end;
                self.ask(Exit::MmioRead { address, size }, place);
            }
        }
        self.next_part()
    }

    /// What the caller is to answer next.
    fn next_part(&self) -> Option<Exit> {
        self.waiting.front().map(|part| part.exit)
    }

    /// Some bytes of the pages that KVM shares with us, by their offset: those of the exit
    /// that is being answered.
    fn shared(&mut self, place: Range<usize>) -> &mut [u8] {
        let base = std::ptr::from_mut(self.vcpu.get_kvm_run()).cast::<u8>();
        // SAFETY: a place is either a member of `kvm_run`, or an element of those that KVM has
        // put at `data_offset`; both are in the pages that it shares, which `self.vcpu` keeps
        // mapped. The slice borrows `self`, so nothing else reaches them while it lives.
        unsafe { std::slice::from_raw_parts_mut(base.add(place.start), place.len()) }
    }

    /// Copies `answer` to where KVM takes it from.
    fn answer(&mut self, answer: u64) {
        let Some(Part { place, .. }) = self.waiting.pop_front() else {
            return;
        };
        let len = place.len();
        self.shared(place)
            .copy_from_slice(&answer.to_le_bytes()[..len]);
        self.kept.exits += 1;
        self.owed = Owed::Exit;
    }

    /// Lets KVM complete what it owes. Whatever else the instruction wants is `waiting` then.
    fn settle(&mut self) {
        if self.owed != Owed::Nothing && self.waiting.is_empty() {
            self.enter(true);
        }
    }

    /// Whether KVM would take an interrupt before the next instruction, as of its last exit.
    fn ready(&mut self) -> bool {
        self.vcpu.get_kvm_run().ready_for_interrupt_injection != 0
    }

    /// The registers that a walk depends on.
    fn tables(&mut self) -> Option<Tables> {
        match call("read system registers", self.vcpu.get_sregs()) {
            Ok(s) => Some(Tables {
                cr3: s.cr3,
                nxe: s.efer & EFER_NXE != 0,
                wp: s.cr0 & CR0_WP != 0,
                user: s.ss.dpl == 3,
            }),
            Err(error) => {
                self.fail(error);
                None
            }
        }
    }
}

/// Marks the pages of a dirty log, a bit each.
fn mark(ram: &Ram, log: &[u64]) {
    for (&word, first) in log.iter().zip((0..).step_by(64)) {
        let mut left = word;
        while left != 0 {
            ram.marks()
                .set(first + u64::from(left.trailing_zeros()), DIRTY | STALE);
            left &= left - 1;
        }
    }
}

impl Vcpu for KvmCpu {
    fn run(&mut self, limit: u64, window: bool) -> Exit {
        if window || self.kept.exits >= limit {
            self.settle();
        }
        if self.error.is_some() {
            return Exit::Failed;
        }
        if let Some(exit) = self.next_part() {
            return exit;
        }
        if self.kept.shutdown {
            return Exit::Shutdown;
        }
        if self.kept.halted {
            return Exit::Halt;
        }
        if self.kept.exits >= limit {
            return Exit::Budget;
        }
        self.vcpu.get_kvm_run().request_interrupt_window = window.into();
        if let Err(error) = alarm::set() {
            return self.fail(error);
        }
        let mut patience = Patience::default();
        loop {
            if window && self.ready() {
                return Exit::InterruptWindow;
            }
            if let Some(exit) = self.enter(false) {
                return exit;
            }
            if patience.is_over(self.patience) {
                return Exit::Spinning;
            }
        }
    }

    fn complete(&mut self, value: u64) {
        self.answer(value);
    }

    fn more(&mut self) -> Option<Exit> {
        self.next_part()
    }

    fn finish(&mut self) -> Option<Exit> {
        self.settle();
        self.next_part()
    }

    fn count(&self) -> u64 {
        self.kept.exits
    }

    fn interruptible(&mut self) -> bool {
        self.settle();
        self.waiting.is_empty() && !self.kept.shutdown && self.ready()
    }

    fn inject(&mut self, vector: u8) {
        self.kept.halted = false;
        // What is said of non-maskable interrupts stays.
        let injected = call("read events", self.vcpu.get_vcpu_events()).and_then(|mut events| {
            events.flags = 0;
            events.interrupt.injected = 1;
            events.interrupt.nr = vector;
            call("inject an interrupt", self.vcpu.set_vcpu_events(&events))
        });
        if let Err(error) = injected {
            self.fail(error);
        }
    }

    fn nmi(&mut self) {
        let sent = call("read events", self.vcpu.get_vcpu_events()).and_then(|events| {
            if events.nmi.masked == 0 {
                self.kept.halted = false;
            }
            call("send a non-maskable interrupt", self.vcpu.nmi())
        });
        if let Err(error) = sent {
            self.fail(error);
        }
    }

    fn halted(&self) -> bool {
        self.kept.halted
    }

    fn rip(&mut self) -> u64 {
        self.registers().map_or(0, |regs| regs.rip)
    }

    fn gpr(&mut self, index: usize) -> u64 {
        self.registers().map_or(0, |regs| *gprs(regs)[index & 15])
    }

    fn set_gpr(&mut self, index: usize, value: u64) {
        if let Some(regs) = self.registers() {
            *gprs(regs)[index & 15] = value;
            self.regs_changed = true;
        }
    }

    fn read_virtual(&mut self, address: u64, into: &mut [u8]) -> bool {
        let Some(tables) = self.tables() else {
            return false;
        };
        let ram = &self.ram;
        let resolve = |at| walk(ram, tables, at, Access::Read).ok();
        each_page(address, into.len(), resolve, |mapped, range| {
            ram.read(mapped.physical, &mut into[range]).is_ok()
        })
    }

    fn write_virtual(&mut self, address: u64, from: &[u8]) -> bool {
        let Some(tables) = self.tables() else {
            return false;
        };
        let ram = &self.ram;
        let resolve = |at| walk(ram, tables, at, Access::Write).ok();
        // First look at every page, so that it is all or nothing.
        each_page(address, from.len(), resolve, |mapped, _| {
            mapped.physical < ram.size()
        }) && each_page(address, from.len(), resolve, |mapped, range| {
            for (at, entry, want) in mapped.entries() {
                if want != entry {
                    ram.store_quad(at, want);
                    ram.marks().set(at / PAGE_SIZE, DIRTY | STALE);
                }
            }
            ram.write(mapped.physical, &from[range]).is_ok()
        })
    }
}
