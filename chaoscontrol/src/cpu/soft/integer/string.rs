//! MOVS, STOS, LODS, CMPS and SCAS, alone and repeated.
//!
//! A repeated one is a single instruction, however long. Its registers advance element
//! by element, so after a page fault in its midst it resumes where it stopped; flags
//! change only when it is done. Moves and fills go a page at a time where memory is at hand.
//! Since a guest can make one as long as it likes, it is cut into slices, between which
//! the run loop's caller gets to decide whether it goes on.

use iced_x86::{Instruction, Mnemonic, OpKind, Register};

use super::word::Int;
use super::{access, by_width};
use crate::cpu::soft::core::Core;
use crate::cpu::soft::flags::{DF, Kind};
use crate::cpu::soft::mem::Blocked;
use crate::cpu::soft::op::{Flow, Handler, Op, ea};

const RAX: u8 = 0;
const RCX: usize = 1;
const RSI: usize = 6;
const RDI: usize = 7;

/// A register as the address size sees it.
#[inline(always)]
fn sized(op: &Op, v: u64) -> u64 {
    if op.ea & ea::ADDR32 != 0 {
        v & 0xFFFF_FFFF
    } else {
        v
    }
}

#[inline(always)]
fn source(core: &Core, op: &Op) -> u64 {
    let address = core.s.gpr[RSI];
    if op.ea == 0 {
        address
    } else {
        core.segmented(address, op.ea)
    }
}

/// ES has no base in 64-bit mode, and no override.
#[inline(always)]
fn destination(core: &Core, op: &Op) -> u64 {
    sized(op, core.s.gpr[RDI])
}

/// Moves a pointer by `elements` in the direction of DF.
#[inline(always)]
fn advance<T: Int>(core: &mut Core, op: &Op, register: usize, elements: u64) {
    let bytes = elements.wrapping_mul(T::BITS as u64 / 8);
    let v = core.s.gpr[register];
    let v = if core.s.rflags & DF != 0 {
        v.wrapping_sub(bytes)
    } else {
        v.wrapping_add(bytes)
    };
    core.s.gpr[register] = sized(op, v);
}

/// An instruction without flags.
trait Move {
    /// Does one element.
    fn step<T: Int>(core: &mut Core, op: &Op) -> Result<(), Blocked>;

    /// Does up to `limit` elements upwards as far as memory is at hand; returns how many.
    #[inline(always)]
    fn run<T: Int>(_core: &mut Core, _op: &Op, _limit: u64) -> u64 {
        0
    }
}

struct Movs;
impl Move for Movs {
    #[inline(always)]
    fn step<T: Int>(core: &mut Core, op: &Op) -> Result<(), Blocked> {
        let v: T = core.load(source(core, op))?;
        core.store(destination(core, op), v)?;
        advance::<T>(core, op, RSI, 1);
        advance::<T>(core, op, RDI, 1);
        Ok(())
    }

    #[inline(always)]
    fn run<T: Int>(core: &mut Core, op: &Op, limit: u64) -> u64 {
        let n = core.copy_run::<T>(destination(core, op), source(core, op), limit);
        advance::<T>(core, op, RSI, n);
        advance::<T>(core, op, RDI, n);
        n
    }
}

struct Stos;
impl Move for Stos {
    #[inline(always)]
    fn step<T: Int>(core: &mut Core, op: &Op) -> Result<(), Blocked> {
        let v = T::read(core, RAX);
        core.store(destination(core, op), v)?;
        advance::<T>(core, op, RDI, 1);
        Ok(())
    }

    #[inline(always)]
    fn run<T: Int>(core: &mut Core, op: &Op, limit: u64) -> u64 {
        let n = core.fill_run(destination(core, op), T::read(core, RAX), limit);
        advance::<T>(core, op, RDI, n);
        n
    }
}

struct Lods;
impl Move for Lods {
    #[inline(always)]
    fn step<T: Int>(core: &mut Core, op: &Op) -> Result<(), Blocked> {
        let v: T = core.load(source(core, op))?;
        T::write(core, RAX, v);
        advance::<T>(core, op, RSI, 1);
        Ok(())
    }
}

fn once<M: Move, T: Int>(core: &mut Core, op: &Op) -> Flow {
    access!(M::step::<T>(core, op));
    Flow::Next
}

#[inline(always)]
fn count(core: &Core, op: &Op) -> u64 {
    sized(op, core.s.gpr[RCX])
}

