//! The network card: Ethernet frames out of and into the guest (virtio 1.2, section 5.1).
//!
//! It offers no offloads, so frames are whole packets with their checksums, as the
//! network fabric wants them. Nor does it report the link's status: a driver that reads
//! it brings the link up only some time after the interface, and loses what is sent first.

use std::collections::VecDeque;

use super::mmio::VirtioDevice;
use super::queue::{QueueError, Ring};
use crate::cpu::ram::GuestMemory;

/// Bytes of the longest frame: 1500 of payload, with header and VLAN tag.
pub const MAX_FRAME: usize = 1518;
/// Received frames that wait for the guest; more are lost, as on a full card.
pub const RECEIVE_LIMIT: usize = 256;
/// Sent frames that wait for [`Net::take_frames`]; more are lost.
pub const SEND_LIMIT: usize = 4096;

const HEADER: usize = 12;
const RECEIVE: usize = 0;
const F_MAC: u64 = 1 << 5;

/// The card.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Net {
    /// The MAC address.
    config: [u8; 6],
    received: VecDeque<Vec<u8>>,
    sent: Vec<Vec<u8>>,
}

impl Net {
    /// A card with this address.
    pub fn new(mac: [u8; 6]) -> Net {
        Net {
            config: mac,
            received: VecDeque::new(),
            sent: Vec::new(),
        }
    }

    /// Queues a frame for the guest; `false` when it was lost, because it is too long or too many wait.
    pub fn receive(&mut self, frame: &[u8]) -> bool {
        let fits = frame.len() <= MAX_FRAME && self.received.len() < RECEIVE_LIMIT;
        if fits {
            self.received.push_back(frame.to_vec());
        }
        fits
    }

    /// Takes the frames that the guest has sent since the last call, in order.
    pub fn take_frames(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.sent)
    }

    fn fill(&mut self, ring: &mut Ring, mem: &GuestMemory) -> Result<bool, QueueError> {
        let received = &mut self.received;
        ring.serve(mem, |chain| {
            // A frame that the driver left no room for is lost.
            let fits = |frame: &Vec<u8>| (HEADER + frame.len()) as u64 <= chain.capacity();
            while received.front().is_some_and(|frame| !fits(frame)) {
                received.pop_front();
            }
            let Some(frame) = received.pop_front() else {
                return Ok(None);
            };
            let mut bytes = vec![0; HEADER];
            // The frame is in one buffer.
            bytes[10] = 1;
            bytes.extend_from_slice(&frame);
            chain.write(mem, &bytes).map(Some)
        })
    }

    fn drain(&mut self, ring: &mut Ring, mem: &GuestMemory) -> Result<bool, QueueError> {
        let sent = &mut self.sent;
        ring.serve(mem, |chain| {
            let mut bytes = chain.read(mem, HEADER + MAX_FRAME + 1)?;
            if bytes.len() > HEADER && bytes.len() <= HEADER + MAX_FRAME && sent.len() < SEND_LIMIT
            {
                bytes.drain(..HEADER);
                sent.push(bytes);
            }
            Ok(Some(0))
        })
    }
}

impl VirtioDevice for Net {
    const ID: u32 = 1;
    const QUEUES: usize = 2;
    const QUEUE_SIZE: u16 = 128;
    const FEATURES: u64 = F_MAC;

    fn config(&self) -> &[u8] {
        &self.config
    }

    fn serve(
        &mut self,
        queue: usize,
        ring: &mut Ring,
        _now: u64,
        mem: &GuestMemory,
    ) -> Result<bool, QueueError> {
        match queue {
            RECEIVE => self.fill(ring, mem),
            _ => self.drain(ring, mem),
        }
    }

    fn reset(&mut self) {
        self.received.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::driver::Driver;
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];

    #[test]
    fn shows_its_address_and_no_link_status() {
        let driver = Driver::new(Net::new(MAC));
        assert_eq!(driver.transport.read(0x100, 4), 2);
        assert_eq!(driver.transport.read(0x104, 2), 0x0700);
        assert_eq!(driver.transport.read(0x106, 2), 0);
    }

    #[test]
    fn sends_frames_without_their_header() {
        let mut driver = Driver::new(Net::new(MAC));
        driver.offer(1, &[(&[0; 12], false), (b"frame one", false)]);
        driver.offer(1, &[(b"0123456789abtwo", false)]);
        driver.notify(1);
        assert_eq!(driver.used(1), [(0, 0), (2, 0)]);
        assert!(driver.transport.irq());
        assert_eq!(
            driver.transport.device_mut().take_frames(),
            [b"frame one".to_vec(), b"two".to_vec()]
        );
    }

    #[test]
    fn frames_wait_for_buffers() {
        let mut driver = Driver::new(Net::new(MAC));
        assert!(driver.transport.device_mut().receive(b"first"));
        assert!(driver.transport.device_mut().receive(b"second"));
        driver.notify(0);
        assert!(!driver.transport.irq());
        driver.offer(0, &[(&[0xEE; 64], true)]);
        driver.notify(0);
        assert_eq!(driver.used(0), [(0, 17)]);
        assert_eq!(
            driver.buffer(0, 0)[..18],
            *b"\0\0\0\0\0\0\0\0\0\0\x01\0first\xEE"
        );
        driver.offer(0, &[(&[0; 12], true), (&[0; 20], true)]);
        driver.notify(0);
        assert_eq!(driver.used(0)[1], (1, 18));
        assert_eq!(driver.buffer(0, 2)[..6], *b"second");
    }

    #[test]
    fn frames_too_long_or_too_many_are_lost() {
        let mut net = Net::new(MAC);
        assert!(!net.receive(&[0; MAX_FRAME + 1]));
        assert!((0..RECEIVE_LIMIT).all(|_| net.receive(&[0; 60])));
        assert!(!net.receive(&[0; 60]));
        let mut driver = Driver::new(Net::new(MAC));
        driver.offer(1, &[(&[0; HEADER + MAX_FRAME + 1], false)]);
        driver.offer(1, &[(&[0; HEADER], false)]);
        driver.notify(1);
        assert_eq!(driver.used(1).len(), 2);
        assert!(driver.transport.device_mut().take_frames().is_empty());
    }
}
