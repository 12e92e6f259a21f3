//! The run loop: block after block to an exact instruction count.

use std::sync::Arc;

use super::bits::{CR0_PG, EFER_LMA, IF, TF};
use super::blocks::Blocks;
use super::code::{BlockId, CodeStore};
use super::core::{Core, Trap};
use super::coverage::CodeMap;
use super::exceptions::{Fault, SS, Source};
use super::fetch::Met;
use super::op::{Flow, Op};
use super::state::{BLOCK, CpuState, seg};
use super::translate::mode_of;
use crate::cpu::paging::{Access, each_page};
use crate::cpu::ram::{CODE, FOREIGN, PAGE_SIZE};
use crate::cpu::{CpuConfig, Exit, Missing, Ram, Vcpu};

/// Instructions without an exit after which a guest spins, where only exits count.
const PATIENCE: u64 = 1 << 28;

/// The software CPU.
pub struct SoftCpu {
    pub(super) core: Core,
    pub(super) blocks: Blocks,
    pub(super) code_map: Arc<CodeMap>,
    /// Where blocks are decoded to.
    pub(super) decoded: Vec<Op>,
    /// Instructions that had retired when an exit was last answered.
    begun: u64,
    /// The marks' epoch when the TLB's write tags were last valid.
    epoch: u64,
}

/// What an op on its own came to.
enum Step {
    /// It retired, or an exception was delivered.
    Done,
    /// It waits for the caller.
    Exit(Exit),
}

impl SoftCpu {
    /// A CPU in its reset state over `ram`.
    pub fn new(ram: Ram, config: CpuConfig) -> SoftCpu {
        let epoch = ram.marks().epoch();
        SoftCpu {
            core: Core::new(ram, config),
            blocks: Blocks::new(CodeStore::shared(None)),
            code_map: Arc::default(),
            decoded: Vec::new(),
            begun: u64::MAX,
            epoch,
        }
    }

    /// The architectural state, in its one canonical form.
    pub fn state(&self) -> &CpuState {
        &self.core.s
    }

    /// Replaces the architectural state, and forgets translations of the old one.
    pub fn set_state(&mut self, state: CpuState) {
        let core = &mut self.core;
        core.s = state;
        let flags = core.s.rflags;
        core.set_status(flags);
        core.set_cpl(core.s.cpl);
        core.settle();
        core.flush_translations();
    }

    /// Forgets everything that was derived: the guest must not notice.
    pub fn flush_caches(&mut self) {
        self.core.flush_translations();
        self.drop_all_code();
    }

    /// Instructions retired since reset.
    pub fn retired(&self) -> u64 {
        self.core.s.retired
    }

    /// Instructions that the guest tried to execute and this CPU does not have.
    pub fn missing(&self) -> &Missing {
        &self.core.missing
    }

    /// Names the pages of packed files, for coverage of user code.
    pub fn set_code_map(&mut self, map: Arc<CodeMap>) {
        if self.code_map != map {
            self.code_map = map;
            self.drop_all_code();
        }
    }

    /// Exchanges the counters of edges, `REGIONS` times `REGION` of them; edges are
    /// counted while there are any.
    pub fn swap_counters(&mut self, counters: &mut Box<[u8]>) {
        std::mem::swap(&mut self.core.coverage, counters);
    }

    /// What clearing the dirty marks, as a snapshot does, asks of this CPU.
    #[cfg(test)]
    pub(super) fn forget_writes(&mut self) {
        let ram = &self.core.ram;
        for pfn in 0..ram.pages() {
            ram.marks()
                .clear(pfn, crate::cpu::ram::DIRTY | crate::cpu::ram::STALE);
        }
        ram.marks().bump();
    }

    pub(super) fn drop_all_code(&mut self) {
        for pfn in self.blocks.pages() {
            self.drop_code(pfn);
        }
    }

    fn drop_code(&mut self, pfn: u32) {
        self.blocks.drop_page(pfn);
        self.core.ram.marks().clear(u64::from(pfn), CODE);
    }

    /// Catches up with what others did to memory since the last run.
    fn refresh(&mut self) {
        let epoch = self.core.ram.marks().epoch();
        if epoch != self.epoch {
            self.epoch = epoch;
            self.core.tlb.flush_writes();
        }
        if !self.core.ram.marks().take_foreign() {
            return;
        }
        let marks = self.core.ram.marks();
        let mut foreign = self.blocks.pages();
        foreign.retain(|&pfn| marks.get(u64::from(pfn)) & FOREIGN != 0);
        let mut remapped = false;
        for &pfn in &self.core.tables {
            remapped |= marks.get(u64::from(pfn)) & FOREIGN != 0;
            marks.clear(u64::from(pfn), FOREIGN);
        }
        for pfn in foreign {
            self.core.ram.marks().clear(u64::from(pfn), FOREIGN);
            self.drop_code(pfn);
        }
        if remapped {
            self.core.flush_translations();
        }
    }

