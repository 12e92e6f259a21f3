//! IRET, and far jumps, calls and returns between 64-bit code segments.

use iced_x86::{Code, Instruction};

use super::super::bits::NT;
use super::super::core::Core;
use super::super::exceptions::Fault;
use super::super::mem::Blocked;
use super::super::op::{Flow, Handler, Op};
use super::super::segments::{NP, gp, selector_error};
use super::super::state::{Segment, seg};
use super::{access, fail, gp0};
use crate::cpu::paging::canonical;

const RSP: usize = 4;

/// Loads an operand of 2, 4 or 8 bytes.
fn load_sized(core: &mut Core, address: u64, bytes: u64) -> Result<u64, Blocked> {
    match bytes {
        2 => core.load::<u16>(address).map(u64::from),
        4 => core.load::<u32>(address).map(u64::from),
        _ => core.load::<u64>(address),
    }
}

impl Core {
    /// Checks the code segment that a return goes to and answers it.
    fn return_code(&mut self, selector: u16) -> Result<Segment, Fault> {
        if selector & !3 == 0 {
            return Err(gp0());
        }
        let code = self.long_code(selector)?;
        let rpl = (selector & 3) as u8;
        let fits = if code.is_conforming() {
            code.dpl() <= rpl
        } else {
            code.dpl() == rpl
        };
        if rpl < self.s.cpl || !fits {
            return Err(gp(selector));
        }
        if !code.present() {
            return Err(Fault::new(NP, selector_error(selector)));
        }
        self.mark_accessed(code)?;
        Ok(code.segment(selector))
    }

    /// Takes away data segments that the outer privilege may not use.
    fn strip_segments(&mut self, cpl: u8) {
        for index in [seg::ES, seg::DS, seg::FS, seg::GS] {
            let segment = &mut self.s.segs[index];
            let dpl = (segment.attributes >> 5) as u8 & 3;
            let conforming = segment.attributes & 0x1C == 0x1C;
            if segment.selector & !3 != 0 && dpl < cpl && !conforming {
                *segment = Segment::default();
            }
        }
    }

    /// Goes back to `code` at `rip`, with a new stack when `outer` holds one.
    fn return_to(&mut self, code: Segment, rip: u64, stack: Option<(Segment, u64)>) {
        let cpl = (code.selector & 3) as u8;
        if let Some((segment, rsp)) = stack {
            self.s.segs[seg::SS] = segment;
            self.s.gpr[RSP] = rsp;
        }
        if cpl > self.s.cpl {
            self.strip_segments(cpl);
        }
        self.s.segs[seg::CS] = code;
        self.set_cpl(cpl);
        self.s.rip = rip;
    }
}

/// IRETQ, IRETD, IRETW; `imm` is the size of a word on the stack.
fn iret(core: &mut Core, op: &Op) -> Flow {
    // Also one that faults ends the blocking (SDM volume 3, 6.7.1).
    if std::mem::take(&mut core.s.nmi_blocked) {
        core.attention = true;
    }
    if core.flags() & NT != 0 {
        return core.raise(13, Some(0));
    }
    let rsp = core.s.gpr[RSP];
    let mut frame = [0; 5];
    for (n, word) in frame.iter_mut().enumerate() {
        *word = access!(load_sized(
            core,
            rsp.wrapping_add(n as u64 * op.imm),
            op.imm
        ));
    }
    let [rip, cs, flags, rsp, ss] = frame;
    let code = match core.return_code(cs as u16) {
        Ok(code) => code,
        Err(fault) => return fail(core, fault),
    };
    let cpl = (code.selector & 3) as u8;
    let stack = match core.stack_segment(ss as u16, cpl) {
        Ok(stack) => stack,
        Err(fault) => return fail(core, fault),
    };
    if !canonical(rip) {
        return core.raise(13, Some(0));
    }
    let mut mask = core.changeable_flags();
    if op.imm == 2 {
        mask &= 0xFFFF;
    }
    core.set_flags(flags, mask);
    core.return_to(code, rip, Some((stack, rsp)));
    Flow::Jump
}

