//! Floating point and vectors: the three families of instructions that run on the host's
//! own units, and that CR0 and CR4 can switch off.

use iced_x86::{Code, Instruction};

use super::core::Core;
use super::op::{Flow, Handler, Op};
use super::translate::mode;
use super::{mmx, sse, x87};

/// The handler of `i` in `mode`, if one of the families has it (SDM volume 3, 2.5).
pub fn lower(i: &Instruction, op: &mut Op, mode: u8) -> Option<Handler> {
    if let Some(run) = sse::lower(i, op) {
        return Some(match mode {
            m if m & (mode::EMULATE | mode::NO_SSE) != 0 => unavailable,
            m if m & mode::TASK_SWITCHED != 0 => no_device,
            _ => run,
        });
    }
    if let Some(run) = mmx::lower(i, op) {
        return Some(match mode {
            m if m & mode::EMULATE != 0 => unavailable,
            m if m & mode::TASK_SWITCHED != 0 => no_device,
            _ => run,
        });
    }
    let run = x87::lower(i, op)?;
    let off = if i.code() == Code::Wait {
        mode & mode::TASK_SWITCHED != 0 && mode & mode::MONITOR != 0
    } else {
        mode & (mode::TASK_SWITCHED | mode::EMULATE) != 0
    };
    Some(if off { no_device } else { run })
}

/// An instruction that is switched off: #UD.
fn unavailable(core: &mut Core, _: &Op) -> Flow {
    core.raise(6, None)
}

/// Floating point that waits for its owner: #NM.
fn no_device(core: &mut Core, _: &Op) -> Flow {
    core.raise(7, None)
}