    /// Drops what instructions have made out of date.
    fn catch_up(&mut self) {
        while let Some(pfn) = self.core.changed_code.pop() {
            self.drop_code(pfn);
        }
        if std::mem::take(&mut self.core.remapped) {
            self.blocks.select(self.core.tlb.id());
        }
    }

    fn run_to(&mut self, limit: u64, window: bool) -> Exit {
        if let Some(exit) = self.unfinished() {
            return exit;
        }
        self.refresh();
        let mut mode = 0;
        let mut last: Option<(u64, BlockId)> = None;
        self.core.attention = true;
        loop {
            if self.core.attention {
                if let Some(exit) = self.attend(limit, window) {
                    return exit;
                }
                mode = mode_of(&self.core);
                last = None;
            }
            let left = limit.saturating_sub(self.core.s.retired);
            if left == 0 {
                return Exit::Budget;
            }
            let rip = self.core.s.rip;
            let Some(id) = self.next(last, rip, mode) else {
                if let Err(exit) = self.meet(rip, mode) {
                    return exit;
                }
                continue;
            };
            last = Some((rip, id));
            let core = &mut self.core;
            core.s.gpr[BLOCK as usize] = rip;
            let block = self.blocks.block(id);
            let mut ops = &*block.ops;
            let mut end = u64::from(block.bytes);
            if ops.len() as u64 > left {
                end = u64::from(ops[left as usize].off);
                ops = &ops[..left as usize];
            }
            let mut done = ops.len() as u64;
            let mut trapped = None;
            let mut flow = Flow::Next;
            for (n, op) in ops.iter().enumerate() {
                flow = (op.run)(core, op);
                if flow != Flow::Next {
                    done = n as u64 + 1;
                    if flow == Flow::Trap {
                        done = n as u64;
                        trapped = Some(*op);
                    }
                    break;
                }
            }
            core.s.retired += done;
            if flow == Flow::Next {
                core.s.rip = rip.wrapping_add(end);
            } else if let Some(op) = trapped
                && let Step::Exit(exit) = self.trapped(&op)
            {
                return exit;
            }
        }
    }

    /// [`SoftCpu::run_to`] where only exits count: whatever lies between two of them
    /// happens at once.
    fn run_to_exit(&mut self, limit: u64, window: bool) -> Exit {
        let s = &self.core.s;
        if s.exits >= limit && !s.halted && !s.shutdown {
            return Exit::Budget;
        }
        let exits = s.exits;
        match self.run_to(s.retired.saturating_add(PATIENCE), window) {
            Exit::Budget if self.core.s.exits == exits => Exit::Spinning,
            exit => exit,
        }
    }

    /// [`Vcpu::run`] that also comes back, with [`Exit::Budget`], at the first boundary in
    /// ring 3. Costs nothing on the way, since a change of privilege asks for attention.
    pub fn run_to_user_mode(&mut self, limit: u64, window: bool) -> Exit {
        self.core.to_user_mode = true;
        let exit = self.run(limit, window);
        self.core.to_user_mode = false;
        exit
    }

    /// The block at `rip`, after the one that has just been left for it, if any.
    #[inline(always)]
    fn next(&self, last: Option<(u64, BlockId)>, rip: u64, mode: u8) -> Option<BlockId> {
        let beside = last.filter(|(from, _)| (from ^ rip) < PAGE_SIZE);
        if let Some((_, last)) = beside {
            let offset = (rip % PAGE_SIZE) as u16;
            if let Some(id) = self.blocks.code().follow(last, offset) {
                return Some(id);
            }
        }
        let id = self.blocks.jump(rip, mode)?;
        if let Some((_, last)) = beside {
            self.blocks.code().link(last, id);
        }
        Some(id)
    }

    /// Deals with an op that trapped; the block's earlier ops have retired.
    #[cold]
    fn trapped(&mut self, op: &Op) -> Step {
        let core = &mut self.core;
        core.s.rip = core.s.gpr[BLOCK as usize].wrapping_add(u64::from(op.off));
        match core.trap {
            Trap::Exception { vector, error } => {
                core.fail(op, vector, error);
                Step::Done
            }
            Trap::Alone | Trap::Again => core.step(op),
            Trap::Slice => Step::Exit(Exit::Repeats),
            Trap::Exit(exit) => Step::Exit(exit),
        }
    }

