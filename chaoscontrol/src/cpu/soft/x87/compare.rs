//! Comparisons, classification and conditional moves.

use iced_x86::{Code, Instruction, MemorySize, Mnemonic, OpKind};

use super::super::core::Core;
use super::super::flags::{CF, PF, ZF};
use super::super::op::{Flow, Handler, Op};
use super::super::state::Fpu;
use super::host::{self, Operation, form};
use super::registers::EXCEPTIONS;
use super::stack::{C0, C1, C2, C3, INDEFINITE};
use super::{blocked, handler, record, register, source};

const UNORDERED: u16 = C0 | C2 | C3;

pub(super) fn lower(i: &Instruction, op: &mut Op) -> Option<Handler> {
    use Mnemonic::*;
    let mnemonic = i.mnemonic();
    if i.op0_kind() == OpKind::Memory && i.op_count() == 1 {
        op.aux = match mnemonic {
            Fcom | Ficom => 0,
            Fcomp | Ficomp => 1,
            _ => return None,
        };
        return Some(match i.memory_size() {
            MemorySize::Float32 => {
                handler!(source::<u32>, |fpu, op, b| memory(fpu, op, form::M32, b))
            }
            MemorySize::Float64 => {
                handler!(source::<u64>, |fpu, op, b| memory(fpu, op, form::M64, b))
            }
            MemorySize::Int16 => {
                handler!(source::<u16>, |fpu, op, b| memory(fpu, op, form::I16, b))
            }
            _ => handler!(source::<u32>, |fpu, op, b| memory(fpu, op, form::I32, b)),
        });
    }
    op.src = if i.op_count() == 2 {
        Op::reg(i.op1_register())
    } else {
        1
    };
    // How many values are popped.
    op.aux = match mnemonic {
        Fcomp | Fucomp | Fcomip | Fucomip => 1,
        Fcompp | Fucompp => 2,
        _ => 0,
    };
    Some(match mnemonic {
        Fcom | Fcomp | Fcompp => handler!(register, |fpu, op| stack(fpu, op, host::fcom)),
        Fucom | Fucomp | Fucompp => handler!(register, |fpu, op| stack(fpu, op, host::fucom)),
        Fcomi | Fcomip => |core, op| compare_flags(core, op, host::fcom),
        Fucomi | Fucomip => |core, op| compare_flags(core, op, host::fucom),
        Ftst => handler!(register, |fpu, _| {
            let operands = fpu.get(0).map(|a| (a, 0));
            compare(fpu, host::fcom, operands);
        }),
        Fxam => handler!(register, |fpu, _| fxam(fpu)),
        _ => return conditional_move(i.code()),
    })
}

/// Sets the condition codes, also with unmasked exceptions; false if one of those forbids pops.
fn compare(fpu: &mut Fpu, operation: Operation, operands: Option<(u128, u128)>) -> bool {
    match operands {
        Some((a, b)) => {
            let answer = operation(a, b, fpu.control | EXCEPTIONS);
            fpu.set_codes(UNORDERED, answer.status);
            fpu.accept(&answer)
        }
        None => {
            fpu.set_codes(UNORDERED, UNORDERED);
            fpu.underflow()
        }
    }
}

fn memory(fpu: &mut Fpu, op: &Op, form: usize, b: u128) {
    let operands = fpu.get(0).map(|a| (a, b));
    if compare(fpu, host::COM[form], operands) && op.aux == 1 {
        fpu.pop();
    }
}

fn stack(fpu: &mut Fpu, op: &Op, operation: Operation) {
    let operands = fpu.get(0).zip(fpu.get(op.src));
    if compare(fpu, operation, operands) {
        (0..op.aux).for_each(|_| fpu.pop());
    }
}

/// FCOMI and its kin: RFLAGS tell, the condition codes stay (C1 too, unless a
/// register is empty, as on AMD's processors).
fn compare_flags(core: &mut Core, op: &Op, operation: Operation) -> Flow {
    if let Some(trap) = blocked(core) {
        return trap;
    }
    let fpu = &mut core.s.fpu;
    let codes = fpu.status & (UNORDERED | C1);
    let operands = fpu.get(0).zip(fpu.get(op.src));
    let empty = operands.is_none();
    let counts = compare(fpu, operation, operands);
    let result = fpu.status;
    fpu.set_codes(UNORDERED | if empty { 0 } else { C1 }, codes);
    if counts {
        (0..op.aux).for_each(|_| fpu.pop());
    }
    let flag = |code, flag| if result & code != 0 { flag } else { 0 };
    core.set_status(flag(C0, CF) | flag(C2, PF) | flag(C3, ZF));
    record(core, op, None);
    Flow::Next
}

/// Classifies ST(0), empty or not.
fn fxam(fpu: &mut Fpu) {
    let x = fpu.regs[fpu.physical(0)];
    let (e, m) = (x >> 64 & 0x7FFF, x as u64);
    let class = match fpu.get(0) {
        None => C3 | C0,
        Some(_) => match (e, m) {
            (0, 0) => C3,
            (0, _) => C3 | C2,
            (_, m) if m >> 63 == 0 => 0,
            (0x7FFF, m) if m << 1 == 0 => C2 | C0,
            (0x7FFF, _) => C0,
            _ => C2,
        },
    };
    let sign = if x >> 79 & 1 == 1 { C1 } else { 0 };
    fpu.set_codes(UNORDERED | C1, class | sign);
}

fn conditional_move(code: Code) -> Option<Handler> {
    macro_rules! fcmov {
        ($flags:expr, $set:literal) => {
            |core, op| fcmov(core, op, $flags, $set)
        };
    }
    Some(match code {
        Code::Fcmovb_st0_sti => fcmov!(CF, true),
        Code::Fcmove_st0_sti => fcmov!(ZF, true),
        Code::Fcmovbe_st0_sti => fcmov!(CF | ZF, true),
        Code::Fcmovu_st0_sti => fcmov!(PF, true),
        Code::Fcmovnb_st0_sti => fcmov!(CF, false),
        Code::Fcmovne_st0_sti => fcmov!(ZF, false),
        Code::Fcmovnbe_st0_sti => fcmov!(CF | ZF, false),
        Code::Fcmovnu_st0_sti => fcmov!(PF, false),
        _ => return None,
    })
}

/// Moves ST(i) to ST(0) if any of `flags` is set, or if none is; both have to be there in any case.
fn fcmov(core: &mut Core, op: &Op, flags: u64, set: bool) -> Flow {
    if let Some(trap) = blocked(core) {
        return trap;
    }
    let taken = (core.flags() & flags != 0) == set;
    let fpu = &mut core.s.fpu;
    match fpu.get(0).zip(fpu.get(op.src)) {
        Some((_, value)) if taken => fpu.set(0, value),
        Some(_) => {}
        None => {
            if fpu.underflow() {
                fpu.set(0, INDEFINITE);
            }
        }
    }
    record(core, op, None);
    Flow::Next
}