/// RETF; `imm` is the size of a word, `disp` what else to pop.
fn retf(core: &mut Core, op: &Op) -> Flow {
    let rsp = core.s.gpr[RSP];
    let at = |n: u64| rsp.wrapping_add(n * op.imm);
    let extra = op.disp as u64;
    let rip = access!(load_sized(core, at(0), op.imm));
    let cs = access!(load_sized(core, at(1), op.imm)) as u16;
    let code = match core.return_code(cs) {
        Ok(code) => code,
        Err(fault) => return fail(core, fault),
    };
    let cpl = (code.selector & 3) as u8;
    let mut stack = None;
    if cpl != core.s.cpl {
        let new_rsp = access!(load_sized(core, at(2).wrapping_add(extra), op.imm));
        let ss = access!(load_sized(core, at(3).wrapping_add(extra), op.imm)) as u16;
        stack = match core.stack_segment(ss, cpl) {
            Ok(segment) => Some((segment, new_rsp.wrapping_add(extra))),
            Err(fault) => return fail(core, fault),
        };
    }
    if !canonical(rip) {
        return core.raise(13, Some(0));
    }
    if stack.is_none() {
        core.s.gpr[RSP] = at(2).wrapping_add(extra);
    }
    core.return_to(code, rip, stack);
    Flow::Jump
}

/// The segment that a far jump or call goes to without a change of privilege.
fn same_privilege(core: &mut Core, selector: u16) -> Result<Segment, Fault> {
    if selector & !3 == 0 {
        return Err(gp0());
    }
    let code = core.long_code(selector)?;
    let cpl = core.s.cpl;
    let fits = if code.is_conforming() {
        code.dpl() <= cpl
    } else {
        code.dpl() == cpl && (selector & 3) as u8 <= cpl
    };
    if !fits {
        return Err(gp(selector));
    }
    if !code.present() {
        return Err(Fault::new(NP, selector_error(selector)));
    }
    core.mark_accessed(code)?;
    Ok(code.segment(selector & !3 | u16::from(cpl)))
}

/// Far JMP and (`aux` = 1) CALL through memory; `imm` is the size of the offset. Call
/// gates are not offered.
fn far_branch(core: &mut Core, op: &Op) -> Flow {
    let address = op.address(core);
    let rip = access!(load_sized(core, address, op.imm));
    let selector = access!(core.load::<u16>(address.wrapping_add(op.imm)));
    let code = match same_privilege(core, selector) {
        Ok(code) => code,
        Err(fault) => {
            let target = core.descriptor(selector).ok().flatten();
            if target.is_some_and(|d| d.is_call_gate() || d.is_code() && !d.is_long_code()) {
                core.lack(op, "a far branch to a gate or to code of less than 64 bits");
            }
            return fail(core, fault);
        }
    };
    if !canonical(rip) {
        return core.raise(13, Some(0));
    }
    if op.aux != 0 {
        let rsp = core.s.gpr[RSP].wrapping_sub(2 * op.imm);
        let mut bytes = [0; 16];
        let size = op.imm as usize;
        let cs = u64::from(core.s.segs[seg::CS].selector);
        bytes[..size].copy_from_slice(&op.next_rip(core).to_le_bytes()[..size]);
        bytes[size..2 * size].copy_from_slice(&cs.to_le_bytes()[..size]);
        access!(core.store_bytes(rsp, &bytes[..2 * size]));
        core.s.gpr[RSP] = rsp;
    }
    core.s.segs[seg::CS] = code;
    core.attention = true;
    core.jump(rip)
}

pub(super) fn lower(i: &Instruction, op: &mut Op) -> Option<Handler> {
    use Code::*;
    let (handler, size): (Handler, u64) = match i.code() {
        Iretq => (iret, 8),
        Iretd => (iret, 4),
        Iretw => (iret, 2),
        Retfq | Retfq_imm16 => (retf, 8),
        Retfd | Retfd_imm16 => (retf, 4),
        Retfw | Retfw_imm16 => (retf, 2),
        Jmp_m1664 | Call_m1664 => (far_branch, 8),
        Jmp_m1632 | Call_m1632 => (far_branch, 4),
        Jmp_m1616 | Call_m1616 => (far_branch, 2),
        _ => return None,
    };
    match i.code() {
        Retfq_imm16 | Retfd_imm16 | Retfw_imm16 => op.disp = i64::from(i.immediate16()),
        Call_m1664 | Call_m1632 | Call_m1616 => op.aux = 1,
        _ => {}
    }
    if i.op_count() == 1 && Op::is_memory(i, 0) {
        op.set_memory(i);
    }
    op.imm = size;
    Some(handler)
}
