//! Delivery of exceptions and interrupts through the IDT in long mode (SDM volume 3, 6.14).

use super::bits::{IF, NT, RF, TF, VM};
use super::core::{Core, Trap};
use super::mem::Blocked;
use super::segments::{GP, NP, gp, selector_error};
use super::state::{Segment, seg};
use crate::cpu::paging::canonical;

/// Vector of the non-maskable interrupt.
const NMI: u8 = 2;
/// Vector of #DF.
const DOUBLE_FAULT: u8 = 8;
/// Vector of #TS.
const TS: u8 = 10;
/// Vector of #SS.
pub const SS: u8 = 12;
/// Vector of #PF.
pub const PF: u8 = 14;

/// An exception that is to be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Vector, 0..32.
    pub vector: u8,
    /// Error code where the vector has one.
    pub error: Option<u32>,
}

impl Fault {
    /// An exception.
    pub fn new(vector: u8, error: Option<u32>) -> Fault {
        Fault { vector, error }
    }
}

/// What an event comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The CPU itself: an exception.
    Exception,
    /// INT n, INT3 and their kin.
    Software,
    /// An interrupt controller.
    External,
}

/// How two exceptions combine (SDM volume 3, table 6-5).
#[derive(PartialEq, Eq)]
enum Class {
    Benign,
    Contributory,
    PageFault,
}

fn class(vector: u8) -> Class {
    match vector {
        0 | 10..=13 => Class::Contributory,
        PF => Class::PageFault,
        _ => Class::Benign,
    }
}

/// Whether the pushed RFLAGS have RF set: exceptions of the fault class.
fn is_fault(vector: u8) -> bool {
    !matches!(vector, 1 | 2 | 3 | 4 | 8 | 18)
}

impl Core {
    /// The exception that `trap` stands for after a [`Blocked`].
    fn blocked(&mut self, _: Blocked) -> Fault {
        match self.trap {
            Trap::Exception { vector, error } => Fault { vector, error },
            // Tables and stacks outside of RAM: nothing sensible can be delivered.
            _ => Fault::new(DOUBLE_FAULT, Some(0)),
        }
    }

    /// Runs `access` as the supervisor and on its own: for what the CPU itself reads and writes.
    pub(super) fn as_system<T>(
        &mut self,
        access: impl FnOnce(&mut Core) -> Result<T, Blocked>,
    ) -> Result<T, Fault> {
        let user = self.tlb.user();
        let alone = std::mem::replace(&mut self.alone, true);
        let queued = self.s.pending.writes.len();
        self.tlb.set_user(false);
        let result = access(self).map_err(|e| self.blocked(e));
        self.tlb.set_user(user);
        self.alone = alone;
        if self.s.pending.writes.len() > queued {
            self.s.pending.writes.truncate(queued);
            return Err(Fault::new(DOUBLE_FAULT, Some(0)));
        }
        result
    }

    /// Loads a quad word as the supervisor.
    pub(super) fn system_load(&mut self, address: u64) -> Result<u64, Fault> {
        self.as_system(|core| core.load(address))
    }

    /// Stores a quad word as the supervisor.
    pub(super) fn system_store(&mut self, address: u64, value: u64) -> Result<(), Fault> {
        self.as_system(|core| core.store(address, value))
    }

    /// Raises `fault` at `s.rip`; exceptions on the way combine to a double fault, and
    /// then to shutdown.
    ///
    /// An exception right behind another, with no instruction between, counts as one:
    /// a handler that cannot even be fetched takes time for ever, but never for nothing.
    pub(super) fn exception(&mut self, fault: Fault) {
        if self.s.excepted == self.s.retired {
            self.s.retired += 1;
        }
        self.s.excepted = self.s.retired;
        self.event(fault, Source::Exception);
    }

    /// Delivers an event at `s.rip`, come what may.
    pub(super) fn event(&mut self, fault: Fault, source: Source) {
        let mut first = class(fault.vector);
        if source != Source::Exception {
            first = Class::Benign;
        }
        let mut now = fault;
        let mut source = source;
        let mut double = false;
        loop {
            self.note_page_fault(now.vector);
            let Err(next) = self.deliver(now, source) else {
                return;
            };
            source = Source::Exception;
            let second = class(next.vector);
            if double && (second != Class::Benign || next.vector == DOUBLE_FAULT) {
                self.s.shutdown = true;
                self.attention = true;
                return;
            }
            let combine = match first {
                Class::Benign => false,
                Class::Contributory => second == Class::Contributory,
                Class::PageFault => second != Class::Benign,
            };
            if combine || next.vector == DOUBLE_FAULT {
                self.note_page_fault(next.vector);
                double = true;
                now = Fault::new(DOUBLE_FAULT, Some(0));
            } else {
                now = next;
                first = second;
            }
        }
    }

