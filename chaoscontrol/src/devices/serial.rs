//! COM1, a 16550A: the kernel's console.
//!
//! The registers are `vm-superio`'s; they live here as plain state, and its device is
//! made around them for each access.

use std::convert::Infallible;
use std::hash::{Hash, Hasher};

use vm_superio::Trigger;
use vm_superio::serial::{NoEvents, Serial as Uart, SerialState};

/// The first of the eight ports.
pub const BASE: u16 = 0x3F8;
/// Bytes of output that wait for [`Serial::take_output`]; what comes above is lost.
pub const OUTPUT_LIMIT: usize = 1 << 20;

/// Interrupts are read off the registers as a level, so the event itself says nothing.
struct Level;

impl Trigger for Level {
    type E = Infallible;

    fn trigger(&self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// The port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Serial {
    state: SerialState,
    output: Vec<u8>,
}

impl Hash for Serial {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let SerialState {
            baud_divisor_low,
            baud_divisor_high,
            interrupt_enable,
            interrupt_identification,
            line_control,
            line_status,
            modem_control,
            modem_status,
            scratch,
            in_buffer,
        } = &self.state;
        [
            *baud_divisor_low,
            *baud_divisor_high,
            *interrupt_enable,
            *interrupt_identification,
            *line_control,
            *line_status,
            *modem_control,
            *modem_status,
            *scratch,
        ]
        .hash(hasher);
        in_buffer.hash(hasher);
        self.output.hash(hasher);
    }
}

impl Serial {
    fn with<R>(&mut self, access: impl FnOnce(&mut Uart<Level, NoEvents, Vec<u8>>) -> R) -> R {
        let output = std::mem::take(&mut self.output);
        let mut uart = Uart::from_state(&self.state, Level, NoEvents, output)
            .expect("the state came from the same device");
        let result = access(&mut uart);
        self.state = uart.state();
        self.output = uart.into_writer();
        self.output.truncate(OUTPUT_LIMIT);
        result
    }

    /// Reads register `offset` (0..=7).
    pub fn read(&mut self, offset: u8) -> u8 {
        self.with(|uart| uart.read(offset))
    }

    /// Writes register `offset` (0..=7).
    pub fn write(&mut self, offset: u8, value: u8) {
        // Only writing to the output or the trigger could fail, and neither does.
        let _ = self.with(|uart| uart.write(offset, value));
    }

    /// Puts bytes into the receive FIFO; how many found room.
    pub fn input(&mut self, bytes: &[u8]) -> usize {
        self.with(|uart| uart.enqueue_raw_bytes(bytes).unwrap_or(0))
    }

    /// The level of IRQ 4: an identified interrupt that is enabled, let through by OUT2.
    pub fn irq(&self) -> bool {
        let SerialState {
            interrupt_identification: pending,
            interrupt_enable: enabled,
            modem_control,
            ..
        } = self.state;
        let transmitter_empty = pending & enabled & 2 != 0;
        let data_received = pending & 4 != 0 && enabled & 1 != 0;
        (transmitter_empty || data_received) && modem_control & 8 != 0
    }

    /// Takes the bytes sent since the last call.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sends_bytes_and_interrupts() {
        let mut serial = Serial::default();
        serial.write(0, b'h');
        serial.write(0, b'i');
        assert!(!serial.irq());
        assert_eq!(serial.take_output(), b"hi");
        serial.write(1, 2);
        assert!(serial.irq(), "the transmitter is empty");
        serial.write(1, 0);
        assert!(!serial.irq(), "masked");
        serial.write(1, 2);
        assert!(serial.irq());
        assert_eq!(serial.read(2), 0xC2);
        assert!(!serial.irq());
        assert_eq!(serial.read(5), 0x60);
    }

    #[test]
    fn receives_bytes() {
        let mut serial = Serial::default();
        serial.write(1, 1);
        assert_eq!(serial.input(&[7; 100]), 64);
        assert!(serial.irq());
        assert_eq!(serial.read(5) & 1, 1);
        for _ in 0..64 {
            assert_eq!(serial.read(0), 7);
        }
        assert_eq!(serial.read(5) & 1, 0);
        assert!(!serial.irq());
    }

    #[test]
    fn output_is_bounded() {
        let mut serial = Serial {
            output: vec![0; OUTPUT_LIMIT],
            ..Serial::default()
        };
        serial.write(0, 1);
        assert_eq!(serial.output.len(), OUTPUT_LIMIT);
    }
}
