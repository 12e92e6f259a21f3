//! Breaks a handler on purpose, to show that the comparison would notice.

use std::cell::{Cell, RefCell};

use iced_x86::Code;

use crate::cpu::soft::core::Core;
use crate::cpu::soft::flags::{AF, CF, OF, ZF};
use crate::cpu::soft::op::{Flow, Handler, Op};

/// What goes wrong after the right thing was done, or instead of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// Nothing is done at all.
    Skip,
    Carry,
    Overflow,
    Zero,
    Adjust,
    /// The destination's lowest bit.
    Result,
    /// Bit 32 of the destination: a 32-bit result that is not zero-extended.
    Upper,
    /// The top bit of the destination's XMM register.
    Vector,
    /// A sticky flag of MXCSR.
    Mxcsr,
    /// The lowest bit of ST0.
    Stack,
}

thread_local! {
    static SALT: Cell<u128> = const { Cell::new(0) };
    static BROKEN: Cell<Option<(Code, Damage)>> = const { Cell::new(None) };
    static HANDLERS: RefCell<Vec<Handler>> = const { RefCell::new(Vec::new()) };
}

/// Breaks `code` in blocks that this thread decodes from now on.
pub fn set(broken: Option<(Code, Damage)>) {
    BROKEN.set(broken);
    SALT.set(SALT.get() + 1);
}

/// Keeps what this thread decodes apart from what was decoded before it broke something.
pub fn salt() -> u128 {
    SALT.get()
}

/// Called with every op that was decoded. `edge` then says where the handler went.
pub fn apply(mut op: Op) -> Op {
    if let Some((code, _)) = BROKEN.get()
        && code as u16 == op.code
    {
        HANDLERS.with_borrow_mut(|handlers| {
            let known = handlers.iter().position(|&h| h as usize == op.run as usize);
            op.edge = known.unwrap_or_else(|| {
                handlers.push(op.run);
                handlers.len() - 1
            }) as u32;
        });
        op.run = broken;
    }
    op
}

fn broken(core: &mut Core, op: &Op) -> Flow {
    let Some((_, damage)) = BROKEN.get() else {
        return core.raise(6, None);
    };
    if damage == Damage::Skip {
        return Flow::Next;
    }
    let run = HANDLERS.with_borrow(|handlers| handlers[op.edge as usize]);
    let flow = run(core, op);
    if flow == Flow::Trap {
        return flow;
    }
    let mut flip = |flag| {
        let flags = core.flags();
        core.set_status(flags ^ flag);
    };
    match damage {
        Damage::Skip => {}
        Damage::Carry => flip(CF),
        Damage::Overflow => flip(OF),
        Damage::Zero => flip(ZF),
        Damage::Adjust => flip(AF),
        Damage::Result => core.s.gpr[op.dst as usize & 15] ^= 1,
        Damage::Upper => core.s.gpr[op.dst as usize & 15] ^= 1 << 32,
        Damage::Vector => core.s.xmm[op.dst as usize & 15] ^= 1 << 127,
        Damage::Mxcsr => core.s.mxcsr ^= 0x20,
        Damage::Stack => {
            let top = core.s.fpu.top as usize & 7;
            core.s.fpu.regs[top] ^= 1;
        }
    }
    flow
}
