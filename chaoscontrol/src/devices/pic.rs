//! The pair of 8259A interrupt controllers, with the edge/level registers of the PIIX.
//!
//! A request that an edge made stays until it is acknowledged, also when the line
//! falls before; a level request lasts as long as its line. The slave's output is
//! master input 2.

/// Ports of the two command/data pairs and the edge/level registers.
pub const PORTS: [u16; 6] = [0x20, 0x21, 0xA0, 0xA1, 0x4D0, 0x4D1];

const CASCADE: u8 = 2;

/// Which byte of the initialization sequence is expected next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Init {
    #[default]
    Done,
    Icw2,
    Icw3,
    Icw4,
}

/// One controller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Chip {
    /// Interrupt requests.
    irr: u8,
    /// Interrupts in service.
    isr: u8,
    /// Masked inputs.
    imr: u8,
    /// Input levels.
    lines: u8,
    /// Inputs that were high for a moment without a device's doing, until acknowledged.
    glitches: u8,
    /// Level-triggered inputs, by ELCR.
    elcr: u8,
    /// Vector of input 0.
    base: u8,
    /// The input of highest priority.
    first: u8,
    init: Init,
    single: bool,
    wants_icw4: bool,
    all_level: bool,
    auto_eoi: bool,
    rotate_on_auto_eoi: bool,
    nested: bool,
    special_mask: bool,
    poll: bool,
    read_isr: bool,
}

impl Chip {
    fn level(&self) -> u8 {
        if self.all_level { 0xFF } else { self.elcr }
    }

    /// The input of highest priority among `bits`.
    fn top(&self, bits: u8) -> Option<u8> {
        (0..8)
            .map(|i| (self.first + i) & 7)
            .find(|i| bits >> i & 1 != 0)
    }

    /// How far `input` is from the highest priority.
    fn rank(&self, input: u8) -> u8 {
        input.wrapping_sub(self.first) & 7
    }

    /// The request that the chip presents to the CPU or the master.
    fn request(&self) -> Option<u8> {
        let input = self.top(self.irr & !self.imr)?;
        let mut blocking = self.isr;
        if self.special_mask {
            blocking &= !self.imr;
        }
        if self.nested {
            blocking &= !(1 << CASCADE);
        }
        match self.top(blocking) {
            Some(busy) if self.rank(busy) <= self.rank(input) => None,
            _ => Some(input),
        }
    }

    fn set_line(&mut self, input: u8, high: bool) {
        let bit = 1 << input;
        if self.level() & bit != 0 {
            self.irr = if high || self.glitches & bit != 0 {
                self.irr | bit
            } else {
                self.irr & !bit
            };
        } else if high && self.lines & bit == 0 {
            self.irr |= bit;
        }
        self.lines = if high {
            self.lines | bit
        } else {
            self.lines & !bit
        };
    }

    fn glitch(&mut self, input: u8) {
        self.glitches |= 1 << input;
        self.irr |= 1 << input;
    }

    fn set_elcr(&mut self, elcr: u8) {
        self.elcr = elcr;
        self.irr = (self.irr & !elcr) | ((self.lines | self.glitches) & elcr);
    }

    fn accept(&mut self, input: u8) {
        let bit = 1 << input;
        self.glitches &= !bit;
        if self.level() & self.lines & bit == 0 {
            self.irr &= !bit;
        }
        if !self.auto_eoi {
            self.isr |= bit;
        } else if self.rotate_on_auto_eoi {
            self.first = (input + 1) & 7;
        }
    }

    fn end_of_interrupt(&mut self) -> Option<u8> {
        let mut bits = self.isr;
        if self.special_mask {
            bits &= !self.imr;
        }
        let input = self.top(bits)?;
        self.isr &= !(1 << input);
        Some(input)
    }

    fn write_command(&mut self, value: u8) {
        match value & 0x18 {
            _ if value & 0x10 != 0 => self.icw1(value),
            0x08 => self.ocw3(value),
            _ => self.ocw2(value),
        }
    }

