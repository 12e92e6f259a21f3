//! The running CPU as handlers see it: the architectural state and what is derived from it.

use super::op::{Flow, Op, ea};
use super::state::{CpuState, seg};
use super::tlb::Tlb;
use crate::cpu::ram::CODE;
use crate::cpu::{CpuConfig, Exit, Missing, Ram};

/// A string instruction comes back to the caller whenever a multiple of this is left.
const SLICE: u64 = 1 << 20;

/// Why an op did not retire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// An exception.
    Exception {
        /// Vector, 0..32.
        vector: u8,
        /// Error code where the vector has one.
        error: Option<u32>,
    },
    /// The access left RAM, waits for the device, or wrote to code or page tables: the
    /// op runs again on its own, outside of the block.
    Alone,
    /// One iteration of a string instruction is done and the others are to follow as
    /// if the instruction began anew; see [`Core::iterated`].
    Again,
    /// As [`Trap::Again`], after so many iterations that the caller is to have a look.
    Slice,
    /// The op wants this from the caller before it can retire.
    Exit(Exit),
}

/// The running CPU: architectural state and the caches derived from it.
pub struct Core {
    /// The architectural state.
    pub s: CpuState,
    /// Why the last op did not retire.
    pub trap: Trap,
    /// Guest memory.
    pub ram: Ram,
    /// Status flags that nobody has asked for yet.
    pub(super) lazy: super::flags::Lazy,
    /// What the CPU claims to be.
    pub config: CpuConfig,
    pub(super) tlb: Tlb,
    /// Pages that carry the TABLE mark.
    pub(super) tables: Vec<u32>,
    /// The op runs on its own, where it may reach devices and change code or page tables.
    pub(super) alone: bool,
    /// Answers of `s.pending` that the op has used so far.
    pub(super) answered: usize,
    /// Linear address of the last page fault or non-canonical access.
    pub(super) fault_address: u64,
    /// The last exception came from a non-canonical address.
    pub(super) not_canonical: bool,
    /// The run loop has to look at more than the next block.
    pub(super) attention: bool,
    /// Exits are counted, not instructions.
    pub(super) by_exits: bool,
    /// An exit that needs no answer was counted, and the caller is to be told.
    pub(super) passed: bool,
    /// The run is to end at the first boundary in ring 3.
    pub(super) to_user_mode: bool,
    /// Virtual addresses may lead elsewhere than before.
    pub(super) remapped: bool,
    /// Pages whose decoded code is out of date.
    pub(super) changed_code: Vec<u32>,
    /// How often each edge was taken; none are counted while it is empty.
    pub(super) coverage: Box<[u8]>,
    pub(super) missing: Missing,
}

impl Core {
    /// A CPU after reset.
    pub(super) fn new(ram: Ram, config: CpuConfig) -> Core {
        Core {
            s: CpuState::default(),
            trap: Trap::Alone,
            ram,
            lazy: Default::default(),
            config,
            tlb: Tlb::new(),
            tables: Vec::new(),
            alone: false,
            answered: 0,
            fault_address: 0,
            not_canonical: false,
            by_exits: config.by_exits,
            passed: false,
            to_user_mode: false,
            attention: true,
            remapped: true,
            changed_code: Vec::new(),
            coverage: Box::default(),
            missing: Missing::default(),
        }
    }

    /// Records exception `vector` and answers the flow that raises it.
    #[cold]
    pub fn raise(&mut self, vector: u8, error: Option<u32>) -> Flow {
        self.trap = Trap::Exception { vector, error };
        Flow::Trap
    }

    /// Lets the op wait for the caller of `run`.
    pub(super) fn wait(&mut self, exit: Exit) -> Flow {
        self.trap = Trap::Exit(exit);
        Flow::Trap
    }

    /// The caller's answer to the next of the op's exits, if it has come.
    pub(super) fn answer(&mut self) -> Option<u64> {
        let value = *self.s.pending.answers.get(self.answered)?;
        self.answered += 1;
        Some(value)
    }

    /// To be called by a repeated string instruction after iterations that leave `left`
    /// to do, when its registers say so too. On `true` the handler returns
    /// [`Flow::Trap`]; the run loop carries out what the iteration wrote to devices and
    /// goes on with the instruction.
    #[inline(always)]
    pub fn iterated(&mut self, left: u64) -> bool {
        let slice = left.is_multiple_of(SLICE);
        if slice {
            self.trap = Trap::Slice;
        } else if self.alone {
            self.trap = Trap::Again;
        }
        slice || self.alone
    }

    /// How many of the `left` iterations of a string instruction belong to its present slice.
    #[inline(always)]
    pub fn slice(left: u64) -> u64 {
        (left.wrapping_sub(1) & (SLICE - 1)) + 1
    }

    /// Applies the `ea` bits to an effective address.
    #[inline]
    pub fn segmented(&self, mut address: u64, bits: u8) -> u64 {
        if bits & ea::ADDR32 != 0 {
            address &= 0xFFFF_FFFF;
        }
        if bits & ea::FS != 0 {
            address = address.wrapping_add(self.s.segs[seg::FS].base);
        }
        if bits & ea::GS != 0 {
            address = address.wrapping_add(self.s.segs[seg::GS].base);
        }
        address
    }

    /// Ends the block at `rip`.
    #[inline(always)]
    pub fn jump(&mut self, rip: u64) -> Flow {
        self.s.rip = rip;
        Flow::Jump
    }

    /// Ends the block behind `op`.
    #[inline(always)]
    pub fn end_block(&mut self, op: &Op) -> Flow {
        self.jump(op.next_rip(self))
    }

    /// Changes the privilege level.
    pub(super) fn set_cpl(&mut self, cpl: u8) {
        self.s.cpl = cpl;
        self.tlb.set_user(cpl == 3);
        self.attention = true;
    }

    /// Notes that the decoded code of page `pfn` is out of date.
    pub(super) fn code_changed(&mut self, pfn: u64) {
        self.changed_code.push(pfn as u32);
        self.attention = true;
    }

    /// Sends stores to page `pfn` through the careful path from now on.
    pub(super) fn protect(&mut self, pfn: u64) {
        if let Some(host) = self.ram.host_page(pfn) {
            self.tlb.protect(host as usize);
        }
    }

    /// Marks page `pfn` as one whose code was decoded.
    pub(super) fn mark_code(&mut self, pfn: u64) {
        if self.ram.marks().get(pfn) & CODE == 0 {
            self.ram.marks().set(pfn, CODE);
            self.protect(pfn);
        }
    }
}
