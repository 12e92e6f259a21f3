//! x87 and FXSAVE.
//!
//! Operations that IEEE 754 fixes to the last bit (add to square root, conversions,
//! comparisons) run on the host's own x87 under the guest's control word (`host`), so
//! that masked and unmasked responses, rounding and precision control, flags and C1
//! are the processor's. Whatever may differ between processors is computed here:
//! stack faults, partial remainders and the transcendental functions.
//!
//! What manuals leave undefined: C0, C2 and C3 keep their values where an instruction
//! does not define them. FIP and FDP (as a linear address) are recorded by every
//! instruction that is not a control instruction, FOP only with an unmasked exception;
//! the selectors FCS and FDS read as zero. FDP keeps its value when there is no memory operand.

use iced_x86::{Instruction, OpKind};

use super::core::Core;
use super::mem::Blocked;
use super::op::{Flow, Handler, Op};
use super::state::{BLOCK, Fpu};

mod arithmetic;
mod compare;
mod control;
mod functions;
mod host;
mod load_store;
#[cfg(test)]
mod native;
mod registers;
mod save;
mod stack;
mod transcendental;
mod wide;

/// CR0.MP: WAIT heeds CR0.TS.
const CR0_MP: u64 = 1 << 1;
/// CR0.EM: there is no x87.
const CR0_EM: u64 = 1 << 2;
/// CR0.TS: the state is another task's.
const CR0_TS: u64 = 1 << 3;
/// CR0.NE: exceptions are reported by #MF.
const CR0_NE: u64 = 1 << 5;
/// Device not available.
const NM: u8 = 7;
/// x87 floating-point error.
const MF: u8 = 16;

/// Picks the handler of `i` and fills in `op`; `None` if this family does not have it.
pub fn lower(i: &Instruction, op: &mut Op) -> Option<Handler> {
    // Whoever does not know the instruction may have scribbled on the draft.
    let mut draft = *op;
    let handler = control::lower(i)
        .or_else(|| save::lower(i))
        .or_else(|| load_store::lower(i, &mut draft))
        .or_else(|| transcendental::lower(i))
        .or_else(|| arithmetic::lower(i, &mut draft))
        .or_else(|| compare::lower(i, &mut draft))?;
    *op = draft;
    if (0..i.op_count()).any(|n| i.op_kind(n) == OpKind::Memory) {
        op.set_memory(i);
    }
    Some(handler)
}

/// Evaluates a memory access, or leaves the handler with the trap that it met.
macro_rules! access {
    ($access:expr) => {
        match $access {
            Ok(value) => value,
            Err(Blocked) => return Flow::Trap,
        }
    };
}
use access;

/// The trap of an instruction that meets a disabled x87, also if it does not wait for exceptions.
#[inline]
fn unavailable(core: &mut Core) -> Option<Flow> {
    (core.s.cr0 & (CR0_EM | CR0_TS) != 0).then(|| core.raise(NM, None))
}

/// The trap of an instruction that meets a disabled x87 or a pending exception. With
/// CR0.NE clear nothing reports exceptions, as if IGNNE# were asserted.
#[inline]
fn blocked(core: &mut Core) -> Option<Flow> {
    unavailable(core).or_else(|| {
        (core.s.fpu.pending() && core.s.cr0 & CR0_NE != 0).then(|| core.raise(MF, None))
    })
}

/// A [`Handler`] that runs one of the frames below with a closure.
macro_rules! handler {
    ($frame:expr, $action:expr) => {{
        fn run(core: &mut Core, op: &Op) -> Flow {
            $frame(core, op, $action)
        }
        run as Handler
    }};
}
use handler;

/// An operand in memory.
trait Operand {
    /// Loads it.
    fn load(core: &mut Core, address: u64) -> Result<u128, Blocked>;
    /// Stores the low bits of `value`.
    fn store(core: &mut Core, address: u64, value: u128) -> Result<(), Blocked>;
    /// Checks that it could be stored, for a store that an unmasked exception suppresses.
    fn check(core: &mut Core, address: u64) -> Result<(), Blocked>;
}

macro_rules! word_operand {
    ($($word:ty)*) => {$(
        impl Operand for $word {
            fn load(core: &mut Core, address: u64) -> Result<u128, Blocked> {
                core.load::<$word>(address).map(u128::from)
            }
            fn store(core: &mut Core, address: u64, value: u128) -> Result<(), Blocked> {
                core.store(address, value as $word)
            }
            fn check(core: &mut Core, address: u64) -> Result<(), Blocked> {
                core.load_for_store::<$word>(address).map(drop)
            }
        }
    )*};
}
word_operand!(u16 u32 u64);

/// An operand of ten bytes.
struct Tbyte;

impl Operand for Tbyte {
    fn load(core: &mut Core, address: u64) -> Result<u128, Blocked> {
        let mut bytes = [0; 16];
        core.load_bytes(address, &mut bytes[..10])?;
        Ok(u128::from_le_bytes(bytes))
    }
    fn store(core: &mut Core, address: u64, value: u128) -> Result<(), Blocked> {
        core.store_bytes(address, &value.to_le_bytes()[..10])
    }
    fn check(core: &mut Core, address: u64) -> Result<(), Blocked> {
        core.load_for_store::<u64>(address)?;
        core.load_for_store::<u16>(address.wrapping_add(8))
            .map(drop)
    }
}

/// Frame of an instruction that stays within the x87.
#[inline(always)]
fn register(core: &mut Core, op: &Op, action: impl Fn(&mut Fpu, &Op)) -> Flow {
    if let Some(trap) = blocked(core) {
        return trap;
    }
    action(&mut core.s.fpu, op);
    record(core, op, None);
    Flow::Next
}

/// Frame of an instruction with a source in memory.
#[inline(always)]
fn source<T: Operand>(core: &mut Core, op: &Op, action: impl Fn(&mut Fpu, &Op, u128)) -> Flow {
    if let Some(trap) = blocked(core) {
        return trap;
    }
    let address = op.address(core);
    let value = access!(T::load(core, address));
    action(&mut core.s.fpu, op, value);
    record(core, op, Some(address));
    Flow::Next
}

/// Frame of an instruction that stores what `action` gives, and changes the x87 only once that is done.
#[inline(always)]
fn target<T: Operand>(
    core: &mut Core,
    op: &Op,
    action: impl Fn(&mut Fpu, &Op) -> Option<u128>,
) -> Flow {
    if let Some(trap) = blocked(core) {
        return trap;
    }
    let address = op.address(core);
    let mut fpu = core.s.fpu.clone();
    if let Some(value) = action(&mut fpu, op) {
        access!(T::store(core, address, value));
    } else {
        access!(T::check(core, address));
    }
    core.s.fpu = fpu;
    record(core, op, Some(address));
    Flow::Next
}

/// Notes where the instruction and its operand are, and its opcode if it left an unmasked exception.
fn record(core: &mut Core, op: &Op, data: Option<u64>) {
    let ip = core.s.gpr[BLOCK as usize].wrapping_add(op.off as u64);
    core.s.fpu.ip = ip;
    if let Some(address) = data {
        core.s.fpu.dp = address;
    }
    if core.s.fpu.pending() {
        let mut bytes = [0; 16];
        let length = op.len.min(15) as usize;
        if core.load_bytes(ip, &mut bytes[..length]).is_ok() {
            // No prefix looks like an escape opcode.
            if let Some(at) = bytes.iter().position(|b| b & 0xF8 == 0xD8) {
                core.s.fpu.opcode = (bytes[at] as u16 & 7) << 8 | bytes[at + 1] as u16;
            }
        }
    }
}