    fn icw1(&mut self, value: u8) {
        *self = Chip {
            lines: self.lines,
            elcr: self.elcr,
            base: self.base,
            init: Init::Icw2,
            single: value & 2 != 0,
            wants_icw4: value & 1 != 0,
            all_level: value & 8 != 0,
            ..Chip::default()
        };
        self.irr = self.lines & self.level();
    }

    fn ocw2(&mut self, value: u8) {
        let input = value & 7;
        match value >> 5 {
            0 => self.rotate_on_auto_eoi = false,
            1 => {
                self.end_of_interrupt();
            }
            3 => self.isr &= !(1 << input),
            4 => self.rotate_on_auto_eoi = true,
            5 => {
                if let Some(ended) = self.end_of_interrupt() {
                    self.first = (ended + 1) & 7;
                }
            }
            6 => self.first = (input + 1) & 7,
            7 => {
                self.isr &= !(1 << input);
                self.first = (input + 1) & 7;
            }
            _ => {}
        }
    }

    fn ocw3(&mut self, value: u8) {
        if value & 0x40 != 0 {
            self.special_mask = value & 0x20 != 0;
        }
        self.poll = value & 4 != 0;
        if value & 2 != 0 {
            self.read_isr = value & 1 != 0;
        }
    }

    fn write_data(&mut self, value: u8) {
        match self.init {
            Init::Done => self.imr = value,
            Init::Icw2 => {
                self.base = value & 0xF8;
                self.init = match (self.single, self.wants_icw4) {
                    (false, _) => Init::Icw3,
                    (true, true) => Init::Icw4,
                    (true, false) => Init::Done,
                };
            }
            // The wiring of the cascade is fixed.
            Init::Icw3 => {
                self.init = if self.wants_icw4 {
                    Init::Icw4
                } else {
                    Init::Done
                };
            }
            Init::Icw4 => {
                self.auto_eoi = value & 2 != 0;
                self.nested = value & 0x10 != 0;
                self.init = Init::Done;
            }
        }
    }

    fn read(&mut self, data: bool) -> u8 {
        if std::mem::take(&mut self.poll) {
            return match self.request() {
                Some(input) => {
                    self.accept(input);
                    0x80 | input
                }
                None => 0,
            };
        }
        match (data, self.read_isr) {
            (true, _) => self.imr,
            (false, true) => self.isr,
            (false, false) => self.irr,
        }
    }
}

/// Both controllers, as wired in a PC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pic {
    master: Chip,
    slave: Chip,
    /// INTR is raised for a request that is gone when it is acknowledged.
    spurious: bool,
}

impl Pic {
    /// Sets the level of input `irq` (0..=15; 2 is the cascade and not an input).
    pub fn set_line(&mut self, irq: u8, high: bool) {
        match irq {
            CASCADE => return,
            0..=7 => self.master.set_line(irq, high),
            8..=15 => self.slave.set_line(irq - 8, high),
            _ => return,
        }
        self.cascade();
    }

    /// A rising and a falling edge on input `irq`.
    pub fn pulse(&mut self, irq: u8) {
        self.set_line(irq, true);
        self.set_line(irq, false);
    }

    /// A pulse on input `irq` (0..=15; 2 is wired to 9, as in a PC) that no device made. It
    /// stays requested until it is acknowledged, on level-triggered inputs, too.
    pub fn glitch(&mut self, irq: u8) {
        match irq {
            CASCADE => self.slave.glitch(1),
            0..=7 => self.master.glitch(irq),
            8..=15 => self.slave.glitch(irq - 8),
            _ => return,
        }
        self.cascade();
    }

    /// Raises the CPU's INTR pin for a request that is gone when the CPU acknowledges it.
    pub fn spurious(&mut self) {
        self.spurious = true;
    }

    /// Whether the CPU's INTR pin is raised.
    #[inline]
    pub fn pending(&self) -> bool {
        self.master.irr & !self.master.imr != 0 && self.master.request().is_some() || self.spurious
    }

