//! CPUID, model-specific registers, RDTSC, RDPMC.

use iced_x86::{Code, Instruction};

use super::super::bits::{CR0_PG, CR4_TSD, EFER_LMA, EFER_LME, EFER_NXE, EFER_SCE};
use super::super::core::Core;
use super::super::exceptions::Fault;
use super::super::op::{Flow, Handler, Op};
use super::super::state::seg;
use super::{fail, gp0, privileged};
use crate::cpu::Exit;
use crate::cpu::cpuid::cpuid;
use crate::cpu::msr::{Msr, msr};
use crate::cpu::paging::canonical;

const RAX: usize = 0;
const RCX: usize = 1;
const RDX: usize = 2;
const RBX: usize = 3;

impl Core {
    fn read_msr(&self, register: Msr) -> u64 {
        let s = &self.s;
        match register {
            Msr::Tsc => 0,
            Msr::ApicBase => s.apic_base,
            Msr::Sysenter(n) => s.sysenter[n as usize],
            Msr::Pat => s.pat,
            Msr::MiscEnable => s.misc_enable,
            Msr::Efer => s.efer,
            Msr::Star => s.star,
            Msr::Lstar => s.lstar,
            Msr::Cstar => s.cstar,
            Msr::Fmask => s.fmask,
            Msr::FsBase => s.segs[seg::FS].base,
            Msr::GsBase => s.segs[seg::GS].base,
            Msr::KernelGsBase => s.kernel_gs_base,
            Msr::Fixed(value) => value,
        }
    }

    fn write_msr(&mut self, register: Msr, value: u64) -> Result<(), Fault> {
        let s = &mut self.s;
        let address = || {
            if canonical(value) {
                Ok(value)
            } else {
                Err(gp0())
            }
        };
        match register {
            Msr::Tsc => return Err(gp0()),
            Msr::ApicBase => s.apic_base = value,
            Msr::Sysenter(0) => s.sysenter[0] = value & 0xFFFF_FFFF,
            Msr::Sysenter(n) => s.sysenter[n as usize] = address()?,
            Msr::Pat => {
                let known = |kind| matches!(kind, 0 | 1 | 4 | 5 | 6 | 7);
                if !value.to_le_bytes().into_iter().all(known) {
                    return Err(gp0());
                }
                s.pat = value;
            }
            Msr::MiscEnable => s.misc_enable = value,
            Msr::Efer => return self.write_efer(value),
            Msr::Star => s.star = value,
            Msr::Lstar => s.lstar = address()?,
            Msr::Cstar => s.cstar = address()?,
            Msr::Fmask => s.fmask = value & 0xFFFF_FFFF,
            Msr::FsBase => s.segs[seg::FS].base = address()?,
            Msr::GsBase => s.segs[seg::GS].base = address()?,
            Msr::KernelGsBase => s.kernel_gs_base = address()?,
            Msr::Fixed(_) => {}
        }
        Ok(())
    }

    fn write_efer(&mut self, value: u64) -> Result<(), Fault> {
        let known = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
        let old = self.s.efer;
        let leaves = (value ^ old) & EFER_LME != 0 && self.s.cr0 & CR0_PG != 0;
        if value & !known != 0 || leaves {
            return Err(gp0());
        }
        self.s.efer = value & !EFER_LMA | old & EFER_LMA;
        if (value ^ old) & EFER_NXE != 0 {
            self.flush_translations();
        }
        Ok(())
    }

    /// Splits a value over EDX and EAX.
    fn set_edx_eax(&mut self, value: u64) {
        self.s.gpr[RAX] = value & 0xFFFF_FFFF;
        self.s.gpr[RDX] = value >> 32;
    }

    /// #GP for a register that does not exist, and a line in the report.
    fn no_such_msr(&mut self, op: &Op, what: &str, number: u32) -> Flow {
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
        Some(register) => core.read_msr(register),
    };
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
    match core.write_msr(register, value) {
        Ok(()) => core.end_block(op),
        Err(fault) => fail(core, fault),
    }
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