    /// An instruction that has begun to talk to devices.
    fn unfinished(&self) -> Option<Exit> {
        let write = self.core.s.pending.writes.first()?;
        Some(Exit::MmioWrite {
            address: write.address,
            size: write.size,
            value: write.value,
        })
    }

    /// Everything that is to be looked at between two instructions but seldom changes.
    #[cold]
    fn attend(&mut self, limit: u64, window: bool) -> Option<Exit> {
        loop {
            self.core.attention = false;
            self.catch_up();
            let s = &self.core.s;
            if s.shutdown {
                return Some(Exit::Shutdown);
            }
            if s.cr0 & CR0_PG == 0
                || s.efer & EFER_LMA == 0
                || s.segs[seg::CS].attributes & 0x6000 != 0x2000
            {
                self.core.s.shutdown = true;
                return Some(Exit::Shutdown);
            }
            if s.nmi_pending {
                self.core.take_nmi();
            }
            let s = &self.core.s;
            if s.halted {
                return Some(Exit::Halt);
            }
            if std::mem::take(&mut self.core.passed) {
                return Some(Exit::Budget);
            }
            let resumed = !s.pending.answers.is_empty();
            if self.core.to_user_mode && s.cpl == 3 && !resumed {
                return Some(Exit::Budget);
            }
            if window && s.rflags & IF != 0 && !s.shadow && !resumed {
                return Some(Exit::InterruptWindow);
            }
            if !s.shadow && s.rflags & TF == 0 && !resumed {
                return None;
            }
            if s.retired >= limit {
                return Some(Exit::Budget);
            }
            if let Step::Exit(exit) = self.single() {
                return Some(exit);
            }
        }
    }

    /// Runs one instruction, with what TF and the interrupt shadow ask for.
    fn single(&mut self) -> Step {
        let rip = self.core.s.rip;
        let mode = mode_of(&self.core);
        let op = match self.blocks.jump(rip, mode) {
            Some(id) => self.blocks.block(id).ops[0],
            None => match self.locate(rip, mode) {
                Ok(Met::Block(block)) => {
                    self.blocks.remember(rip, mode, block);
                    return self.single();
                }
                Ok(Met::Op(op)) => op,
                Err(fault) => {
                    self.core.exception(fault);
                    return Step::Done;
                }
            },
        };
        self.core.s.gpr[BLOCK as usize] = rip;
        self.core.step(&op)
    }

    /// Finds the block at `rip` for the jump cache, or runs an instruction that has none.
    #[cold]
    fn meet(&mut self, rip: u64, mode: u8) -> Result<(), Exit> {
        match self.locate(rip, mode) {
            Ok(Met::Block(block)) => self.blocks.remember(rip, mode, block),
            Ok(Met::Op(op)) => {
                self.core.s.gpr[BLOCK as usize] = rip;
                if let Step::Exit(exit) = self.core.step(&op) {
                    return Err(exit);
                }
            }
            Err(fault) => self.core.exception(fault),
        }
        Ok(())
    }
}

impl Core {
    /// Brings the state into its one canonical form.
    fn settle(&mut self) {
        self.s.rflags = self.flags() | 2;
        self.s.gpr[super::state::ZERO as usize] = 0;
        self.s.gpr[BLOCK as usize] = 0;
    }

    /// Delivers the exception that `op` raised; `s.rip` points at it.
    fn fail(&mut self, op: &Op, vector: u8, error: Option<u32>) {
        self.s.pending.answers.clear();
        let mut fault = Fault { vector, error };
        if std::mem::take(&mut self.not_canonical) && vector == 13 && self.on_stack(op) {
            fault.vector = SS;
        }
        self.exception(fault);
    }

    /// Whether the non-canonical access of `op` went through SS: with RSP or RBP as
    /// base, or implicitly.
    fn on_stack(&self, op: &Op) -> bool {
        let explicit = op.base == 4 || op.base == 5;
        let rsp = self.s.gpr[4];
        op.ea & 3 == 0 && (explicit || self.fault_address.wrapping_sub(rsp).wrapping_add(64) < 128)
    }

