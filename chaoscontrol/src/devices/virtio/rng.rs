//! The entropy device: the guest kernel's only source of randomness (virtio 1.2, section 5.4).

use super::mmio::VirtioDevice;
use super::queue::{QueueError, Ring};
use crate::cpu::ram::GuestMemory;
use crate::devices::random::RandomStream;

/// Bytes given for one request at most; the driver asks again for more.
pub const REQUEST_LIMIT: usize = 4096;

/// The device, which is its stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EntropyDevice {
    stream: RandomStream,
}

impl EntropyDevice {
    /// A device that gives the bytes of `key`'s stream.
    pub fn new(key: [u8; 32]) -> EntropyDevice {
        EntropyDevice {
            stream: RandomStream::from_key(key),
        }
    }

    /// Goes on with the stream of another key.
    pub fn reseed(&mut self, key: [u8; 32]) {
        self.stream = RandomStream::from_key(key);
    }
}

impl VirtioDevice for EntropyDevice {
    const ID: u32 = 4;
    const QUEUES: usize = 1;
    const QUEUE_SIZE: u16 = 16;

    fn config(&self) -> &[u8] {
        &[]
    }

    fn serve(
        &mut self,
        _queue: usize,
        ring: &mut Ring,
        _now: u64,
        mem: &GuestMemory,
    ) -> Result<bool, QueueError> {
        let stream = &mut self.stream;
        ring.serve(mem, |chain| {
            let len =
                usize::try_from(chain.capacity()).map_or(REQUEST_LIMIT, |n| n.min(REQUEST_LIMIT));
            let mut bytes = vec![0; len];
            stream.fill(&mut bytes);
            chain.write(mem, &bytes).map(Some)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::driver::Driver;
    use super::*;

    #[test]
    fn fills_buffers_from_its_stream() {
        let mut driver = Driver::new(EntropyDevice::new([3; 32]));
        driver.offer(0, &[(&[0; 32], true)]);
        driver.notify(0);
        driver.offer(0, &[(&[0; 8], true), (&[0; 24], true)]);
        driver.notify(0);
        assert_eq!(driver.used(0), [(0, 32), (1, 32)]);
        let mut expected = [0; 64];
        RandomStream::from_key([3; 32]).fill(&mut expected);
        assert_eq!(driver.buffer(0, 0), expected[..32]);
        assert_eq!(driver.buffer(0, 1), expected[32..40]);
        assert_eq!(driver.buffer(0, 2), expected[40..]);
    }

    #[test]
    fn reseeding_changes_what_comes() {
        let mut driver = Driver::new(EntropyDevice::new([3; 32]));
        driver.transport.device_mut().reseed([4; 32]);
        driver.offer(0, &[(&[0; 8], true)]);
        driver.notify(0);
        let mut expected = [0; 8];
        RandomStream::from_key([4; 32]).fill(&mut expected);
        assert_eq!(driver.buffer(0, 0), expected);
    }

    #[test]
    fn a_huge_request_gets_a_part() {
        let mut driver = Driver::new(EntropyDevice::new([3; 32]));
        driver.offer_spans(0, &[(0x8000, u32::MAX, true)]);
        driver.notify(0);
        assert_eq!(driver.used(0), [(0, REQUEST_LIMIT as u32)]);
    }
}
