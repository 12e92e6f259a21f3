//! The six status flags, computed when someone looks.

use super::core::Core;

/// CF of RFLAGS.
pub const CF: u64 = 1;
/// PF of RFLAGS.
pub const PF: u64 = 1 << 2;
/// AF of RFLAGS.
pub const AF: u64 = 1 << 4;
/// ZF of RFLAGS.
pub const ZF: u64 = 1 << 6;
/// SF of RFLAGS.
pub const SF: u64 = 1 << 7;
/// OF of RFLAGS.
pub const OF: u64 = 1 << 11;
/// The six status flags.
pub const STATUS: u64 = CF | PF | AF | ZF | SF | OF;

impl Core {
    /// RFLAGS with the status flags computed; afterwards `s.rflags` holds them.
    pub fn flags(&mut self) -> u64 {
        self.s.rflags
    }

    /// Sets the six status flags to those of `bits`; other bits are ignored.
    pub fn set_status(&mut self, bits: u64) {
        self.s.rflags = self.s.rflags & !STATUS | bits & STATUS;
    }
}
