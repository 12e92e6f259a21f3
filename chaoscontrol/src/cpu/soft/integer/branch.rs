//! Near jumps, calls, returns and loops.

use iced_x86::{Code, Instruction, Mnemonic, OpKind};

use super::access;
use super::word::Int;
use crate::cpu::soft::core::Core;
use crate::cpu::soft::mem::Blocked;
use crate::cpu::soft::op::{Flow, Handler, Op};
use crate::cpu::soft::state::BLOCK;

const RCX: usize = 1;
const RSP: usize = 4;

/// The target of a direct branch.
#[inline(always)]
fn target(core: &Core, op: &Op) -> u64 {
    core.s.gpr[BLOCK as usize].wrapping_add(op.imm)
}

#[inline(always)]
fn branch_if(core: &mut Core, op: &Op, taken: bool) -> Flow {
    if taken {
        core.edge_taken(op);
        let to = target(core, op);
        core.jump(to)
    } else {
        core.edge_not_taken(op);
        core.end_block(op)
    }
}

fn jcc<const CC: u8>(core: &mut Core, op: &Op) -> Flow {
    let taken = core.cond(CC);
    branch_if(core, op, taken)
}

fn jmp(core: &mut Core, op: &Op) -> Flow {
    core.edge_taken(op);
    let to = target(core, op);
    core.jump(to)
}

/// RCX, or ECX under the address-size prefix.
#[inline(always)]
fn counter<T: Int>(core: &Core) -> u64 {
    T::read(core, RCX as u8).to64()
}

fn jrcxz<T: Int>(core: &mut Core, op: &Op) -> Flow {
    let taken = counter::<T>(core) == 0;
    branch_if(core, op, taken)
}

/// The condition under which LOOP, LOOPE and LOOPNE go on besides the counter.
#[derive(Clone, Copy)]
enum While {
    Always,
    Equal,
    NotEqual,
}

fn repeat<T: Int>(core: &mut Core, op: &Op, condition: While) -> Flow {
    let n = T::from64(counter::<T>(core).wrapping_sub(1));
    T::write(core, RCX as u8, n);
    let holds = match condition {
        While::Always => true,
        While::Equal => core.cond(4),
        While::NotEqual => core.cond(5),
    };
    branch_if(core, op, holds && n.to64() != 0)
}

fn r#loop<T: Int>(core: &mut Core, op: &Op) -> Flow {
    repeat::<T>(core, op, While::Always)
}

fn loope<T: Int>(core: &mut Core, op: &Op) -> Flow {
    repeat::<T>(core, op, While::Equal)
}

fn loopne<T: Int>(core: &mut Core, op: &Op) -> Flow {
    repeat::<T>(core, op, While::NotEqual)
}

/// Pushes the address of the next instruction.
#[inline(always)]
fn push_return(core: &mut Core, op: &Op) -> Result<(), Blocked> {
    let sp = core.s.gpr[RSP].wrapping_sub(8);
    core.store(sp, op.next_rip(core))?;
    core.s.gpr[RSP] = sp;
    Ok(())
}

fn call(core: &mut Core, op: &Op) -> Flow {
    access!(push_return(core, op));
    core.edge_taken(op);
    let to = target(core, op);
    core.jump(to)
}

/// Whether `address` fits into 48 sign-extended bits.
#[inline(always)]
fn canonical(address: u64) -> bool {
    (address as i64) << 16 >> 16 == address as i64
}

#[inline(always)]
fn jump_to(core: &mut Core, op: &Op, to: u64) -> Flow {
    if !canonical(to) {
        return core.raise(13, Some(0));
    }
    core.edge_indirect(op, to);
    core.jump(to)
}

#[inline(always)]
fn call_to(core: &mut Core, op: &Op, to: u64) -> Flow {
    if !canonical(to) {
        return core.raise(13, Some(0));
    }
    access!(push_return(core, op));
    core.edge_indirect(op, to);
    core.jump(to)
}

fn jmp_reg(core: &mut Core, op: &Op) -> Flow {
    let to = u64::read(core, op.src);
    jump_to(core, op, to)
}

