//! CPUID, model-specific registers, RDTSC, RDPMC.

use iced_x86::{Code, Instruction};

use super::super::bits::{CR4_TSD, EFER_NXE};
use super::super::core::Core;
use super::super::op::{Flow, Handler, Op};
use super::{fail, gp0, privileged};
use crate::cpu::Exit;
use crate::cpu::cpuid::cpuid;
use crate::cpu::msr::{Msr, kept_by_the_cpu, msr};

/// Number of the time-stamp counter.
const TSC: u32 = 0x10;

const RAX: usize = 0;
const RCX: usize = 1;
const RDX: usize = 2;
const RBX: usize = 3;

impl Core {
    /// Counts an exit that needs no answer.
    fn pass(&mut self) {
        self.s.exits += 1;
        self.passed = self.by_exits;
        self.attention |= self.passed;
    }

    /// Splits a value over EDX and EAX.
    fn set_edx_eax(&mut self, value: u64) {
        self.s.gpr[RAX] = value & 0xFFFF_FFFF;
        self.s.gpr[RDX] = value >> 32;
    }

    /// #GP for a register that does not exist, and a line in the report.
    fn no_such_msr(&mut self, op: &Op, what: &str, number: u32) -> Flow {
        self.pass();
        self.lack(op, format!("{what} {number:#x}"));
        self.raise(13, Some(0))
    }
}

fn rdmsr(core: &mut Core, op: &Op) -> Flow {
    privileged!(core);
    let number = core.s.gpr[RCX] as u32;
    let value = match msr(number) {
        None => return core.no_such_msr(op, "RDMSR", number),
        Some(Msr::Tsc) => match core.answer() {
            Some(value) => value,
            None => return core.wait(Exit::ReadTsc),
        },
        Some(register) => register.read(&core.s),
    };
    if !kept_by_the_cpu(number) && number != TSC {
        core.pass();
    }
    core.set_edx_eax(value);
    core.end_block(op)
}

fn wrmsr(core: &mut Core, op: &Op) -> Flow {
    privileged!(core);
    let number = core.s.gpr[RCX] as u32;
    let value = core.s.gpr[RAX] & 0xFFFF_FFFF | core.s.gpr[RDX] << 32;
    let Some(register) = msr(number) else {
        return core.no_such_msr(op, "WRMSR", number);
    };
    if !kept_by_the_cpu(number) {
        core.pass();
    }
    let efer = core.s.efer;
    if register.write(&mut core.s, value).is_err() {
        return fail(core, gp0());
    }
    if (efer ^ core.s.efer) & EFER_NXE != 0 {
        core.flush_translations();
    }
    core.end_block(op)
}

fn identify(core: &mut Core, op: &Op) -> Flow {
    let gpr = &mut core.s.gpr;
    let [a, b, c, d] = cpuid(gpr[RAX] as u32, gpr[RCX] as u32);
    gpr[RAX] = u64::from(a);
    gpr[RBX] = u64::from(b);
    gpr[RCX] = u64::from(c);
    gpr[RDX] = u64::from(d);
    core.end_block(op)
}

fn rdtsc(core: &mut Core, op: &Op) -> Flow {
    if core.s.cpl != 0 && core.s.cr4 & CR4_TSD != 0 {
        return core.raise(13, Some(0));
    }
    let Some(value) = core.answer() else {
        return core.wait(Exit::ReadTsc);
    };
    core.set_edx_eax(value);
    core.end_block(op)
}

/// There are no performance counters.
fn rdpmc(core: &mut Core, _: &Op) -> Flow {
    core.raise(13, Some(0))
}

pub(super) fn lower(i: &Instruction, _: &mut Op) -> Option<Handler> {
    Some(match i.code() {
        Code::Cpuid => identify,
        Code::Rdmsr => rdmsr,
        Code::Wrmsr => wrmsr,
        Code::Rdtsc => rdtsc,
        Code::Rdpmc => rdpmc,
        _ => return None,
    })
}
