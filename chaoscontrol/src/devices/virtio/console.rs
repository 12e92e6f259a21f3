//! The console: a channel of bytes between host and agent (virtio 1.2, section 5.3),
//! port 0 only.

use std::collections::VecDeque;

use super::mmio::VirtioDevice;
use super::queue::{QueueError, Ring};
use crate::cpu::ram::GuestMemory;

/// Bytes for the guest, or of its output, that wait at most.
pub const LIMIT: usize = 1 << 20;

const RECEIVE: usize = 0;

/// The device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Console {
    input: VecDeque<u8>,
    output: Vec<u8>,
}

impl Console {
    /// Queues bytes for the guest: all of them, or none when there is no room; `false` then.
    pub fn input(&mut self, bytes: &[u8]) -> bool {
        let fits = self.input.len() + bytes.len() <= LIMIT;
        if fits {
            self.input.extend(bytes);
        }
        fits
    }

    /// Takes what the guest has written since the last call. What came while [`LIMIT`]
    /// bytes waited is lost.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }
}

impl VirtioDevice for Console {
    const ID: u32 = 3;
    const QUEUES: usize = 2;
    // Linux keeps a page in each entry of the receive queue.
    const QUEUE_SIZE: u16 = 16;

    fn config(&self) -> &[u8] {
        &[]
    }

    fn serve(
        &mut self,
        queue: usize,
        ring: &mut Ring,
        _now: u64,
        mem: &GuestMemory,
    ) -> Result<bool, QueueError> {
        let Console { input, output } = self;
        ring.serve(mem, |chain| {
            if queue != RECEIVE {
                output.extend(chain.read(mem, LIMIT - output.len())?);
                return Ok(Some(0));
            }
            if input.is_empty() {
                return Ok(None);
            }
            let room = usize::try_from(chain.capacity()).unwrap_or(LIMIT);
            let bytes: Vec<u8> = input.drain(..room.min(input.len())).collect();
            chain.write(mem, &bytes).map(Some)
        })
    }

    fn reset(&mut self) {
        self.input.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::driver::Driver;
    use super::*;

    #[test]
    fn output_is_captured() {
        let mut driver = Driver::new(Console::default());
        driver.offer(1, &[(b"hello ", false), (b"world", false)]);
        driver.notify(1);
        assert_eq!(driver.transport.device_mut().take_output(), b"hello world");
        assert_eq!(driver.used(1), [(0, 0)]);
    }

    #[test]
    fn input_waits_and_spreads_over_buffers() {
        let mut driver = Driver::new(Console::default());
        assert!(driver.transport.device_mut().input(b"abcdef"));
        driver.offer(0, &[(&[0; 4], true)]);
        driver.offer(0, &[(&[0; 4], true)]);
        driver.offer(0, &[(&[0; 4], true)]);
        driver.notify(0);
        assert_eq!(driver.used(0), [(0, 4), (1, 2)]);
        assert_eq!(driver.buffer(0, 0), *b"abcd");
        assert_eq!(driver.buffer(0, 1), *b"ef\0\0");
        driver.transport.device_mut().input(b"g");
        driver.notify(0);
        assert_eq!(driver.used(0)[2], (2, 1));
    }

    #[test]
    fn both_directions_are_bounded() {
        let mut console = Console::default();
        assert!(console.input(&vec![0; LIMIT]));
        assert!(!console.input(&[0]));
        let mut driver = Driver::new(Console::default());
        for _ in 0..20 {
            driver.offer_spans(1, &[(0, 0x2_0000, false)]);
            driver.notify(1);
        }
        assert_eq!(driver.transport.device_mut().take_output().len(), LIMIT);
    }
}
