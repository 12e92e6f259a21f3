//! SYSCALL, SYSRET, SWAPGS (SDM volume 2).

use iced_x86::{Code, Instruction};

use super::super::bits::{EFER_SCE, RF, VM};
use super::super::core::Core;
use super::super::op::{Flow, Handler, Op};
use super::super::state::{Segment, seg};
use super::privileged;
use crate::cpu::paging::canonical;

const RCX: usize = 1;
const R11: usize = 11;

/// The flat 64-bit code segment that SYSCALL and SYSRET load without a look at the GDT.
fn code(selector: u16, dpl: u16) -> Segment {
    Segment {
        base: 0,
        limit: !0,
        attributes: 0xA09B | dpl << 5,
        selector,
    }
}

/// The flat stack segment.
fn stack(selector: u16, dpl: u16) -> Segment {
    Segment {
        base: 0,
        limit: !0,
        attributes: 0xC093 | dpl << 5,
        selector,
    }
}

fn syscall(core: &mut Core, op: &Op) -> Flow {
    if core.s.efer & EFER_SCE == 0 {
        return core.raise(6, None);
    }
    let flags = core.flags() & !(RF | VM);
    core.s.gpr[RCX] = op.next_rip(core);
    core.s.gpr[R11] = flags;
    let kernel = core.s.fmask;
    core.set_flags(flags & !kernel, !0);
    let selector = (core.s.star >> 32) as u16 & !3;
    core.s.segs[seg::CS] = code(selector, 0);
    core.s.segs[seg::SS] = stack(selector.wrapping_add(8), 0);
    core.set_cpl(0);
    core.jump(core.s.lstar)
}

fn sysret(core: &mut Core, _: &Op) -> Flow {
    if core.s.efer & EFER_SCE == 0 {
        return core.raise(6, None);
    }
    privileged!(core);
    let target = core.s.gpr[RCX];
    if !canonical(target) {
        return core.raise(13, Some(0));
    }
    core.set_flags(core.s.gpr[R11], 0x3C_7FD7);
    let selector = (core.s.star >> 48) as u16;
    core.s.segs[seg::CS] = code(selector.wrapping_add(16) | 3, 3);
    core.s.segs[seg::SS] = stack(selector.wrapping_add(8) | 3, 3);
    core.set_cpl(3);
    core.jump(target)
}

/// SYSRET to 32-bit code, which this CPU does not run.
fn sysret_compatibility(core: &mut Core, _: &Op) -> Flow {
    core.raise(13, Some(0))
}

fn swapgs(core: &mut Core, op: &Op) -> Flow {
    privileged!(core);
    let core_gs = &mut core.s.segs[seg::GS].base;
    std::mem::swap(core_gs, &mut core.s.kernel_gs_base);
    core.end_block(op)
}

pub(super) fn lower(i: &Instruction, _: &mut Op) -> Option<Handler> {
    Some(match i.code() {
        Code::Syscall => syscall,
        Code::Sysretq => sysret,
        Code::Sysretd => sysret_compatibility,
        Code::Swapgs => swapgs,
        _ => return None,
    })
}
