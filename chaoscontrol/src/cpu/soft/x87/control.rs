//! Control instructions: control and status word, initialization, waiting.

use iced_x86::{Code, Instruction};

use super::super::core::Core;
use super::super::mem::Blocked;
use super::super::op::{Flow, Handler, Op};
use super::registers::{BUSY, ES, EXCEPTIONS};
use super::{CR0_MP, CR0_NE, CR0_TS, MF, NM, access, blocked, unavailable};

/// Stack fault, the flag beside the six exceptions.
const SF: u16 = 1 << 6;

pub(super) fn lower(i: &Instruction) -> Option<Handler> {
    Some(match i.code() {
        Code::Wait => wait,
        Code::Fninit => fninit,
        Code::Fnclex => fnclex,
        Code::Fnstcw_m2byte => fnstcw,
        Code::Fldcw_m2byte => fldcw,
        Code::Fnstsw_m2byte => fnstsw,
        Code::Fnstsw_AX => fnstsw_ax,
        Code::Fnop => fnop,
        // The 8087's interrupt and the 80287's mode controls do nothing since the 80387.
        Code::Fneni | Code::Fndisi | Code::Fnsetpm => fnsetpm,
        _ => return None,
    })
}

fn wait(core: &mut Core, _op: &Op) -> Flow {
    const NOT_OURS: u64 = CR0_MP | CR0_TS;
    if core.s.cr0 & NOT_OURS == NOT_OURS {
        core.raise(NM, None)
    } else if core.s.fpu.pending() && core.s.cr0 & CR0_NE != 0 {
        core.raise(MF, None)
    } else {
        Flow::Next
    }
}

fn fninit(core: &mut Core, _op: &Op) -> Flow {
    if let Some(trap) = unavailable(core) {
        return trap;
    }
    core.s.fpu.init();
    Flow::Next
}

fn fnclex(core: &mut Core, _op: &Op) -> Flow {
    if let Some(trap) = unavailable(core) {
        return trap;
    }
    core.s.fpu.status &= !(EXCEPTIONS | SF | ES | BUSY);
    Flow::Next
}

fn fnstcw(core: &mut Core, op: &Op) -> Flow {
    if let Some(trap) = unavailable(core) {
        return trap;
    }
    access!(core.store(op.address(core), core.s.fpu.control));
    Flow::Next
}

fn fldcw(core: &mut Core, op: &Op) -> Flow {
    if let Some(trap) = blocked(core) {
        return trap;
    }
    let word = access!(core.load::<u16>(op.address(core)));
    core.s.fpu.set_control(word);
    Flow::Next
}

fn fnstsw(core: &mut Core, op: &Op) -> Flow {
    if let Some(trap) = unavailable(core) {
        return trap;
    }
    access!(core.store(op.address(core), core.s.fpu.status_word()));
    Flow::Next
}

fn fnstsw_ax(core: &mut Core, _op: &Op) -> Flow {
    if let Some(trap) = unavailable(core) {
        return trap;
    }
    core.s.gpr[0] = core.s.gpr[0] & !0xFFFF | core.s.fpu.status_word() as u64;
    Flow::Next
}

fn fnop(core: &mut Core, _op: &Op) -> Flow {
    blocked(core).unwrap_or(Flow::Next)
}

fn fnsetpm(core: &mut Core, _op: &Op) -> Flow {
    unavailable(core).unwrap_or(Flow::Next)
}
