//! Sign extensions of the accumulator, single flags, XLAT, fences, and what does nothing.

use iced_x86::{Code, Instruction, Mnemonic, Register};

use super::word::Int;
use super::{access, by_width};
use crate::cpu::soft::core::Core;
use crate::cpu::soft::flags::{CF, DF, OF, STATUS};
use crate::cpu::soft::op::{Flow, Handler, Op, ea};

const RAX: u8 = 0;
const RDX: u8 = 2;
const RBX: usize = 3;
/// `Op::reg` of AH.
const AH: u8 = 20;

/// CBW, CWDE, CDQE.
fn widen<S: Int, D: Int>(core: &mut Core, _op: &Op) -> Flow {
    let v = S::read(core, RAX).sext();
    D::write(core, RAX, D::from64(v));
    Flow::Next
}

/// CWD, CDQ, CQO.
fn spread<T: Int>(core: &mut Core, _op: &Op) -> Flow {
    let sign = T::read(core, RAX).sext() as i64 >> 63;
    T::write(core, RDX, T::from64(sign as u64));
    Flow::Next
}

fn lahf(core: &mut Core, _op: &Op) -> Flow {
    let flags = core.flags() as u8 & 0xD5 | 2;
    u8::write(core, AH, flags);
    Flow::Next
}

fn sahf(core: &mut Core, _op: &Op) -> Flow {
    let flags = u8::read(core, AH) as u64;
    core.set_some(STATUS & !OF, flags);
    Flow::Next
}

/// CLC, STC; `imm` is the new CF.
fn set_carry(core: &mut Core, op: &Op) -> Flow {
    core.set_some(CF, op.imm);
    Flow::Next
}

fn cmc(core: &mut Core, _op: &Op) -> Flow {
    let carry = !core.carry();
    core.set_some(CF, carry as u64);
    Flow::Next
}

/// CLD, STD; `imm` is the new DF in its place.
fn set_direction(core: &mut Core, op: &Op) -> Flow {
    core.s.rflags = core.s.rflags & !DF | op.imm;
    Flow::Next
}

fn xlat(core: &mut Core, op: &Op) -> Flow {
    let address = core.s.gpr[RBX].wrapping_add(u8::read(core, RAX) as u64);
    let v = access!(core.load::<u8>(core.segmented(address, op.ea)));
    u8::write(core, RAX, v);
    Flow::Next
}

fn nop(_core: &mut Core, _op: &Op) -> Flow {
    Flow::Next
}

/// CLFLUSH is checked like a load of a byte.
fn clflush(core: &mut Core, op: &Op) -> Flow {
    access!(core.load::<u8>(op.address(core)));
    Flow::Next
}

fn undefined(core: &mut Core, _op: &Op) -> Flow {
    core.raise(6, None)
}

/// Encodings that do nothing on this CPU model: hints, fences, and what only newer CPUs know.
fn does_nothing(i: &Instruction) -> bool {
    use Mnemonic as M;
    matches!(
        i.mnemonic(),
        M::Nop
            | M::Reservednop
            | M::Pause
            | M::Endbr64
            | M::Endbr32
            | M::Rdsspd
            | M::Rdsspq
            | M::Prefetch
            | M::Prefetchw
            | M::Prefetchwt1
            | M::Prefetchnta
            | M::Prefetcht0
            | M::Prefetcht1
            | M::Prefetcht2
            | M::Prefetchit0
            | M::Prefetchit1
            | M::Cldemote
            | M::Lfence
            | M::Mfence
            | M::Sfence
    ) || matches!(
        i.code(),
        Code::Prefetchreserved3_m8
            | Code::Prefetchreserved4_m8
            | Code::Prefetchreserved5_m8
            | Code::Prefetchreserved6_m8
            | Code::Prefetchreserved7_m8
    )
}

pub(super) fn lower(i: &Instruction, op: &mut Op) -> Option<Handler> {
    Some(match i.code() {
        Code::Cbw => widen::<u8, u16>,
        Code::Cwde => widen::<u16, u32>,
        Code::Cdqe => widen::<u32, u64>,
        Code::Cwd => by_width!(16, spread),
        Code::Cdq => by_width!(32, spread),
        Code::Cqo => by_width!(64, spread),
        Code::Lahf => lahf,
        Code::Sahf => sahf,
        Code::Clc | Code::Stc => {
            op.imm = if i.code() == Code::Stc { CF } else { 0 };
            set_carry
        }
        Code::Cmc => cmc,
        Code::Cld | Code::Std => {
            op.imm = if i.code() == Code::Std { DF } else { 0 };
            set_direction
        }
        Code::Xlat_m8 => {
            op.set_memory(i);
            if i.memory_base() == Register::EBX {
                op.ea |= ea::ADDR32;
            }
            xlat
        }
        Code::Clflush_m8 => {
            op.set_memory(i);
            clflush
        }
        Code::Ud0
        | Code::Ud2
        | Code::Ud0_r16_rm16
        | Code::Ud0_r32_rm32
        | Code::Ud0_r64_rm64
        | Code::Ud1_r16_rm16
        | Code::Ud1_r32_rm32
        | Code::Ud1_r64_rm64 => undefined,
        _ if does_nothing(i) => nop,
        _ => return None,
    })
}
