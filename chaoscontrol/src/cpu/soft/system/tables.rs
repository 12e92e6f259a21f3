//! Descriptor tables, the task register, and questions about selectors.

use iced_x86::{Code, Instruction, Mnemonic};

use super::super::core::Core;
use super::super::exceptions::Fault;
use super::super::flags::ZF;
use super::super::mem::Blocked;
use super::super::op::{Flow, Handler, Op};
use super::super::segments::{Descriptor, NP, gp, selector_error};
use super::super::state::{Segment, TableRegister};
use super::{access, fail, finish, privileged, read16, set_operand, write_register, write16};
use crate::cpu::paging::canonical;

fn load_table(core: &mut Core, op: &Op) -> Result<TableRegister, Blocked> {
    let address = op.address(core);
    let mut bytes = [0; 10];
    core.load_bytes(address, &mut bytes)?;
    let mut base = [0; 8];
    base.copy_from_slice(&bytes[2..]);
    Ok(TableRegister {
        limit: u16::from_le_bytes([bytes[0], bytes[1]]),
        base: u64::from_le_bytes(base),
    })
}

fn store_table(core: &mut Core, op: &Op, table: TableRegister) -> Result<(), Blocked> {
    let address = op.address(core);
    let mut bytes = [0; 10];
    bytes[..2].copy_from_slice(&table.limit.to_le_bytes());
    bytes[2..].copy_from_slice(&table.base.to_le_bytes());
    core.store_bytes(address, &bytes)
}

fn lgdt(core: &mut Core, op: &Op) -> Flow {
    privileged!(core);
    let table = access!(load_table(core, op));
    if !canonical(table.base) {
        return core.raise(13, Some(0));
    }
    core.s.gdtr = table;
    core.end_block(op)
}

fn lidt(core: &mut Core, op: &Op) -> Flow {
    privileged!(core);
    let table = access!(load_table(core, op));
    if !canonical(table.base) {
        return core.raise(13, Some(0));
    }
    core.s.idtr = table;
    core.end_block(op)
}

fn sgdt(core: &mut Core, op: &Op) -> Flow {
    let table = core.s.gdtr;
    access!(store_table(core, op, table));
    core.end_block(op)
}

fn sidt(core: &mut Core, op: &Op) -> Flow {
    let table = core.s.idtr;
    access!(store_table(core, op, table));
    core.end_block(op)
}

impl Core {
    /// Reads a 16-byte system descriptor of type `kind` out of the GDT.
    fn system_segment(&mut self, selector: u16, kind: u8) -> Result<(Descriptor, Segment), Fault> {
        let descriptor = match self.descriptor(selector)? {
            Some(descriptor) if selector & 4 == 0 => descriptor,
            _ => return Err(gp(selector)),
        };
        if descriptor.is_user_segment() || descriptor.kind() != kind {
            return Err(gp(selector));
        }
        if !descriptor.present() {
            return Err(Fault::new(NP, selector_error(selector)));
        }
        let top = self.descriptor_top(selector)?;
        let mut segment = descriptor.segment(selector);
        segment.base |= top << 32;
        if !canonical(segment.base) || top >> 32 & 0x1F00 != 0 {
            return Err(gp(selector));
        }
        Ok((descriptor, segment))
    }

    fn load_task(&mut self, selector: u16) -> Result<(), Fault> {
        let (descriptor, mut segment) = self.system_segment(selector, 9)?;
        // The TSS becomes busy.
        self.system_store(descriptor.address, descriptor.raw | 2 << 40)?;
        segment.attributes |= 2;
        self.s.tr = segment;
        Ok(())
    }

    fn load_local_table(&mut self, selector: u16) -> Result<(), Fault> {
        self.s.ldtr = if selector & !3 == 0 {
            Segment {
                selector,
                ..Segment::default()
            }
        } else {
            self.system_segment(selector, 2)?.1
        };
        Ok(())
    }

