//! IN, OUT, INS, OUTS: each access leaves the CPU as an exit.
//!
//! Ring 3 may reach a port if IOPL says so or the bitmap of the TSS has its bits clear
//! (SDM volume 1, 19.5); the SDK lives from that.

use iced_x86::{Code, Instruction, OpKind, Register};

use super::super::bits::{DF, IOPL};
use super::super::core::Core;
use super::super::exceptions::Fault;
use super::super::op::{Flow, Handler, Op, ea};
use super::{access, fail, gp0};
use crate::cpu::Exit;

const RAX: usize = 0;
const RCX: usize = 1;
const RDX: usize = 2;
const RSI: usize = 6;
const RDI: usize = 7;

/// `aux` bit of a repeated INS or OUTS.
const REPEATED: u8 = 1;

impl Core {
    /// Whether the current privilege may access `size` bytes at `port`.
    fn check_port(&mut self, port: u16, size: u8) -> Result<(), Fault> {
        let iopl = (self.s.rflags & IOPL) >> 12;
        if u64::from(self.s.cpl) <= iopl {
            return Ok(());
        }
        let tss = self.s.tr;
        let limit = u64::from(tss.limit);
        if tss.attributes & 0x80 == 0 || limit < 0x67 {
            return Err(gp0());
        }
        let map = self.as_system(|core| core.load::<u16>(tss.base.wrapping_add(0x66)))?;
        let at = u64::from(map) + u64::from(port) / 8;
        if at + 1 > limit {
            return Err(gp0());
        }
        let bits = self.as_system(|core| core.load::<u16>(tss.base.wrapping_add(at)))?;
        let mask = ((1u16 << size) - 1) << (port % 8);
        if bits & mask != 0 { Err(gp0()) } else { Ok(()) }
    }
}

fn port_of(core: &Core, op: &Op) -> u16 {
    if op.src == 0 {
        op.imm as u16
    } else {
        core.s.gpr[RDX] as u16
    }
}

fn input(core: &mut Core, op: &Op) -> Flow {
    let (port, size) = (port_of(core, op), op.dst);
    if let Err(fault) = core.check_port(port, size) {
        return fail(core, fault);
    }
    let Some(value) = core.answer() else {
        return core.wait(Exit::PortIn { port, size });
    };
    set_accumulator(core, size, value);
    core.end_block(op)
}

fn set_accumulator(core: &mut Core, size: u8, value: u64) {
    let rax = &mut core.s.gpr[RAX];
    *rax = match size {
        1 => *rax & !0xFF | value & 0xFF,
        2 => *rax & !0xFFFF | value & 0xFFFF,
        _ => value & 0xFFFF_FFFF,
    };
}

fn output(core: &mut Core, op: &Op) -> Flow {
    let (port, size) = (port_of(core, op), op.dst);
    if let Err(fault) = core.check_port(port, size) {
        return fail(core, fault);
    }
    if core.answer().is_none() {
        let value = low(core.s.gpr[RAX], size);
        return core.wait(Exit::PortOut { port, size, value });
    }
    core.end_block(op)
}

fn low(value: u64, size: u8) -> u32 {
    (value & (u64::MAX >> (64 - 8 * u32::from(size)))) as u32
}

/// A register as the address size sees it.
fn sized(op: &Op, value: u64) -> u64 {
    if op.ea & ea::ADDR32 != 0 {
        value & 0xFFFF_FFFF
    } else {
        value
    }
}

/// Moves a pointer by one element, counts the iteration, and says how it goes on.
fn advance(core: &mut Core, op: &Op, pointer: usize) -> Flow {
    let size = u64::from(op.dst);
    let value = core.s.gpr[pointer];
    let value = if core.s.rflags & DF != 0 {
        value.wrapping_sub(size)
    } else {
        value.wrapping_add(size)
    };
    core.s.gpr[pointer] = sized(op, value);
    if op.aux & REPEATED != 0 {
        let left = sized(op, core.s.gpr[RCX]).wrapping_sub(1);
        core.s.gpr[RCX] = sized(op, left);
        if left != 0 && core.iterated(left) {
            return Flow::Trap;
        }
    }
    core.end_block(op)
}