    /// The CPU's acknowledge cycle: the vector to deliver. Without a request it is the
    /// spurious vector, input 7 of the controller that had none.
    pub fn acknowledge(&mut self) -> u8 {
        if std::mem::take(&mut self.spurious) {
            return self.master.base + 7;
        }
        let vector = match self.master.request() {
            None => self.master.base + 7,
            Some(CASCADE) => {
                self.master.accept(CASCADE);
                let input = self.slave.request();
                if let Some(input) = input {
                    self.slave.accept(input);
                }
                self.slave.base + input.unwrap_or(7)
            }
            Some(input) => {
                self.master.accept(input);
                self.master.base + input
            }
        };
        self.cascade();
        vector
    }

    /// Reads one of [`PORTS`].
    pub fn read(&mut self, port: u16) -> u8 {
        let value = match port {
            0x20 | 0x21 => self.master.read(port == 0x21),
            0xA0 | 0xA1 => self.slave.read(port == 0xA1),
            0x4D0 => self.master.elcr,
            0x4D1 => self.slave.elcr,
            _ => 0xFF,
        };
        self.cascade();
        value
    }

    /// Writes one of [`PORTS`].
    pub fn write(&mut self, port: u16, value: u8) {
        match port {
            0x20 => self.master.write_command(value),
            0x21 => self.master.write_data(value),
            0xA0 => self.slave.write_command(value),
            0xA1 => self.slave.write_data(value),
            // The timer, keyboard, cascade, RTC and coprocessor inputs stay edge-triggered.
            0x4D0 => self.master.set_elcr(value & 0xF8),
            0x4D1 => self.slave.set_elcr(value & 0xDE),
            _ => {}
        }
        self.cascade();
    }

