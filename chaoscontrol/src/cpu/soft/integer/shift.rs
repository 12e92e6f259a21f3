//! SHL, SHR, SAR, ROL, ROR, RCL, RCR, SHLD and SHRD.

use iced_x86::{Instruction, Mnemonic, OpKind};

use super::word::Int;
use super::{access, by_width, width};
use crate::cpu::soft::core::Core;
use crate::cpu::soft::flags::{CF, Kind, OF};
use crate::cpu::soft::op::{Flow, Handler, Op};

const CL: u8 = 1;

/// A result with CF and OF as 0 or 1.
struct Shifted {
    result: u64,
    carry: u64,
    overflow: u64,
}

/// Bit `n` of `v`; 0 beyond the end.
#[inline(always)]
fn bit(v: u64, n: u32) -> u64 {
    v.checked_shr(n).unwrap_or(0) & 1
}

/// What OF becomes after a shift to the left: CF xor the top bit.
#[inline(always)]
fn left<T: Int>(result: u64, carry: u64) -> Shifted {
    let result = T::from64(result).to64();
    Shifted {
        result,
        carry,
        overflow: carry ^ bit(result, T::BITS - 1),
    }
}

/// What OF becomes after a shift to the right: the xor of the two top bits.
#[inline(always)]
fn right<T: Int>(result: u64, carry: u64) -> Shifted {
    let result = T::from64(result).to64();
    Shifted {
        result,
        carry,
        overflow: bit(result, T::BITS - 1) ^ bit(result, T::BITS - 2),
    }
}

/// One of the shifts; `n` is masked and not zero, `a` zero-extended.
trait Shift {
    /// Whether only CF and OF change.
    const ROTATES: bool = false;
    fn apply<T: Int>(core: &Core, a: u64, n: u32) -> Shifted;
}

struct Shl;
impl Shift for Shl {
    #[inline(always)]
    fn apply<T: Int>(_: &Core, a: u64, n: u32) -> Shifted {
        let carry = if n <= T::BITS { bit(a, T::BITS - n) } else { 0 };
        left::<T>(a << n, carry)
    }
}

struct Shr;
impl Shift for Shr {
    #[inline(always)]
    fn apply<T: Int>(_: &Core, a: u64, n: u32) -> Shifted {
        right::<T>(a >> n, bit(a, n - 1))
    }
}

struct Sar;
impl Shift for Sar {
    #[inline(always)]
    fn apply<T: Int>(_: &Core, a: u64, n: u32) -> Shifted {
        let a = T::from64(a).sext() as i64;
        Shifted {
            result: T::from64((a >> n) as u64).to64(),
            carry: (a >> (n - 1)) as u64 & 1,
            overflow: 0,
        }
    }
}

/// `a` rotated left by `n` places, in a ring of `bits` bits.
#[inline(always)]
fn rotate(a: u128, n: u32, bits: u32) -> u128 {
    let n = n % bits;
    (a << n | a >> (bits - n)) & ((1 << bits) - 1)
}

struct Rol;
impl Shift for Rol {
    const ROTATES: bool = true;
    fn apply<T: Int>(_: &Core, a: u64, n: u32) -> Shifted {
        let r = rotate(a as u128, n, T::BITS) as u64;
        left::<T>(r, r & 1)
    }
}

struct Ror;
impl Shift for Ror {
    const ROTATES: bool = true;
    fn apply<T: Int>(_: &Core, a: u64, n: u32) -> Shifted {
        let r = rotate(a as u128, T::BITS - n % T::BITS, T::BITS) as u64;
        right::<T>(r, bit(r, T::BITS - 1))
    }
}

struct Rcl;
impl Shift for Rcl {
    const ROTATES: bool = true;
    fn apply<T: Int>(core: &Core, a: u64, n: u32) -> Shifted {
        let ring = (core.carry() as u128) << T::BITS | a as u128;
        let r = rotate(ring, n, T::BITS + 1);
        left::<T>(r as u64, (r >> T::BITS) as u64)
    }
}

struct Rcr;
impl Shift for Rcr {
    const ROTATES: bool = true;
    fn apply<T: Int>(core: &Core, a: u64, n: u32) -> Shifted {
        let bits = T::BITS + 1;
        let ring = (core.carry() as u128) << T::BITS | a as u128;
        let r = rotate(ring, bits - n % bits, bits);
        right::<T>(r as u64, (r >> T::BITS) as u64)
    }
}

/// A count as this width sees it.
#[inline(always)]
fn mask<T: Int>(n: u64) -> u32 {
    n as u32 & if T::BITS == 64 { 63 } else { 31 }
}

#[inline(always)]
fn note<T: Int>(core: &mut Core, s: &Shifted, rotates: bool) {
    let flags = s.carry | s.overflow << 11;
    if rotates {
        core.set_some(CF | OF, flags);
    } else {
        core.note(Kind::Mixed, T::BITS, flags, 0, s.result);
    }
}

#[inline(always)]
fn in_register<O: Shift, T: Int>(core: &mut Core, op: &Op, n: u64) -> Flow {
    let a = T::read(core, op.dst);
    let n = mask::<T>(n);
    if n == 0 {
        T::write(core, op.dst, a);
        return Flow::Next;
    }
    let s = O::apply::<T>(core, a.to64(), n);
    T::write(core, op.dst, T::from64(s.result));
    note::<T>(core, &s, O::ROTATES);
    Flow::Next
}

