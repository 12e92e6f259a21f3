//! The x87's words and register stack as other instructions see them: status with TOP,
//! tags, and the summary bit that follows from flags and masks.

use super::super::state::Fpu;

/// The six exception flags, and their masks in the control word.
pub const EXCEPTIONS: u16 = 0x3F;
/// Error summary.
pub const ES: u16 = 1 << 7;
/// Busy, a copy of the summary.
pub const BUSY: u16 = 1 << 15;
/// Writable bits of the control word; bit 6 always reads as one.
const CONTROL: u16 = 0x1F3F;

impl Fpu {
    /// The status word with TOP.
    pub fn status_word(&self) -> u16 {
        self.status | (self.top as u16) << 11
    }

    /// Sets status word and TOP; the summary bits follow from flags and masks.
    pub fn set_status_word(&mut self, word: u16) {
        self.top = (word >> 11 & 7) as u8;
        self.status = word & !(7 << 11);
        self.summarize();
    }

    /// Sets the control word, which may make exceptions pending or not.
    pub fn set_control(&mut self, word: u16) {
        self.control = word & CONTROL | 0x40;
        self.summarize();
    }

    /// Whether an unmasked exception waits to be reported.
    pub fn pending(&self) -> bool {
        self.status & ES != 0
    }

    /// Brings the summary bits in line with flags and masks.
    pub fn summarize(&mut self) {
        let pending = self.status & !self.control & EXCEPTIONS != 0;
        self.status = self.status & !(ES | BUSY) | if pending { ES | BUSY } else { 0 };
    }

    /// What FNINIT does: registers keep their contents, but are empty.
    pub fn init(&mut self) {
        *self = Fpu {
            regs: self.regs,
            ..Fpu::default()
        };
    }

    /// Index of the physical register that is ST(`i`).
    #[inline]
    pub fn physical(&self, i: u8) -> usize {
        (self.top.wrapping_add(i) & 7) as usize
    }

    /// Full tags, two bits a physical register: 0 valid, 1 zero, 2 special, 3 empty.
    pub fn tags(&self) -> u16 {
        let tag = |i: usize| {
            let bits = self.regs[i];
            let (exponent, mantissa) = ((bits >> 64) as u16 & 0x7FFF, bits as u64);
            if self.valid & 1 << i == 0 {
                3
            } else if exponent == 0 && mantissa == 0 {
                1
            } else if exponent == 0 || exponent == 0x7FFF || mantissa >> 63 == 0 {
                2
            } else {
                0
            }
        };
        (0..8).fold(0, |tags, i| tags | tag(i) << (2 * i))
    }

    /// Takes full tags over; only empty or not matters.
    pub fn set_tags(&mut self, tags: u16) {
        self.valid = (0..8).fold(0, |valid, i| {
            valid | ((tags >> (2 * i) & 3 != 3) as u8) << i
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_follow_from_contents() {
        let mut fpu = Fpu {
            valid: 0b0111_1101,
            ..Fpu::default()
        };
        fpu.regs[0] = 0x3FFF_8000_0000_0000_0000;
        fpu.regs[2] = 0x7FFF_8000_0000_0000_0000;
        fpu.regs[3] = 1;
        fpu.regs[4] = 0x3FFF_0000_0000_0000_0001;
        fpu.regs[5] = 0x8000_0000_0000_0000_0000;
        assert_eq!(fpu.tags(), 0b11_01_01_10_10_10_11_00);
        fpu.set_tags(0b11_01_01_10_10_10_11_00);
        assert_eq!(fpu.valid, 0b0111_1101);
    }

    #[test]
    fn unmasking_makes_a_flag_pending() {
        let mut fpu = Fpu::default();
        fpu.set_status_word(0x3821);
        assert_eq!((fpu.status_word(), fpu.top), (0x3821, 7));
        fpu.set_control(0xF35F);
        assert_eq!((fpu.control, fpu.status_word()), (0x135F, 0xB8A1));
        fpu.init();
        assert_eq!(fpu, Fpu::default());
    }
}