fn repeat<M: Move, T: Int>(core: &mut Core, op: &Op) -> Flow {
    let mut left = count(core, op);
    let upwards = core.s.rflags & DF == 0;
    while left != 0 {
        let n = if upwards {
            M::run::<T>(core, op, Core::slice(left))
        } else {
            0
        };
        left -= if n == 0 {
            access!(M::step::<T>(core, op));
            1
        } else {
            n
        };
        core.s.gpr[RCX] = left;
        if left != 0 && core.iterated(left) {
            return Flow::Trap;
        }
    }
    Flow::Next
}

/// An instruction that compares: the two values, pointers advanced.
trait Compare {
    fn step<T: Int>(core: &mut Core, op: &Op) -> Result<(T, T), Blocked>;
}

struct Cmps;
impl Compare for Cmps {
    #[inline(always)]
    fn step<T: Int>(core: &mut Core, op: &Op) -> Result<(T, T), Blocked> {
        let a = core.load(source(core, op))?;
        let b = core.load(destination(core, op))?;
        advance::<T>(core, op, RSI, 1);
        advance::<T>(core, op, RDI, 1);
        Ok((a, b))
    }
}

struct Scas;
impl Compare for Scas {
    #[inline(always)]
    fn step<T: Int>(core: &mut Core, op: &Op) -> Result<(T, T), Blocked> {
        let b = core.load(destination(core, op))?;
        advance::<T>(core, op, RDI, 1);
        Ok((T::read(core, RAX), b))
    }
}

fn note<T: Int>(core: &mut Core, a: T, b: T) {
    let (a, b) = (a.to64(), b.to64());
    let r = T::from64(a.wrapping_sub(b)).to64();
    core.note(Kind::Sub, T::BITS, a, b, r);
}

fn compare_once<C: Compare, T: Int>(core: &mut Core, op: &Op) -> Flow {
    let (a, b) = access!(C::step::<T>(core, op));
    note(core, a, b);
    Flow::Next
}

/// Goes on while the values are equal, or with `aux` while they differ.
fn compare_repeat<C: Compare, T: Int>(core: &mut Core, op: &Op) -> Flow {
    let mut left = count(core, op);
    let mut last = None;
    while left != 0 {
        let (a, b) = access!(C::step::<T>(core, op));
        left -= 1;
        core.s.gpr[RCX] = left;
        last = Some((a, b));
        if (a == b) == (op.aux != 0) {
            break;
        }
        if left != 0 && core.iterated(left) {
            return Flow::Trap;
        }
    }
    if let Some((a, b)) = last {
        note(core, a, b);
    }
    Flow::Next
}

fn pick_move<M: Move>(bits: u32, repeated: bool) -> Handler {
    if repeated {
        by_width!(bits, repeat, M)
    } else {
        by_width!(bits, once, M)
    }
}

fn pick_compare<C: Compare>(bits: u32, repeated: bool) -> Handler {
    if repeated {
        by_width!(bits, compare_repeat, C)
    } else {
        by_width!(bits, compare_once, C)
    }
}

pub(super) fn lower(i: &Instruction, op: &mut Op) -> Option<Handler> {
    // Some SSE instructions share the mnemonics.
    if !i.is_string_instruction() {
        return None;
    }
    let pick = match i.mnemonic() {
        Mnemonic::Movsb | Mnemonic::Movsw | Mnemonic::Movsd | Mnemonic::Movsq => pick_move::<Movs>,
        Mnemonic::Stosb | Mnemonic::Stosw | Mnemonic::Stosd | Mnemonic::Stosq => pick_move::<Stos>,
        Mnemonic::Lodsb | Mnemonic::Lodsw | Mnemonic::Lodsd | Mnemonic::Lodsq => pick_move::<Lods>,
        Mnemonic::Cmpsb | Mnemonic::Cmpsw | Mnemonic::Cmpsd | Mnemonic::Cmpsq => {
            pick_compare::<Cmps>
        }
        Mnemonic::Scasb | Mnemonic::Scasw | Mnemonic::Scasd | Mnemonic::Scasq => {
            pick_compare::<Scas>
        }
        _ => return None,
    };
    op.ea = address_bits(i);
    op.aux = i.has_repne_prefix() as u8;
    let bits = i.memory_size().size() as u32 * 8;
    Some(pick(bits, i.has_rep_prefix() || i.has_repne_prefix()))
}

/// The `ea` bits of the implicit operands.
fn address_bits(i: &Instruction) -> u8 {
    let segment = match i.memory_segment() {
        Register::FS => ea::FS,
        Register::GS => ea::GS,
        _ => 0,
    };
    let narrow = (0..i.op_count())
        .any(|n| matches!(i.op_kind(n), OpKind::MemorySegESI | OpKind::MemoryESEDI));
    segment | if narrow { ea::ADDR32 } else { 0 }
}