    /// Runs `op`, at `s.rip`, on its own.
    fn step(&mut self, op: &Op) -> Step {
        let stepping = self.s.rflags & TF != 0;
        let shadow = std::mem::take(&mut self.s.shadow);
        self.alone = true;
        self.answered = 0;
        let flow = (op.run)(self, op);
        self.alone = false;
        self.attention = true;
        match flow {
            Flow::Next => self.s.rip = op.next_rip(self),
            Flow::Jump => {}
            Flow::Trap => match self.trap {
                Trap::Exception { vector, error } => {
                    self.s.pending.writes.clear();
                    self.fail(op, vector, error);
                    return Step::Done;
                }
                Trap::Exit(exit) => {
                    self.s.shadow = shadow;
                    return Step::Exit(exit);
                }
                Trap::Again | Trap::Slice => {
                    let slice = self.trap == Trap::Slice;
                    self.s.pending.answers.clear();
                    self.s.pending.again = true;
                    self.s.shadow = shadow;
                    return match self.written(stepping) {
                        Step::Done if slice => Step::Exit(Exit::Repeats),
                        step => step,
                    };
                }
                Trap::Alone => {
                    self.s.shutdown = true;
                    return Step::Exit(Exit::Shutdown);
                }
            },
        }
        self.s.pending.answers.clear();
        self.written(stepping)
    }

    /// Goes on behind an op: first its stores to devices have to be carried out.
    fn written(&mut self, stepping: bool) -> Step {
        self.s.pending.stepping = stepping;
        if let Some(write) = self.s.pending.writes.first() {
            return Step::Exit(Exit::MmioWrite {
                address: write.address,
                size: write.size,
                value: write.value,
            });
        }
        if !std::mem::take(&mut self.s.pending.again) {
            self.s.retired += 1;
            if std::mem::take(&mut self.s.pending.stepping) {
                self.s.dr[6] |= 1 << 14;
                self.exception(Fault::new(1, None));
            }
        }
        Step::Done
    }
}

impl Vcpu for SoftCpu {
    fn run(&mut self, limit: u64, window: bool) -> Exit {
        let exit = if self.core.by_exits {
            self.run_to_exit(limit, window)
        } else {
            self.run_to(limit, window)
        };
        self.core.settle();
        exit
    }

    fn complete(&mut self, value: u64) {
        self.refresh();
        self.catch_up();
        let core = &mut self.core;
        self.begun = core.s.retired;
        core.s.exits += 1;
        if core.s.pending.writes.is_empty() {
            core.s.pending.answers.push(value);
            // Whatever it wants next it will ask for again in the next `run`.
            let _ = self.single();
        } else {
            core.s.pending.writes.remove(0);
            let stepping = core.s.pending.stepping;
            let _ = core.written(stepping);
        }
        self.core.settle();
    }

    fn more(&mut self) -> Option<Exit> {
        if self.core.s.retired > self.begun {
            return None;
        }
        let exit = self.run_to(self.begun + 1, false);
        self.core.settle();
        (exit != Exit::Budget).then_some(exit)
    }

    fn finish(&mut self) -> Option<Exit> {
        None
    }

    fn count(&self) -> u64 {
        if self.core.by_exits {
            self.core.s.exits
        } else {
            self.core.s.retired
        }
    }

    fn interruptible(&mut self) -> bool {
        let s = &self.core.s;
        let idle = s.pending.writes.is_empty() && s.pending.answers.is_empty();
        s.rflags & IF != 0 && !s.shadow && !s.shutdown && idle
    }

    fn inject(&mut self, vector: u8) {
        self.core.s.halted = false;
        let fault = Fault::new(vector, None);
        self.core.event(fault, Source::External);
        self.core.settle();
    }

    fn nmi(&mut self) {
        self.core.s.nmi_pending = true;
        self.core.take_nmi();
        self.core.settle();
    }

    fn halted(&self) -> bool {
        self.core.s.halted
    }

    fn rip(&mut self) -> u64 {
        self.core.s.rip
    }

    fn gpr(&mut self, index: usize) -> u64 {
        self.core.s.gpr[index & 15]
    }

    fn set_gpr(&mut self, index: usize, value: u64) {
        self.core.s.gpr[index & 15] = value;
    }

    fn read_virtual(&mut self, address: u64, into: &mut [u8]) -> bool {
        let ram = self.core.ram.clone();
        let resolve = |at| self.core.walk(at, Access::Read, false).ok();
        each_page(address, into.len(), resolve, |mapped, range| {
            ram.read(mapped.physical, &mut into[range]).is_ok()
        })
    }

    fn write_virtual(&mut self, address: u64, from: &[u8]) -> bool {
        let ram = self.core.ram.clone();
        let mut resolve = |at| self.core.walk(at, Access::Write, true).ok();
        // First look at every page, so that it is all or nothing.
        each_page(address, from.len(), &mut resolve, |mapped, _| {
            mapped.physical < ram.size()
        }) && each_page(address, from.len(), &mut resolve, |mapped, range| {
            ram.write(mapped.physical, &from[range]).is_ok()
        })
    }
}
