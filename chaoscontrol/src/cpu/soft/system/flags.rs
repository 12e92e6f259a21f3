//! CLI, STI, PUSHF, POPF, HLT: RFLAGS as a kernel sees it.

use iced_x86::{Code, Instruction};

use super::super::bits::{AC, CR0_AM, DF, ID, IF, IOPL, NT, RF, TF, VM};
use super::super::core::Core;
use super::super::flags::STATUS;
use super::super::op::{Flow, Handler, Op};
use super::{access, privileged};

const RSP: usize = 4;

impl Core {
    /// Whether the current privilege may change IF.
    fn may_mask(&self) -> bool {
        u64::from(self.s.cpl) <= (self.s.rflags & IOPL) >> 12
    }

    /// Sets the bits of RFLAGS in `mask` to those of `value`.
    pub(super) fn set_flags(&mut self, value: u64, mask: u64) {
        self.set_status(value & STATUS);
        let mask = mask & !STATUS;
        self.s.rflags = (self.s.rflags & !mask | value & mask) & !(RF | VM) | 2;
        self.attention = true;
    }

    /// The bits of RFLAGS that POPF and IRET may change now.
    pub(super) fn changeable_flags(&self) -> u64 {
        let mut mask = STATUS | TF | DF | NT | AC | ID;
        if self.s.cpl == 0 {
            mask |= IOPL;
        }
        if self.may_mask() {
            mask |= IF;
        }
        mask
    }
}

fn cli(core: &mut Core, op: &Op) -> Flow {
    if !core.may_mask() {
        return core.raise(13, Some(0));
    }
    core.s.rflags &= !IF;
    core.end_block(op)
}

fn sti(core: &mut Core, op: &Op) -> Flow {
    if !core.may_mask() {
        return core.raise(13, Some(0));
    }
    if core.s.rflags & IF == 0 {
        core.s.rflags |= IF;
        core.s.shadow = true;
        core.attention = true;
    }
    core.end_block(op)
}

fn hlt(core: &mut Core, op: &Op) -> Flow {
    privileged!(core);
    core.s.halted = true;
    core.s.exits += 1;
    core.attention = true;
    core.end_block(op)
}

fn pushfq(core: &mut Core, op: &Op) -> Flow {
    let flags = core.flags() & !(RF | VM);
    let rsp = core.s.gpr[RSP].wrapping_sub(8);
    access!(core.store(rsp, flags));
    core.s.gpr[RSP] = rsp;
    core.end_block(op)
}

fn pushfw(core: &mut Core, op: &Op) -> Flow {
    let flags = core.flags() as u16;
    let rsp = core.s.gpr[RSP].wrapping_sub(2);
    access!(core.store(rsp, flags));
    core.s.gpr[RSP] = rsp;
    core.end_block(op)
}

fn popfq(core: &mut Core, op: &Op) -> Flow {
    let rsp = core.s.gpr[RSP];
    let value = access!(core.load::<u64>(rsp));
    core.s.gpr[RSP] = rsp.wrapping_add(8);
    let mask = core.changeable_flags();
    core.set_flags(value, mask);
    if value & AC != 0 && core.s.cpl == 3 && core.s.cr0 & CR0_AM != 0 {
        core.lack(op, "POPFQ with alignment checks (AC)");
    }
    core.end_block(op)
}

fn popfw(core: &mut Core, op: &Op) -> Flow {
    let rsp = core.s.gpr[RSP];
    let value = access!(core.load::<u16>(rsp));
    core.s.gpr[RSP] = rsp.wrapping_add(2);
    let mask = core.changeable_flags() & 0xFFFF;
    core.set_flags(u64::from(value), mask);
    core.end_block(op)
}

pub(super) fn lower(i: &Instruction, _: &mut Op) -> Option<Handler> {
    Some(match i.code() {
        Code::Cli => cli,
        Code::Sti => sti,
        Code::Hlt => hlt,
        Code::Pushfq => pushfq,
        Code::Pushfw => pushfw,
        Code::Popfq => popfq,
        Code::Popfw => popfw,
        _ => return None,
    })
}
