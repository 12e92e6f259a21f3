//! MXCSR, and the instructions of the SSE sets that touch no XMM register: fences,
//! prefetches, MOVNTI.

use iced_x86::{Code, Instruction, Mnemonic};

use super::float::DEFINED;
use super::operand::{raise, ready};
use crate::cpu::soft::op::{Flow, Handler, Op};

pub fn lower(i: &Instruction) -> Option<Handler> {
    use Code::*;
    Some(match i.code() {
        Ldmxcsr_m32 => handler!(|core, op| {
            ready(core)?;
            let address = op.address(core);
            let value = core.load::<u32>(address)?;
            if value & !DEFINED != 0 {
                return raise(core, 13, Some(0));
            }
            core.s.mxcsr = value;
        }),
        Stmxcsr_m32 => handler!(|core, op| {
            ready(core)?;
            let address = op.address(core);
            core.store::<u32>(address, core.s.mxcsr)?;
        }),
        Movnti_m32_r32 => handler!(|core, op| {
            let address = op.address(core);
            core.store::<u32>(address, core.s.gpr[op.src as usize & 15] as u32)?;
        }),
        Movnti_m64_r64 => handler!(|core, op| {
            let address = op.address(core);
            core.store::<u64>(address, core.s.gpr[op.src as usize & 15])?;
        }),
        _ => match i.mnemonic() {
            Mnemonic::Lfence
            | Mnemonic::Mfence
            | Mnemonic::Sfence
            | Mnemonic::Prefetchnta
            | Mnemonic::Prefetcht0
            | Mnemonic::Prefetcht1
            | Mnemonic::Prefetcht2 => |_, _| Flow::Next,
            _ => return None,
        },
    })
}
