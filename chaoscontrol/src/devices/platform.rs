//! The devices of one machine and the wires between them.
//!
//! All times are local nanoseconds of the machine. An access at `now` sees the devices
//! advanced to `now`; `advance` at each [`Platform::deadline`] raises interrupts at
//! their exact time. A wide access to byte-wide ports is one access per byte.

use super::pic::Pic;
use super::pit::Pit;
use super::pm_timer;
use super::rtc::Rtc;
use super::serial::{self, Serial};

/// What a platform is made from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PlatformConfig {
    /// The date of local time 0, in seconds since 1970.
    pub epoch: u64,
}

/// All devices of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Platform {
    pic: Pic,
    pit: Pit,
    rtc: Rtc,
    serial: Serial,
}

impl Platform {
    /// The devices as after power-on.
    pub fn new(config: &PlatformConfig) -> Platform {
        Platform {
            rtc: Rtc::new(config.epoch),
            ..Platform::default()
        }
    }

    /// An IN of `size` bytes (1, 2 or 4). Ports without a device read all ones.
    pub fn port_read(&mut self, port: u16, size: u8, now: u64) -> u32 {
        self.advance(now);
        let value = (0..u16::from(size.min(4))).fold(0, |value, i| {
            value | u32::from(self.read_byte(port.wrapping_add(i), now)) << (8 * i)
        });
        self.wire(now);
        value
    }

    /// An OUT of `size` bytes (1, 2 or 4). Ports without a device ignore it.
    pub fn port_write(&mut self, port: u16, size: u8, value: u32, now: u64) {
        self.advance(now);
        for i in 0..u16::from(size.min(4)) {
            self.write_byte(port.wrapping_add(i), (value >> (8 * i)) as u8, now);
        }
        self.wire(now);
    }

    fn read_byte(&mut self, port: u16, now: u64) -> u8 {
        match port {
            0x20 | 0x21 | 0xA0 | 0xA1 | 0x4D0 | 0x4D1 => self.pic.read(port),
            0x40..=0x43 | 0x61 => self.pit.read(port, now),
            0x70 | 0x71 => self.rtc.read(port, now),
            serial::BASE..=0x3FF => self.serial.read((port - serial::BASE) as u8),
            pm_timer::PORT..=0x60B => {
                pm_timer::read(now).to_le_bytes()[usize::from(port - pm_timer::PORT)]
            }
            _ => 0xFF,
        }
    }

    fn write_byte(&mut self, port: u16, value: u8, now: u64) {
        match port {
            0x20 | 0x21 | 0xA0 | 0xA1 | 0x4D0 | 0x4D1 => self.pic.write(port, value),
            0x40..=0x43 | 0x61 => self.pit.write(port, value, now),
            0x70 | 0x71 => self.rtc.write(port, value, now),
            serial::BASE..=0x3FF => self.serial.write((port - serial::BASE) as u8, value),
            _ => {}
        }
    }

    /// Brings all devices to `now`.
    pub fn advance(&mut self, now: u64) {
        if self.pit.advance(now) {
            self.pic.pulse(0);
        }
        self.wire(now);
    }

    /// Puts the devices' interrupt levels on the controller's inputs.
    fn wire(&mut self, now: u64) {
        self.pic.set_line(4, self.serial.irq());
        self.pic.set_line(8, self.rtc.irq(now));
    }

    /// The next local ns after `now`, to which the devices were advanced, at which one
    /// of them raises an interrupt by itself. Masked ones count too.
    pub fn deadline(&self, now: u64) -> Option<u64> {
        [self.pit.deadline(), self.rtc.deadline(now)]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether the CPU's interrupt pin is raised.
    #[inline]
    pub fn pending_interrupt(&self) -> bool {
        self.pic.pending()
    }

    /// The CPU's interrupt acknowledge: the vector to inject.
    pub fn acknowledge(&mut self) -> u8 {
        self.pic.acknowledge()
    }

    /// Takes what the guest wrote to COM1 since the last call. At most
    /// [`serial::OUTPUT_LIMIT`] bytes are kept.
    pub fn take_serial_output(&mut self) -> Vec<u8> {
        self.serial.take_output()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_read_reaches_each_byte() {
        let mut platform = Platform::new(&PlatformConfig::default());
        assert_eq!(platform.port_read(0x608, 4, 1_000_000_000), 3_579_545);
        assert_eq!(platform.port_read(0xFFFF, 4, 0), 0xFF | 0xFFFF_FF00);
    }

    #[test]
    fn a_one_shot_timer_interrupts_at_its_deadline() {
        let mut platform = Platform::new(&PlatformConfig::default());
        for (port, value) in [(0x20, 0x11), (0x21, 0x30), (0x21, 4), (0x21, 1), (0x21, 0)] {
            platform.port_write(port, 1, value, 0);
        }
        platform.port_write(0x43, 1, 0x38, 0);
        platform.port_write(0x40, 2, 0x0010, 0);
        assert_eq!(
            platform.deadline(0),
            None,
            "the high byte went to the next port"
        );
        platform.port_write(0x40, 1, 0, 0);
        let due = platform.deadline(0).unwrap();
        platform.advance(due - 1);
        assert!(!platform.pending_interrupt());
        platform.advance(due);
        assert!(platform.pending_interrupt());
        assert_eq!(platform.acknowledge(), 0x30);
        assert_eq!(platform.deadline(due), None);
    }
}