fn nothing_to_do(core: &Core, op: &Op) -> bool {
    op.aux & REPEATED != 0 && sized(op, core.s.gpr[RCX]) == 0
}

fn input_string(core: &mut Core, op: &Op) -> Flow {
    let (port, size) = (core.s.gpr[RDX] as u16, op.dst);
    if let Err(fault) = core.check_port(port, size) {
        return fail(core, fault);
    }
    if nothing_to_do(core, op) {
        return core.end_block(op);
    }
    let target = sized(op, core.s.gpr[RDI]);
    // The target is checked before the device is asked.
    match size {
        1 => drop(access!(core.load_for_store::<u8>(target))),
        2 => drop(access!(core.load_for_store::<u16>(target))),
        _ => drop(access!(core.load_for_store::<u32>(target))),
    }
    let Some(value) = core.answer() else {
        return core.wait(Exit::PortIn { port, size });
    };
    match size {
        1 => access!(core.store(target, value as u8)),
        2 => access!(core.store(target, value as u16)),
        _ => access!(core.store(target, value as u32)),
    }
    advance(core, op, RDI)
}

fn output_string(core: &mut Core, op: &Op) -> Flow {
    let (port, size) = (core.s.gpr[RDX] as u16, op.dst);
    if let Err(fault) = core.check_port(port, size) {
        return fail(core, fault);
    }
    if nothing_to_do(core, op) {
        return core.end_block(op);
    }
    let mut source = sized(op, core.s.gpr[RSI]);
    if op.ea & !ea::ADDR32 != 0 {
        source = core.segmented(source, op.ea & !ea::ADDR32);
    }
    let value = match size {
        1 => u32::from(access!(core.load::<u8>(source))),
        2 => u32::from(access!(core.load::<u16>(source))),
        _ => access!(core.load::<u32>(source)),
    };
    if core.answer().is_none() {
        return core.wait(Exit::PortOut { port, size, value });
    }
    advance(core, op, RSI)
}

/// Port in `imm` (`src` = 0) or DX (`src` = 1), size in `dst`.
pub(super) fn lower(i: &Instruction, op: &mut Op) -> Option<Handler> {
    use Code::*;
    let (handler, size): (Handler, u8) = match i.code() {
        In_AL_imm8 | In_AL_DX => (input, 1),
        In_AX_imm8 | In_AX_DX => (input, 2),
        In_EAX_imm8 | In_EAX_DX => (input, 4),
        Out_imm8_AL | Out_DX_AL => (output, 1),
        Out_imm8_AX | Out_DX_AX => (output, 2),
        Out_imm8_EAX | Out_DX_EAX => (output, 4),
        Insb_m8_DX => (input_string, 1),
        Insw_m16_DX => (input_string, 2),
        Insd_m32_DX => (input_string, 4),
        Outsb_DX_m8 => (output_string, 1),
        Outsw_DX_m16 => (output_string, 2),
        Outsd_DX_m32 => (output_string, 4),
        _ => return None,
    };
    op.dst = size;
    op.src = 1;
    op.ea = match i.memory_segment() {
        Register::FS => ea::FS,
        Register::GS => ea::GS,
        _ => 0,
    };
    for n in 0..i.op_count() {
        match i.op_kind(n) {
            OpKind::Immediate8 => {
                op.src = 0;
                op.imm = u64::from(i.immediate8());
            }
            OpKind::MemorySegESI | OpKind::MemoryESEDI => op.ea |= ea::ADDR32,
            _ => {}
        }
    }
    if i.has_rep_prefix() || i.has_repne_prefix() {
        op.aux = REPEATED;
    }
    Some(handler)
}
