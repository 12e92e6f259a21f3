//! Segment descriptors (SDM volume 3, 3.4.5): long mode has little use for them, but
//! every interrupt, return and far branch still reads them.

use super::core::Core;
use super::exceptions::Fault;
use super::state::Segment;

/// Vector of #NP.
pub const NP: u8 = 11;
/// Vector of #GP.
pub const GP: u8 = 13;

/// A descriptor as it stands in the GDT or LDT.
#[derive(Clone, Copy, Debug)]
pub struct Descriptor {
    /// The 8 bytes.
    pub raw: u64,
    /// Linear address of them.
    pub address: u64,
}

impl Descriptor {
    /// Type, S, DPL, P, AVL, L, D/B, G, in the form of [`Segment::attributes`].
    pub fn attributes(self) -> u16 {
        (self.raw >> 40) as u16 & 0xF0FF
    }

    /// Base address (32 bits).
    pub fn base(self) -> u64 {
        self.raw >> 16 & 0xFF_FFFF | self.raw >> 32 & 0xFF00_0000
    }

    /// Limit in bytes, inclusive.
    pub fn limit(self) -> u32 {
        let limit = (self.raw & 0xFFFF | self.raw >> 32 & 0xF_0000) as u32;
        if self.attributes() & 0x8000 != 0 {
            limit << 12 | 0xFFF
        } else {
            limit
        }
    }

    /// Descriptor privilege level.
    pub fn dpl(self) -> u8 {
        (self.raw >> 45) as u8 & 3
    }

    /// P.
    pub fn present(self) -> bool {
        self.raw & 1 << 47 != 0
    }

    /// Code or data, not a system descriptor.
    pub fn is_user_segment(self) -> bool {
        self.raw & 1 << 44 != 0
    }

    /// The four type bits.
    pub fn kind(self) -> u8 {
        (self.raw >> 40) as u8 & 15
    }

    /// A code segment.
    pub fn is_code(self) -> bool {
        self.is_user_segment() && self.kind() & 8 != 0
    }

    /// A conforming code segment.
    pub fn is_conforming(self) -> bool {
        self.is_code() && self.kind() & 4 != 0
    }

    /// A data segment that can be written.
    pub fn is_writable_data(self) -> bool {
        self.is_user_segment() && self.kind() & 10 == 2
    }

    /// Data, or code that can be read.
    pub fn is_readable(self) -> bool {
        self.is_user_segment() && self.kind() & 10 != 8
    }

    /// A 64-bit code segment: L without D.
    pub fn is_long_code(self) -> bool {
        self.is_code() && self.attributes() & 0x6000 == 0x2000
    }

    /// A call gate of long mode.
    pub fn is_call_gate(self) -> bool {
        !self.is_user_segment() && self.kind() == 0xC
    }

    /// The segment register that holds it.
    pub fn segment(self, selector: u16) -> Segment {
        Segment {
            base: self.base(),
            limit: self.limit(),
            attributes: self.attributes(),
            selector,
        }
    }
}

/// The error code that names a selector.
pub fn selector_error(selector: u16) -> Option<u32> {
    Some(u32::from(selector & !3))
}

/// #GP with the selector as error code.
pub fn gp(selector: u16) -> Fault {
    Fault::new(GP, selector_error(selector))
}

impl Core {
    /// Where the descriptor of `selector` stands, if its table reaches so far.
    fn descriptor_address(&self, selector: u16, size: u64) -> Option<u64> {
        let (base, limit) = if selector & 4 == 0 {
            (self.s.gdtr.base, u64::from(self.s.gdtr.limit))
        } else if self.s.ldtr.selector & !3 != 0 {
            (self.s.ldtr.base, u64::from(self.s.ldtr.limit))
        } else {
            return None;
        };
        let offset = u64::from(selector & !7);
        (offset + size - 1 <= limit).then(|| base.wrapping_add(offset))
    }

    /// Reads the descriptor of `selector`; `None` if it is null or beyond its table.
    pub(super) fn descriptor(&mut self, selector: u16) -> Result<Option<Descriptor>, Fault> {
        if selector & !3 == 0 {
            return Ok(None);
        }
        let Some(address) = self.descriptor_address(selector, 8) else {
            return Ok(None);
        };
        let raw = self.system_load(address)?;
        Ok(Some(Descriptor { raw, address }))
    }

    /// The upper 8 bytes of a 16-byte system descriptor.
    pub(super) fn descriptor_top(&mut self, selector: u16) -> Result<u64, Fault> {
        match self.descriptor_address(selector, 16) {
            Some(address) => self.system_load(address.wrapping_add(8)),
            None => Err(gp(selector)),
        }
    }

    /// Sets the accessed bit of a code or data descriptor that was loaded.
    pub(super) fn mark_accessed(&mut self, descriptor: Descriptor) -> Result<(), Fault> {
        if descriptor.raw & 1 << 40 == 0 {
            self.system_store(descriptor.address, descriptor.raw | 1 << 40)?;
        }
        Ok(())
    }

    /// Reads and checks a code segment to go to with privilege `cpl`: of a gate (`rpl` =
    /// `None`) or of a far return or branch.
    pub(super) fn long_code(&mut self, selector: u16) -> Result<Descriptor, Fault> {
        let Some(descriptor) = self.descriptor(selector)? else {
            return Err(gp(selector));
        };
        if !descriptor.is_long_code() {
            return Err(gp(selector));
        }
        Ok(descriptor)
    }

    /// Loads DS, ES, FS or GS (SDM volume 2, MOV).
    pub(super) fn load_data_segment(&mut self, index: usize, selector: u16) -> Result<(), Fault> {
        if selector & !3 == 0 {
            self.s.segs[index] = Segment {
                selector,
                ..Segment::default()
            };
            return Ok(());
        }
        let Some(descriptor) = self.descriptor(selector)? else {
            return Err(gp(selector));
        };
        let rpl = (selector & 3) as u8;
        let privileged = descriptor.dpl() < rpl.max(self.s.cpl);
        if !descriptor.is_readable() || privileged && !descriptor.is_conforming() {
            return Err(gp(selector));
        }
        if !descriptor.present() {
            return Err(Fault::new(NP, selector_error(selector)));
        }
        self.mark_accessed(descriptor)?;
        self.s.segs[index] = descriptor.segment(selector);
        Ok(())
    }

    /// Loads SS for privilege `cpl`.
    pub(super) fn stack_segment(&mut self, selector: u16, cpl: u8) -> Result<Segment, Fault> {
        let rpl = (selector & 3) as u8;
        if selector & !3 == 0 {
            // 64-bit code may run with a null SS below ring 3.
            if cpl == 3 || rpl != cpl {
                return Err(gp(0));
            }
            return Ok(Segment {
                selector,
                attributes: u16::from(cpl) << 5,
                ..Segment::default()
            });
        }
        let Some(descriptor) = self.descriptor(selector)? else {
            return Err(gp(selector));
        };
        if rpl != cpl || !descriptor.is_writable_data() || descriptor.dpl() != cpl {
            return Err(gp(selector));
        }
        if !descriptor.present() {
            return Err(Fault::new(12, selector_error(selector)));
        }
        self.mark_accessed(descriptor)?;
        Ok(descriptor.segment(selector))
    }
}
