//! A decoded instruction, and what its handler answers.
//!
//! Each family of instructions (`integer`, `sse`, `mmx`, `x87`, `system`) has a
//! `lower` function that picks the handler for an `iced_x86::Instruction` and fills
//! in the operands; whoever knows nothing of the instruction returns `None`.

use iced_x86::{Instruction, OpKind, Register};

use super::core::Core;
use super::state::{BLOCK, GPRS, ZERO};

/// What happens after an instruction.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// The next op of the block follows.
    Next = 0,
    /// Retired; `rip` has been set and the block ends (branches, and instructions after
    /// which modes, mappings or interruptibility may differ).
    Jump,
    /// Did not retire; changed no architectural state, but for what a restart repeats.
    /// [`Core::trap`] says why: an exception, an access that leaves RAM, or one that has to run on its own.
    Trap,
}

/// Executes one op.
pub type Handler = fn(&mut Core, &Op) -> Flow;

/// `ea` bits of an [`Op`].
pub mod ea {
    /// Add the base of FS.
    pub const FS: u8 = 1;
    /// Add the base of GS.
    pub const GS: u8 = 2;
    /// Truncate to 32 bits before the segment base is added.
    pub const ADDR32: u8 = 4;
}

/// A decoded instruction. Which of the fields mean something is the handler's business.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Op {
    /// The handler.
    pub run: Handler,
    /// Displacement; RIP-relative ones are relative to the block's first byte.
    pub disp: i64,
    /// Immediate, sign-extended; or for direct branches the target relative to the block's first byte.
    pub imm: u64,
    /// Base register, [`ZERO`] or [`BLOCK`].
    pub base: u8,
    /// Index register or [`ZERO`].
    pub index: u8,
    /// Shift of the index, 0..=3.
    pub scale: u8,
    /// Bits of [`ea`].
    pub ea: u8,
    /// Destination register.
    pub dst: u8,
    /// Source register.
    pub src: u8,
    /// Anything else the handler wants.
    pub aux: u8,
    /// Length in bytes.
    pub len: u8,
    /// Offset of the instruction's first byte from the block's.
    pub off: u16,
    /// `iced_x86::Code` as a number.
    pub code: u16,
    /// Position in the coverage map: not taken; taken is the next one.
    pub edge: u32,
}

impl Op {
    /// The op of `i` at `off` in its block, with `run` as its handler and no operands yet.
    pub fn new(i: &Instruction, off: u16, run: Handler) -> Op {
        Op {
            run,
            disp: 0,
            imm: 0,
            base: ZERO,
            index: ZERO,
            scale: 0,
            ea: 0,
            dst: 0,
            src: 0,
            aux: 0,
            len: i.len() as u8,
            off,
            code: i.code() as u16,
            edge: 0,
        }
    }

    /// The number by which handlers know register `r`: 0..=15 for general-purpose
    /// registers of every width, but 20..=23 for AH, CH, DH, BH; 0..=15 for XMM, 0..=7
    /// for MM and ST, segment, control and debug registers by their encoding.
    pub fn reg(r: Register) -> u8 {
        match r {
            Register::None => ZERO,
            Register::AH => 20,
            Register::CH => 21,
            Register::DH => 22,
            Register::BH => 23,
            // iced numbers SPL..DIL and R8L.. after AH..BH.
            r if r.is_gpr8() => (r.full_register() as u32 - Register::RAX as u32) as u8,
            r => r.number() as u8,
        }
    }

    /// Takes the memory operand of `i` over into `base`, `index`, `scale`, `disp` and `ea`.
    pub fn set_memory(&mut self, i: &Instruction) {
        self.ea = match i.memory_segment() {
            Register::FS => ea::FS,
            Register::GS => ea::GS,
            _ => 0,
        };
        let base = i.memory_base();
        let index = i.memory_index();
        if base == Register::RIP || base == Register::EIP {
            // iced gives the absolute target; blocks are decoded as if they began at 0
            // plus their page offset, and `off` is counted from the block's start.
            self.base = BLOCK;
            self.disp = (i.memory_displacement64() as i64)
                .wrapping_sub(i.ip() as i64)
                .wrapping_add(self.off as i64);
            if base == Register::EIP {
                self.ea |= ea::ADDR32;
            }
        } else {
            self.base = Op::reg(base);
            self.disp = i.memory_displacement64() as i64;
            if base.is_gpr32()
                || index.is_gpr32()
                || (base == Register::None && index == Register::None && i.memory_displ_size() == 4)
            {
                self.ea |= ea::ADDR32;
            }
        }
        self.index = Op::reg(index);
        self.scale = i.memory_index_scale().trailing_zeros() as u8;
    }

    /// Whether operand `n` of `i` is a memory operand with a ModRM byte.
    pub fn is_memory(i: &Instruction, n: u32) -> bool {
        i.op_kind(n) == OpKind::Memory
    }

    /// The instruction's effective linear address.
    #[inline(always)]
    pub fn address(&self, core: &Core) -> u64 {
        let gpr = &core.s.gpr;
        let a = gpr[self.base as usize % GPRS]
            .wrapping_add(gpr[self.index as usize % GPRS] << (self.scale & 3))
            .wrapping_add(self.disp as u64);
        if self.ea == 0 {
            a
        } else {
            core.segmented(a, self.ea)
        }
    }

    /// Virtual address of the instruction that follows.
    #[inline(always)]
    pub fn next_rip(&self, core: &Core) -> u64 {
        core.s.gpr[BLOCK as usize].wrapping_add(self.off as u64 + self.len as u64)
    }
}