    /// The descriptor of `selector` if it can be seen from the current privilege.
    fn visible(&mut self, selector: u16) -> Result<Option<Descriptor>, Fault> {
        let privilege = self.s.cpl.max((selector & 3) as u8);
        Ok(self
            .descriptor(selector)?
            .filter(|d| d.is_conforming() || d.dpl() >= privilege))
    }
}

fn ltr(core: &mut Core, op: &Op) -> Flow {
    privileged!(core);
    let selector = access!(read16(core, op));
    let result = core.load_task(selector);
    finish(core, op, result)
}

fn lldt(core: &mut Core, op: &Op) -> Flow {
    privileged!(core);
    let selector = access!(read16(core, op));
    let result = core.load_local_table(selector);
    finish(core, op, result)
}

fn str(core: &mut Core, op: &Op) -> Flow {
    let selector = u64::from(core.s.tr.selector);
    access!(write16(core, op, selector));
    core.end_block(op)
}

fn sldt(core: &mut Core, op: &Op) -> Flow {
    let selector = u64::from(core.s.ldtr.selector);
    access!(write16(core, op, selector));
    core.end_block(op)
}

/// LAR, LSL, VERR and VERW: ZF says whether the selector would do, and a destination
/// of `imm` bytes (0 = none) gets the answer.
fn ask(core: &mut Core, op: &Op, answer: impl Fn(Descriptor) -> Option<u64>) -> Flow {
    let selector = access!(read16(core, op));
    let found = match core.visible(selector) {
        Ok(found) => found.and_then(answer),
        Err(fault) => return fail(core, fault),
    };
    core.set_some(ZF, if found.is_some() { ZF } else { 0 });
    if let Some(value) = found
        && op.imm != 0
    {
        write_register(core, op.dst, op.imm, value);
    }
    core.end_block(op)
}

/// System descriptor types that LAR accepts in long mode: LDT, TSS, call gate.
fn lar(core: &mut Core, op: &Op) -> Flow {
    ask(core, op, |d| {
        let known = d.is_user_segment() || matches!(d.kind(), 2 | 9 | 11 | 12);
        known.then_some(d.raw >> 32 & 0x00F0_FF00)
    })
}

fn lsl(core: &mut Core, op: &Op) -> Flow {
    ask(core, op, |d| {
        let known = d.is_user_segment() || matches!(d.kind(), 2 | 9 | 11);
        known.then_some(u64::from(d.limit()))
    })
}

fn verr(core: &mut Core, op: &Op) -> Flow {
    ask(core, op, |d| d.is_readable().then_some(0))
}

fn verw(core: &mut Core, op: &Op) -> Flow {
    ask(core, op, |d| d.is_writable_data().then_some(0))
}

pub(super) fn lower(i: &Instruction, op: &mut Op) -> Option<Handler> {
    let table: Option<Handler> = match i.code() {
        Code::Lgdt_m1664 => Some(lgdt),
        Code::Lidt_m1664 => Some(lidt),
        Code::Sgdt_m1664 => Some(sgdt),
        Code::Sidt_m1664 => Some(sidt),
        _ => None,
    };
    if table.is_some() {
        op.set_memory(i);
        return table;
    }
    let one: Option<Handler> = match i.mnemonic() {
        Mnemonic::Ltr => Some(ltr),
        Mnemonic::Lldt => Some(lldt),
        Mnemonic::Str => Some(str),
        Mnemonic::Sldt => Some(sldt),
        Mnemonic::Verr => Some(verr),
        Mnemonic::Verw => Some(verw),
        _ => None,
    };
    if one.is_some() {
        set_operand(i, op, 0);
        if matches!(i.mnemonic(), Mnemonic::Verr | Mnemonic::Verw) {
            op.imm = 0;
        }
        return one;
    }
    let two: Handler = match i.mnemonic() {
        Mnemonic::Lar => lar,
        Mnemonic::Lsl => lsl,
        _ => return None,
    };
    set_operand(i, op, 1);
    op.dst = Op::reg(i.op0_register());
    op.imm = i.op0_register().size() as u64;
    Some(two)
}