#[inline(always)]
fn in_memory<O: Shift, T: Int>(core: &mut Core, op: &Op, n: u64) -> Flow {
    let address = op.address(core);
    let a: T = access!(core.load_for_store(address));
    let n = mask::<T>(n);
    if n == 0 {
        return Flow::Next;
    }
    let s = O::apply::<T>(core, a.to64(), n);
    access!(core.store(address, T::from64(s.result)));
    note::<T>(core, &s, O::ROTATES);
    Flow::Next
}

fn reg_imm<O: Shift, T: Int>(core: &mut Core, op: &Op) -> Flow {
    in_register::<O, T>(core, op, op.imm)
}

fn reg_cl<O: Shift, T: Int>(core: &mut Core, op: &Op) -> Flow {
    let n = u8::read(core, CL) as u64;
    in_register::<O, T>(core, op, n)
}

fn mem_imm<O: Shift, T: Int>(core: &mut Core, op: &Op) -> Flow {
    in_memory::<O, T>(core, op, op.imm)
}

fn mem_cl<O: Shift, T: Int>(core: &mut Core, op: &Op) -> Flow {
    let n = u8::read(core, CL) as u64;
    in_memory::<O, T>(core, op, n)
}

fn pick<O: Shift>(bits: u32, memory: bool, by_cl: bool) -> Handler {
    match (memory, by_cl) {
        (false, false) => by_width!(bits, reg_imm, O),
        (false, true) => by_width!(bits, reg_cl, O),
        (true, false) => by_width!(bits, mem_imm, O),
        (true, true) => by_width!(bits, mem_cl, O),
    }
}

/// `a:b` shifted left. Beyond 16 bits a 16-bit one goes on with `a` again.
fn shld<T: Int>(a: u64, b: u64, n: u32) -> Shifted {
    let bits = T::BITS;
    let (a, b, n) = if n > bits {
        (b, a, n - bits)
    } else {
        (a, b, n)
    };
    left::<T>(a << n | b >> (bits - n), bit(a, bits - n))
}

/// `b:a` shifted right. Beyond 16 bits a 16-bit one goes on with `a` again.
fn shrd<T: Int>(a: u64, b: u64, n: u32) -> Shifted {
    let bits = T::BITS;
    let (a, b, n) = if n > bits {
        (b, a, n - bits)
    } else {
        (a, b, n)
    };
    right::<T>(a >> n | b << (bits - n), bit(a, n - 1))
}

/// SHLD and SHRD; `aux` tells whether CL is the count.
fn double<const LEFT: bool, T: Int>(core: &mut Core, op: &Op) -> Flow {
    let n = if op.aux != 0 {
        u8::read(core, CL) as u64
    } else {
        op.imm
    };
    let n = mask::<T>(n);
    let memory = op.dst == MEMORY;
    let address = if memory { op.address(core) } else { 0 };
    let a: T = if memory {
        access!(core.load_for_store(address))
    } else {
        T::read(core, op.dst)
    };
    let s = if n == 0 {
        None
    } else {
        let b = T::read(core, op.src).to64();
        let shift = if LEFT { shld::<T> } else { shrd::<T> };
        Some(shift(a.to64(), b, n))
    };
    let result = s.as_ref().map_or(a, |s| T::from64(s.result));
    if memory {
        access!(core.store(address, result));
    } else {
        T::write(core, op.dst, result);
    }
    if let Some(s) = s {
        note::<T>(core, &s, false);
    }
    Flow::Next
}

/// Stands for the destination register of an op whose destination is memory.
const MEMORY: u8 = 0xFF;

fn lower_double(i: &Instruction, op: &mut Op) -> Handler {
    if Op::is_memory(i, 0) {
        op.set_memory(i);
        op.dst = MEMORY;
    } else {
        op.dst = Op::reg(i.op0_register());
    }
    op.src = Op::reg(i.op1_register());
    op.aux = (i.op_kind(2) == OpKind::Register) as u8;
    op.imm = i.try_immediate(2).unwrap_or(0);
    if i.mnemonic() == Mnemonic::Shld {
        by_width!(width(i, 0), double_left)
    } else {
        by_width!(width(i, 0), double_right)
    }
}

fn double_left<T: Int>(core: &mut Core, op: &Op) -> Flow {
    double::<true, T>(core, op)
}

fn double_right<T: Int>(core: &mut Core, op: &Op) -> Flow {
    double::<false, T>(core, op)
}

pub(super) fn lower(i: &Instruction, op: &mut Op) -> Option<Handler> {
    let pick = match i.mnemonic() {
        Mnemonic::Shl | Mnemonic::Sal => pick::<Shl>,
        Mnemonic::Shr => pick::<Shr>,
        Mnemonic::Sar => pick::<Sar>,
        Mnemonic::Rol => pick::<Rol>,
        Mnemonic::Ror => pick::<Ror>,
        Mnemonic::Rcl => pick::<Rcl>,
        Mnemonic::Rcr => pick::<Rcr>,
        Mnemonic::Shld | Mnemonic::Shrd => return Some(lower_double(i, op)),
        _ => return None,
    };
    let memory = Op::is_memory(i, 0);
    if memory {
        op.set_memory(i);
    } else {
        op.dst = Op::reg(i.op0_register());
    }
    let by_cl = i.op_kind(1) == OpKind::Register;
    op.imm = if by_cl { 0 } else { i.try_immediate(1).ok()? };
    Some(pick(width(i, 0), memory, by_cl))
}
