//! Control and debug registers, and what concerns caches and translations.
//!
//! There is nothing to invalidate for a guest: translations follow the page tables at
//! once, so INVLPG and WBINVD only check the privilege.

use iced_x86::{Code, Instruction};

use super::super::bits::*;
use super::super::core::Core;
use super::super::exceptions::Fault;
use super::super::op::{Flow, Handler, Op};
use super::{access, finish, gp0, privileged, read16, set_operand, write16};
use crate::cpu::paging::PHYSICAL_BITS;

/// Bits of DR6 that are always set.
const DR6_ONES: u64 = 0xFFFF_0FF0;

impl Core {
    fn set_cr0(&mut self, value: u64) -> Result<(), Fault> {
        // The upper half is reserved; the unknown bits of the lower one are ignored.
        if value >> 32 != 0 {
            return Err(gp0());
        }
        let value = value & CR0_KNOWN | CR0_ET;
        let paging_without_protection = value & (CR0_PG | CR0_PE) == CR0_PG;
        let write_through_without_cache = value & (CR0_NW | CR0_CD) == CR0_NW;
        // Leaving long mode is not offered.
        if paging_without_protection || write_through_without_cache || value & CR0_PG == 0 {
            return Err(gp0());
        }
        let changed = value ^ self.s.cr0;
        self.s.cr0 = value;
        self.attention = true;
        if changed & (CR0_WP | CR0_PG) != 0 {
            self.flush_translations();
        }
        Ok(())
    }

    fn set_cr3(&mut self, value: u64) -> Result<(), Fault> {
        if value >> PHYSICAL_BITS != 0 {
            return Err(gp0());
        }
        if value != self.s.cr3 {
            self.switch_translations(value);
            self.s.cr3 = value;
        }
        Ok(())
    }

    fn set_cr4(&mut self, value: u64) -> Result<(), Fault> {
        if value & !CR4_KNOWN != 0 || value & CR4_PAE == 0 {
            return Err(gp0());
        }
        self.s.cr4 = value;
        self.attention = true;
        Ok(())
    }

    fn set_cr8(&mut self, value: u64) -> Result<(), Fault> {
        if value > 15 {
            return Err(gp0());
        }
        self.s.cr8 = value;
        Ok(())
    }
}

fn from_control(core: &mut Core, op: &Op) -> Flow {
    privileged!(core);
    let value = match op.src {
        0 => core.s.cr0,
        2 => core.s.cr2,
        3 => core.s.cr3,
        4 => core.s.cr4,
        8 => core.s.cr8,
        _ => return core.raise(6, None),
    };
    core.s.gpr[op.dst as usize] = value;
    core.end_block(op)
}

fn to_control(core: &mut Core, op: &Op) -> Flow {
    privileged!(core);
    let value = core.s.gpr[op.src as usize];
    let result = match op.dst {
        0 => core.set_cr0(value),
        2 => {
            core.s.cr2 = value;
            Ok(())
        }
        3 => core.set_cr3(value),
        4 => core.set_cr4(value),
        8 => core.set_cr8(value),
        _ => return core.raise(6, None),
    };
    finish(core, op, result)
}

/// The debug register that `number` means; 4 and 5 are 6 and 7 unless CR4.DE is set.
fn debug_register(core: &Core, number: u8) -> Option<usize> {
    match number {
        4 | 5 if core.s.cr4 & CR4_DE != 0 => None,
        4 | 5 => Some(number as usize + 2),
        0..=7 => Some(number as usize),
        _ => None,
    }
}

fn from_debug(core: &mut Core, op: &Op) -> Flow {
    privileged!(core);
    let Some(number) = debug_register(core, op.src) else {
        return core.raise(6, None);
    };
    core.s.gpr[op.dst as usize] = core.s.dr[number];
    core.end_block(op)
}

/// Breakpoints in DR0 to DR3 are kept but never hit, which the report says.
fn to_debug(core: &mut Core, op: &Op) -> Flow {
    privileged!(core);
    let Some(number) = debug_register(core, op.dst) else {
        return core.raise(6, None);
    };
    let value = core.s.gpr[op.src as usize];
    if number == 7 && value & 0xFF != 0 {
        core.lack(op, "MOV DR7 with a breakpoint");
    }
    core.s.dr[number] = match number {
        6 | 7 if value >> 32 != 0 => return core.raise(13, Some(0)),
        6 => value & !0x1000 | DR6_ONES,
        // General detect would fault on every access to a debug register.
        7 => value & !0xF800 | 0x400,
        _ => value,
    };
    core.end_block(op)
}

fn clts(core: &mut Core, op: &Op) -> Flow {
    privileged!(core);
    core.s.cr0 &= !CR0_TS;
    core.attention = true;
    core.end_block(op)
}

fn lmsw(core: &mut Core, op: &Op) -> Flow {
    privileged!(core);
    let value = u64::from(access!(read16(core, op)));
    // PE can be set but not cleared.
    let low = CR0_MP | CR0_EM | CR0_TS;
    core.s.cr0 = core.s.cr0 & !low | value & low;
    core.attention = true;
    core.end_block(op)
}

fn smsw(core: &mut Core, op: &Op) -> Flow {
    let value = core.s.cr0;
    access!(write16(core, op, value));
    core.end_block(op)
}

fn privileged_nothing(core: &mut Core, op: &Op) -> Flow {
    privileged!(core);
    core.end_block(op)
}

pub(super) fn lower(i: &Instruction, op: &mut Op) -> Option<Handler> {
    use Code::*;
    let registers = |op: &mut Op| {
        op.dst = Op::reg(i.op0_register());
        op.src = Op::reg(i.op1_register());
    };
    Some(match i.code() {
        Mov_r64_cr => {
            registers(op);
            from_control
        }
        Mov_cr_r64 => {
            registers(op);
            to_control
        }
        Mov_r64_dr => {
            registers(op);
            from_debug
        }
        Mov_dr_r64 => {
            registers(op);
            to_debug
        }
        Clts => clts,
        Lmsw_rm16 | Lmsw_r32m16 | Lmsw_r64m16 => {
            set_operand(i, op, 0);
            lmsw
        }
        Smsw_rm16 | Smsw_r32m16 | Smsw_r64m16 => {
            set_operand(i, op, 0);
            smsw
        }
        Invlpg_m | Wbinvd | Invd => privileged_nothing,
        _ => return None,
    })
}
