//! Where the operands of SSE instructions come from, and how handlers are made of them.

use std::arch::x86_64::__m128i;

use iced_x86::{Instruction, OpKind, Register};

use crate::cpu::soft::core::Core;
use crate::cpu::soft::mem::{Blocked, Word};
use crate::cpu::soft::op::{Flow, Op, ea};
use crate::cpu::soft::state::ZERO;

const RDI: u8 = 7;

/// Takes the operands of `i` over: the first register is `dst`, the second (or the only
/// one behind a memory destination) `src`.
pub fn fill(i: &Instruction, op: &mut Op) {
    for n in 0..i.op_count() {
        match i.op_kind(n) {
            OpKind::Register if n == 0 => op.dst = Op::reg(i.op_register(n)),
            OpKind::Register if n == 1 => op.src = Op::reg(i.op_register(n)),
            OpKind::Register => op.aux = Op::reg(i.op_register(n)),
            OpKind::Memory => op.set_memory(i),
            OpKind::Immediate8 => op.imm = i.immediate8() as u64,
            OpKind::MemorySegRDI | OpKind::MemorySegEDI => {
                op.base = RDI;
                op.index = ZERO;
                op.scale = 0;
                op.disp = 0;
                op.ea = match i.memory_segment() {
                    Register::FS => ea::FS,
                    Register::GS => ea::GS,
                    _ => 0,
                };
                if i.op_kind(n) == OpKind::MemorySegEDI {
                    op.ea |= ea::ADDR32;
                }
            }
            _ => {}
        }
    }
}

/// Raises an exception as a handler's error.
#[cold]
pub fn raise<T>(core: &mut Core, vector: u8, error: Option<u32>) -> Result<T, Blocked> {
    core.raise(vector, error);
    Err(Blocked)
}

/// The address of a 16-byte operand that has to be aligned.
#[inline(always)]
pub fn aligned(core: &mut Core, op: &Op) -> Result<u64, Blocked> {
    let address = op.address(core);
    if address & 15 == 0 {
        Ok(address)
    } else {
        raise(core, 13, Some(0))
    }
}

/// What a handler's steps come to.
#[inline(always)]
pub fn flow(result: Result<(), Blocked>) -> Flow {
    match result {
        Ok(()) => Flow::Next,
        Err(Blocked) => Flow::Trap,
    }
}

/// The XMM register that is the first operand.
#[inline(always)]
pub fn dst<'c>(core: &'c mut Core, op: &Op) -> &'c mut u128 {
    &mut core.s.xmm[op.dst as usize & 15]
}

/// The general-purpose register that is the first operand.
#[inline(always)]
pub fn gpr<'c>(core: &'c mut Core, op: &Op) -> &'c mut u64 {
    &mut core.s.gpr[op.dst as usize & 15]
}

/// The XMM register that is the second operand.
#[inline(always)]
pub fn src(core: &Core, op: &Op) -> u128 {
    core.s.xmm[op.src as usize & 15]
}

/// A kind of second operand.
pub trait Source {
    /// Its value, zero-extended.
    fn get(core: &mut Core, op: &Op) -> Result<u128, Blocked>;
}

/// A whole XMM register, whatever part of it the instruction uses.
pub struct Xmm;
/// The low 32 bits of a general-purpose register.
pub struct Gpr32;
/// A general-purpose register.
pub struct Gpr64;
/// 16 aligned bytes of memory.
pub struct M128;
/// 16 bytes of memory at any address.
pub struct Unaligned;
/// 8 bytes of memory.
pub struct M64;
/// 4 bytes of memory.
pub struct M32;
/// 2 bytes of memory.
pub struct M16;
/// 1 byte of memory.
pub struct M8;

impl Source for Xmm {
    #[inline(always)]
    fn get(core: &mut Core, op: &Op) -> Result<u128, Blocked> {
        Ok(src(core, op))
    }
}

impl Source for Gpr32 {
    #[inline(always)]
    fn get(core: &mut Core, op: &Op) -> Result<u128, Blocked> {
        Ok(core.s.gpr[op.src as usize & 15] as u32 as u128)
    }
}

impl Source for Gpr64 {
    #[inline(always)]
    fn get(core: &mut Core, op: &Op) -> Result<u128, Blocked> {
        Ok(core.s.gpr[op.src as usize & 15] as u128)
    }
}