    /// Delivers the non-maskable interrupt that is pending, if nothing is in its way: one
    /// that is being handled, the shadow of STI or a load of SS, an instruction under way.
    pub(super) fn take_nmi(&mut self) {
        let s = &mut self.s;
        let idle = s.pending.writes.is_empty() && s.pending.answers.is_empty();
        if s.nmi_pending && !s.nmi_blocked && !s.shadow && !s.shutdown && idle {
            s.nmi_pending = false;
            s.nmi_blocked = true;
            s.halted = false;
            self.event(Fault::new(NMI, None), Source::External);
        }
    }

    fn note_page_fault(&mut self, vector: u8) {
        if vector == PF {
            self.s.cr2 = self.fault_address;
        }
    }

    /// One attempt at a delivery; changes nothing if it fails.
    pub(super) fn deliver(&mut self, fault: Fault, source: Source) -> Result<(), Fault> {
        let Fault { vector, error } = fault;
        let external = u32::from(source != Source::Software);
        let gate_error = Some(u32::from(vector) << 3 | 2 | external);
        let at = u64::from(vector) * 16;
        if at + 15 > u64::from(self.s.idtr.limit) {
            return Err(Fault::new(GP, gate_error));
        }
        let low = self.system_load(self.s.idtr.base.wrapping_add(at))?;
        let high = self.system_load(self.s.idtr.base.wrapping_add(at + 8))?;
        let kind = low >> 40 & 0x1F;
        let gate_dpl = (low >> 45) as u8 & 3;
        if kind & 0x1E != 0xE || source == Source::Software && gate_dpl < self.s.cpl {
            return Err(Fault::new(GP, gate_error));
        }
        if low & 1 << 47 == 0 {
            return Err(Fault::new(NP, gate_error));
        }
        let target = low & 0xFFFF | low >> 32 & 0xFFFF_0000 | high << 32;
        let selector = (low >> 16) as u16;
        let with_source = |mut fault: Fault| {
            fault.error = fault.error.map(|e| e | external);
            fault
        };
        if selector & !3 == 0 {
            return Err(Fault::new(GP, Some(external)));
        }
        let code = self.long_code(selector).map_err(|fault| {
            if fault.vector == PF {
                fault
            } else {
                with_source(fault)
            }
        })?;
        if code.dpl() > self.s.cpl {
            return Err(with_source(gp(selector)));
        }
        if !code.present() {
            return Err(with_source(Fault::new(NP, selector_error(selector))));
        }
        let cpl = if code.is_conforming() {
            self.s.cpl
        } else {
            code.dpl()
        };
        let ist = (low >> 32) as u8 & 7;
        let stack = if ist != 0 {
            self.tss_stack(0x24 + (u64::from(ist) - 1) * 8)?
        } else if cpl < self.s.cpl {
            self.tss_stack(4 + u64::from(cpl) * 8)?
        } else {
            self.s.gpr[4]
        };
        if !canonical(target) {
            return Err(Fault::new(GP, Some(external)));
        }
        let mut flags = self.flags();
        if source == Source::Exception && is_fault(vector) {
            flags |= RF;
        }
        let frame = [
            u64::from(error.unwrap_or(0)),
            self.s.rip,
            u64::from(self.s.segs[seg::CS].selector),
            flags,
            self.s.gpr[4],
            u64::from(self.s.segs[seg::SS].selector),
        ];
        let words = if error.is_some() {
            &frame[..]
        } else {
            &frame[1..]
        };
        let rsp = (stack & !15).wrapping_sub(8 * words.len() as u64);
        self.push_frame(rsp, words, cpl)?;
        self.mark_accessed(code)?;
        if cpl != self.s.cpl {
            self.s.segs[seg::SS] = Segment {
                selector: u16::from(cpl),
                attributes: u16::from(cpl) << 5,
                ..Segment::default()
            };
        }
        self.s.segs[seg::CS] = code.segment(selector & !3 | u16::from(cpl));
        self.set_cpl(cpl);
        self.s.gpr[4] = rsp;
        self.s.rip = target;
        self.s.rflags &= !(TF | NT | RF | VM);
        if kind & 1 == 0 {
            self.s.rflags &= !IF;
        }
        self.s.shadow = false;
        self.s.halted = false;
        self.attention = true;
        Ok(())
    }

    /// A stack pointer from the TSS.
    fn tss_stack(&mut self, offset: u64) -> Result<u64, Fault> {
        if offset + 7 > u64::from(self.s.tr.limit) {
            return Err(Fault::new(TS, selector_error(self.s.tr.selector)));
        }
        self.system_load(self.s.tr.base.wrapping_add(offset))
    }

    /// Stores an interrupt frame with the rights of `cpl`.
    fn push_frame(&mut self, rsp: u64, words: &[u64], cpl: u8) -> Result<(), Fault> {
        let mut bytes = [0; 48];
        let size = words.len() * 8;
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(words) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        if !canonical(rsp) || !canonical(rsp.wrapping_add(size as u64 - 1)) {
            return Err(Fault::new(SS, Some(0)));
        }
        self.as_system(|core| {
            core.tlb.set_user(cpl == 3);
            core.store_bytes(rsp, &bytes[..size])
        })
    }
}
