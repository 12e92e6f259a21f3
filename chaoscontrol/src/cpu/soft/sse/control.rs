//! LDMXCSR and STMXCSR.

use iced_x86::{Code, Instruction};

use super::float::DEFINED;
use super::operand::raise;
use crate::cpu::soft::op::{Handler, Op};

pub fn lower(i: &Instruction) -> Option<Handler> {
    use Code::*;
    Some(match i.code() {
        Ldmxcsr_m32 => handler!(|core, op| {
            let address = op.address(core);
            let value = core.load::<u32>(address)?;
            if value & !DEFINED != 0 {
                return raise(core, 13, Some(0));
            }
            core.s.mxcsr = value;
        }),
        Stmxcsr_m32 => handler!(|core, op| {
            let address = op.address(core);
            core.store::<u32>(address, core.s.mxcsr)?;
        }),
        _ => return None,
    })
}
