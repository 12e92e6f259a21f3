//! Loads and stores of segment registers.

use iced_x86::{Code, Instruction, Mnemonic, OpKind, Register};

use super::super::core::Core;
use super::super::exceptions::Fault;
use super::super::op::{Flow, Handler, Op};
use super::super::state::seg;
use super::{access, finish, read16, set_operand, write_register, write16};

const RSP: usize = 4;

impl Core {
    /// MOV or POP to a segment register other than CS.
    fn load_segment(&mut self, index: usize, selector: u16) -> Result<(), Fault> {
        if index != seg::SS {
            return self.load_data_segment(index, selector);
        }
        let segment = self.stack_segment(selector, self.s.cpl)?;
        self.s.segs[seg::SS] = segment;
        self.s.shadow = true;
        self.attention = true;
        Ok(())
    }
}

fn to_segment(core: &mut Core, op: &Op) -> Flow {
    let selector = access!(read16(core, op));
    let result = core.load_segment(op.dst as usize, selector);
    finish(core, op, result)
}

fn from_segment(core: &mut Core, op: &Op) -> Flow {
    let selector = u64::from(core.s.segs[op.dst as usize].selector);
    access!(write16(core, op, selector));
    core.end_block(op)
}

/// POP FS and GS; `imm` is the operand size.
fn pop(core: &mut Core, op: &Op) -> Flow {
    let rsp = core.s.gpr[RSP];
    let selector = if op.imm == 2 {
        access!(core.load::<u16>(rsp))
    } else {
        access!(core.load::<u64>(rsp)) as u16
    };
    let result = core.load_data_segment(op.dst as usize, selector);
    if result.is_ok() {
        core.s.gpr[RSP] = rsp.wrapping_add(op.imm);
    }
    finish(core, op, result)
}

/// LSS, LFS, LGS: offset of `imm` bytes, then the selector; `aux` is the segment.
fn load_far_pointer(core: &mut Core, op: &Op) -> Flow {
    let address = op.address(core);
    let offset = match op.imm {
        2 => u64::from(access!(core.load::<u16>(address))),
        4 => u64::from(access!(core.load::<u32>(address))),
        _ => access!(core.load::<u64>(address)),
    };
    let selector = access!(core.load::<u16>(address.wrapping_add(op.imm)));
    let result = core.load_segment(op.aux as usize, selector);
    if result.is_ok() {
        write_register(core, op.dst, op.imm, offset);
    }
    finish(core, op, result)
}

/// MOV to CS does not exist.
fn undefined(core: &mut Core, _: &Op) -> Flow {
    core.raise(6, None)
}

pub(super) fn lower(i: &Instruction, op: &mut Op) -> Option<Handler> {
    let is_segment = |n| i.op_kind(n) == OpKind::Register && i.op_register(n).is_segment_register();
    let far = match i.mnemonic() {
        Mnemonic::Lss => Some(seg::SS),
        Mnemonic::Lfs => Some(seg::FS),
        Mnemonic::Lgs => Some(seg::GS),
        _ => None,
    };
    if let Some(index) = far {
        op.set_memory(i);
        op.dst = Op::reg(i.op0_register());
        op.imm = i.op0_register().size() as u64;
        op.aux = index as u8;
        return Some(load_far_pointer);
    }
    match i.mnemonic() {
        Mnemonic::Mov if is_segment(0) => {
            if i.op0_register() == Register::CS {
                return Some(undefined);
            }
            set_operand(i, op, 1);
            op.dst = Op::reg(i.op0_register());
            Some(to_segment)
        }
        Mnemonic::Mov if i.op_count() == 2 && is_segment(1) => {
            set_operand(i, op, 0);
            op.dst = Op::reg(i.op1_register());
            Some(from_segment)
        }
        Mnemonic::Pop if is_segment(0) => {
            op.dst = Op::reg(i.op0_register());
            op.imm = match i.code() {
                Code::Popw_FS | Code::Popw_GS => 2,
                _ => 8,
            };
            Some(pop)
        }
        _ => None,
    }
}