fn jmp_mem(core: &mut Core, op: &Op) -> Flow {
    let to = access!(core.load(op.address(core)));
    jump_to(core, op, to)
}

fn call_reg(core: &mut Core, op: &Op) -> Flow {
    let to = u64::read(core, op.src);
    call_to(core, op, to)
}

fn call_mem(core: &mut Core, op: &Op) -> Flow {
    let to = access!(core.load(op.address(core)));
    call_to(core, op, to)
}

/// Pops `imm` more bytes.
fn ret(core: &mut Core, op: &Op) -> Flow {
    let sp = core.s.gpr[RSP];
    let to = access!(core.load::<u64>(sp));
    let flow = jump_to(core, op, to);
    if flow == Flow::Jump {
        core.s.gpr[RSP] = sp.wrapping_add(8).wrapping_add(op.imm);
    }
    flow
}

fn direct(i: &Instruction, op: &mut Op, handler: Handler) -> Option<Handler> {
    if i.op_kind(0) != OpKind::NearBranch64 {
        return None;
    }
    // `off` counts from the block's first byte, as RIP-relative operands do.
    op.imm = i
        .near_branch64()
        .wrapping_sub(i.ip())
        .wrapping_add(op.off as u64);
    Some(handler)
}

fn indirect(i: &Instruction, op: &mut Op, reg: Handler, mem: Handler) -> Option<Handler> {
    if Op::is_memory(i, 0) {
        op.set_memory(i);
        Some(mem)
    } else {
        op.src = Op::reg(i.op0_register());
        Some(reg)
    }
}

pub(super) fn lower(i: &Instruction, op: &mut Op) -> Option<Handler> {
    match i.code() {
        Code::Call_rel32_64 => return direct(i, op, call),
        Code::Jmp_rel8_64 | Code::Jmp_rel32_64 => return direct(i, op, jmp),
        Code::Call_rm64 => return indirect(i, op, call_reg, call_mem),
        Code::Jmp_rm64 => return indirect(i, op, jmp_reg, jmp_mem),
        Code::Retnq => {
            op.imm = 0;
            return Some(ret);
        }
        Code::Retnq_imm16 => {
            op.imm = i.immediate16() as u64;
            return Some(ret);
        }
        Code::Loop_rel8_64_RCX => return direct(i, op, r#loop::<u64>),
        Code::Loop_rel8_64_ECX => return direct(i, op, r#loop::<u32>),
        Code::Loope_rel8_64_RCX => return direct(i, op, loope::<u64>),
        Code::Loope_rel8_64_ECX => return direct(i, op, loope::<u32>),
        Code::Loopne_rel8_64_RCX => return direct(i, op, loopne::<u64>),
        Code::Loopne_rel8_64_ECX => return direct(i, op, loopne::<u32>),
        Code::Jrcxz_rel8_64 => return direct(i, op, jrcxz::<u64>),
        Code::Jecxz_rel8_64 => return direct(i, op, jrcxz::<u32>),
        _ => {}
    }
    let handler: Handler = match i.mnemonic() {
        Mnemonic::Jo => jcc::<0>,
        Mnemonic::Jno => jcc::<1>,
        Mnemonic::Jb => jcc::<2>,
        Mnemonic::Jae => jcc::<3>,
        Mnemonic::Je => jcc::<4>,
        Mnemonic::Jne => jcc::<5>,
        Mnemonic::Jbe => jcc::<6>,
        Mnemonic::Ja => jcc::<7>,
        Mnemonic::Js => jcc::<8>,
        Mnemonic::Jns => jcc::<9>,
        Mnemonic::Jp => jcc::<10>,
        Mnemonic::Jnp => jcc::<11>,
        Mnemonic::Jl => jcc::<12>,
        Mnemonic::Jge => jcc::<13>,
        Mnemonic::Jle => jcc::<14>,
        Mnemonic::Jg => jcc::<15>,
        _ => return None,
    };
    direct(i, op, handler)
}