    /// The slave's output is the master's request 2, whatever its trigger mode.
    fn cascade(&mut self) {
        let bit = 1 << CASCADE;
        if self.slave.request().is_some() {
            self.master.irr |= bit;
        } else {
            self.master.irr &= !bit;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pair set up as Linux does: vectors 0x30..=0x3F, nothing masked.
    fn linux() -> Pic {
        let mut pic = Pic::default();
        for (command, data, base, wiring) in [(0x20, 0x21, 0x30, 4), (0xA0, 0xA1, 0x38, 2)] {
            pic.write(command, 0x11);
            pic.write(data, base);
            pic.write(data, wiring);
            pic.write(data, 1);
            pic.write(data, 0);
        }
        pic
    }

    #[test]
    fn a_pulse_stays_until_it_is_acknowledged() {
        let mut pic = linux();
        pic.pulse(0);
        assert!(pic.pending());
        assert_eq!(pic.acknowledge(), 0x30);
        assert!(!pic.pending());
        pic.pulse(0);
        assert!(!pic.pending(), "in service");
        pic.write(0x20, 0x60);
        assert!(pic.pending());
    }

    #[test]
    fn lower_numbers_interrupt_higher_ones() {
        let mut pic = linux();
        pic.pulse(4);
        assert_eq!(pic.acknowledge(), 0x34);
        pic.pulse(5);
        assert!(!pic.pending());
        pic.pulse(3);
        assert_eq!(pic.acknowledge(), 0x33);
        pic.write(0x20, 0x20);
        assert!(!pic.pending(), "4 is still in service");
        pic.write(0x20, 0x20);
        assert_eq!(pic.acknowledge(), 0x35);
    }

    #[test]
    fn the_slave_comes_through_input_2() {
        let mut pic = linux();
        pic.set_line(9, true);
        pic.pulse(8);
        assert_eq!(pic.acknowledge(), 0x38);
        assert!(!pic.pending());
        pic.write(0xA0, 0x60);
        pic.write(0x20, 0x62);
        assert_eq!(pic.acknowledge(), 0x39);
        pic.write(0x20, 0x0B);
        assert_eq!(pic.read(0x20), 4);
        pic.write(0xA0, 0x0B);
        assert_eq!(pic.read(0xA0), 2);
    }

    #[test]
    fn masks_hold_requests_back() {
        let mut pic = linux();
        pic.write(0x21, 0x10);
        pic.pulse(4);
        assert!(!pic.pending());
        pic.write(0x20, 0x0A);
        assert_eq!(pic.read(0x20), 0x10);
        pic.write(0x21, 0);
        assert_eq!(pic.acknowledge(), 0x34);
        assert_eq!(pic.read(0x21), 0);
    }

    #[test]
    fn requests_that_vanish_are_spurious() {
        let mut pic = linux();
        assert_eq!(pic.acknowledge(), 0x37);
        assert_eq!(pic.master.isr, 0);
        pic.write(0x4D0, 0xFF);
        assert_eq!(pic.read(0x4D0), 0xF8);
        pic.set_line(6, true);
        assert!(pic.pending());
        pic.set_line(6, false);
        assert!(!pic.pending());
    }

    #[test]
    fn a_glitch_interrupts_once_on_either_kind_of_input() {
        let mut pic = linux();
        pic.write(0x4D1, 0x08);
        for (irq, vector) in [(3, 0x33), (11, 0x3B), (2, 0x39)] {
            pic.glitch(irq);
            // What the devices' wires say does not take it back.
            pic.set_line(irq, false);
            assert!(pic.pending());
            assert_eq!(pic.acknowledge(), vector);
            pic.write(0xA0, 0x20);
            pic.write(0x20, 0x20);
            assert!(!pic.pending(), "{irq}");
        }
        pic.set_line(11, true);
        pic.glitch(11);
        assert_eq!(pic.acknowledge(), 0x3B);
        pic.write(0xA0, 0x20);
        pic.write(0x20, 0x20);
        assert!(pic.pending(), "the device still wants something");
    }

    #[test]
    fn a_spurious_interrupt_is_not_in_service() {
        let mut pic = linux();
        pic.write(0x21, 0xFF);
        pic.spurious();
        assert!(pic.pending());
        assert_eq!(pic.acknowledge(), 0x37);
        assert_eq!((pic.master.isr, pic.pending()), (0, false));
        pic.write(0x21, 0);
        pic.pulse(0);
        pic.spurious();
        assert_eq!(pic.acknowledge(), 0x37);
        assert_eq!(pic.acknowledge(), 0x30, "requests are not lost");
    }

    #[test]
    fn a_level_repeats_until_it_falls() {
        let mut pic = linux();
        pic.write(0x4D1, 0x02);
        pic.set_line(9, true);
        assert_eq!(pic.acknowledge(), 0x39);
        pic.write(0xA0, 0x20);
        pic.write(0x20, 0x20);
        assert_eq!(pic.acknowledge(), 0x39);
        pic.set_line(9, false);
        pic.write(0xA0, 0x20);
        pic.write(0x20, 0x20);
        assert!(!pic.pending());
    }

    #[test]
    fn auto_eoi_rotates() {
        let mut pic = linux();
        for value in [0x11, 0x30, 4, 3] {
            pic.write(if value == 0x11 { 0x20 } else { 0x21 }, value);
        }
        pic.write(0x20, 0x80);
        pic.pulse(3);
        assert_eq!(pic.acknowledge(), 0x33);
        assert_eq!(pic.master.isr, 0);
        pic.pulse(3);
        pic.pulse(4);
        assert_eq!(pic.acknowledge(), 0x34, "3 has become the lowest");
    }

    #[test]
    fn priorities_rotate_on_command() {
        let mut pic = linux();
        pic.write(0x20, 0xC4);
        pic.pulse(0);
        pic.pulse(5);
        assert_eq!(pic.acknowledge(), 0x35);
        pic.write(0x20, 0xA0);
        pic.pulse(5);
        assert_eq!(pic.acknowledge(), 0x30);
    }

    #[test]
    fn special_mask_lets_lower_ones_through() {
        let mut pic = linux();
        pic.pulse(3);
        assert_eq!(pic.acknowledge(), 0x33);
        pic.write(0x21, 0x08);
        pic.write(0x20, 0x68);
        pic.pulse(5);
        assert_eq!(pic.acknowledge(), 0x35);
    }

    #[test]
    fn polling_acknowledges() {
        let mut pic = linux();
        pic.pulse(6);
        pic.write(0x20, 0x0C);
        assert_eq!(pic.read(0x20), 0x86);
        assert!(!pic.pending());
        pic.write(0x20, 0x0C);
        assert_eq!(pic.read(0x20), 0);
    }
}