impl Source for M128 {
    #[inline(always)]
    fn get(core: &mut Core, op: &Op) -> Result<u128, Blocked> {
        let address = aligned(core, op)?;
        core.load(address)
    }
}

#[inline(always)]
fn load<T: Word + Into<u128>>(core: &mut Core, op: &Op) -> Result<u128, Blocked> {
    let address = op.address(core);
    Ok(core.load::<T>(address)?.into())
}

macro_rules! memory_source {
    ($($name:ident $word:ty),*) => {$(
        impl Source for $name {
            #[inline(always)]
            fn get(core: &mut Core, op: &Op) -> Result<u128, Blocked> {
                load::<$word>(core, op)
            }
        }
    )*};
}
memory_source!(Unaligned u128, M64 u64, M32 u32, M16 u16, M8 u8);

/// The value as the host's vector type.
#[inline(always)]
pub fn vector(value: u128) -> __m128i {
    // SAFETY: both types are 16 bytes of which every pattern is valid.
    unsafe { std::mem::transmute(value) }
}

/// The host's vector as a value.
#[inline(always)]
pub fn bits(value: __m128i) -> u128 {
    // SAFETY: both types are 16 bytes of which every pattern is valid.
    unsafe { std::mem::transmute(value) }
}

/// The low 64 bits of `low` under the low 64 bits of `high`.
#[inline(always)]
pub fn join(low: u128, high: u128) -> u128 {
    low as u64 as u128 | high << 64
}

/// A handler from steps that may use `?`.
macro_rules! handler {
    (|$core:ident, $op:ident| $body:block) => {{
        fn handle($core: &mut $crate::cpu::soft::core::Core, $op: &Op) -> $crate::cpu::soft::op::Flow {
            #[inline(always)]
            fn steps(
                $core: &mut $crate::cpu::soft::core::Core,
                $op: &Op,
            ) -> Result<(), $crate::cpu::soft::mem::Blocked> {
                $body
                Ok(())
            }
            $crate::cpu::soft::sse::operand::flow(steps($core, $op))
        }
        handle as $crate::cpu::soft::op::Handler
    }};
}

/// A handler whose second operand, ready as `$b`, is memory or a register.
macro_rules! with_source {
    ($i:expr, $memory:ident, |$core:ident, $op:ident, $b:ident| $body:block) => {
        with_source!($i, $memory | Xmm, |$core, $op, $b| $body)
    };
    ($i:expr, $memory:ident | $register:ident, |$core:ident, $op:ident, $b:ident| $body:block) => {
        if Op::is_memory($i, 1) {
            with_source!($memory, |$core, $op, $b| $body)
        } else {
            with_source!($register, |$core, $op, $b| $body)
        }
    };
    ($source:ident, |$core:ident, $op:ident, $b:ident| $body:block) => {
        handler!(|$core, $op| {
            let $b = <$crate::cpu::soft::sse::operand::$source as $crate::cpu::soft::sse::operand::Source>::get($core, $op)?;
            $body
        })
    };
}

/// A handler of `dst = f(dst, src)`.
macro_rules! binary {
    ($i:expr, $memory:ident, $f:expr) => {
        with_source!($i, $memory, |core, op, b| {
            let d = $crate::cpu::soft::sse::operand::dst(core, op);
            *d = $f(*d, b);
        })
    };
}

/// A function of two vectors that is one instruction of the host.
macro_rules! host {
    ($mnemonic:literal) => {{
        #[inline(always)]
        fn host(a: u128, b: u128) -> u128 {
            let mut d = $crate::cpu::soft::sse::operand::vector(a);
            // SAFETY: the instruction, which every x86-64-v2 host has, computes one
            // register from two and touches neither memory nor flags.
            unsafe {
                std::arch::asm!(
                    concat!($mnemonic, " {0}, {1}"),
                    inout(xmm_reg) d,
                    in(xmm_reg) $crate::cpu::soft::sse::operand::vector(b),
                    options(pure, nomem, nostack, preserves_flags)
                );
            }
            $crate::cpu::soft::sse::operand::bits(d)
        }
        host
    }};
}

pub(in crate::cpu::soft) use {handler, host};
