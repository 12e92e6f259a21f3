//! A small driver for tests: sets a device up as the specification asks and offers buffers.

use vm_memory::{Bytes, GuestAddress};

use super::mmio::{VERSION_1, VirtioDevice, VirtioMmio};
use crate::cpu::ram::Ram;

const SIZE: u16 = 16;
const QUEUE_STRIDE: u64 = 0x4000;
const BUFFERS: u64 = 0x1_0000;

/// A device in use: queue `q` lies at 0x4000 * q, with its buffers above 0x1_0000.
pub(crate) struct Driver<D> {
    pub transport: VirtioMmio<D>,
    pub ram: Ram,
    pub now: u64,
    descriptors: [u16; 2],
    offered: [u16; 2],
    next_buffer: u64,
    spans: [Vec<(u64, u32)>; 2],
}

impl<D: VirtioDevice> Driver<D> {
    pub fn new(device: D) -> Driver<D> {
        let features = device.features();
        let mut driver = Driver {
            transport: VirtioMmio::new(device),
            ram: Ram::new(0x4_0000).unwrap(),
            now: 0,
            descriptors: [0; 2],
            offered: [0; 2],
            next_buffer: BUFFERS,
            spans: [Vec::new(), Vec::new()],
        };
        driver.set(0x070, 3);
        driver.set(0x024, 0);
        driver.set(0x020, features as u32);
        driver.set(0x024, 1);
        driver.set(0x020, ((features | VERSION_1) >> 32) as u32);
        driver.set(0x070, 11);
        for queue in 0..D::QUEUES as u64 {
            driver.set(0x030, queue as u32);
            driver.set(0x038, u32::from(SIZE));
            for (register, offset) in [(0x080, 0), (0x090, 0x1000), (0x0A0, 0x2000)] {
                driver.set(register, (queue * QUEUE_STRIDE + offset) as u32);
                driver.set(register + 4, 0);
            }
            driver.set(0x044, 1);
        }
        driver.set(0x070, 15);
        assert_eq!(driver.transport.read(0x070, 4), 15);
        driver
    }

    pub fn set(&mut self, register: u64, value: u32) {
        self.transport.write(
            register,
            4,
            u64::from(value),
            self.now,
            self.ram.guest_memory(),
        );
    }

    pub fn notify(&mut self, queue: u32) {
        self.set(0x050, queue);
    }

    fn put<T: vm_memory::ByteValued>(&self, value: T, address: u64) {
        self.ram
            .guest_memory()
            .write_obj(value, GuestAddress(address))
            .unwrap();
    }

    /// Offers a chain of new buffers with these contents; `true` marks writable ones.
    pub fn offer(&mut self, queue: usize, parts: &[(&[u8], bool)]) {
        let spans: Vec<_> = parts
            .iter()
            .map(|(bytes, writable)| {
                let address = self.next_buffer;
                self.next_buffer += bytes.len() as u64;
                self.ram.write(address, bytes).unwrap();
                (address, bytes.len() as u32, *writable)
            })
            .collect();
        self.offer_spans(queue, &spans);
    }

    /// Offers a chain of (address, length, writable).
    pub fn offer_spans(&mut self, queue: usize, spans: &[(u64, u32, bool)]) {
        let base = queue as u64 * QUEUE_STRIDE;
        let head = self.descriptors[queue] % SIZE;
        for (i, &(address, len, writable)) in spans.iter().enumerate() {
            let index = self.descriptors[queue] % SIZE;
            let more = u16::from(i + 1 < spans.len());
            let at = base + 16 * u64::from(index);
            self.put(address, at);
            self.put(len, at + 8);
            self.put(more | u16::from(writable) << 1, at + 12);
            self.put((index + 1) % SIZE, at + 14);
            self.descriptors[queue] += 1;
            self.spans[queue].push((address, len));
        }
        let avail = base + 0x1000;
        self.put(head, avail + 4 + 2 * u64::from(self.offered[queue] % SIZE));
        self.offered[queue] += 1;
        self.put(self.offered[queue], avail + 2);
    }

    /// The used ring's entries: head and length.
    pub fn used(&self, queue: usize) -> Vec<(u32, u32)> {
        let used = queue as u64 * QUEUE_STRIDE + 0x2000;
        let get = |address: u64| {
            let mut bytes = [0; 4];
            self.ram.read(address, &mut bytes).unwrap();
            u32::from_le_bytes(bytes)
        };
        let count = u64::from(get(used) >> 16);
        (0..count)
            .map(|i| (get(used + 4 + 8 * i), get(used + 8 + 8 * i)))
            .collect()
    }

    /// How many buffers were offered to queue 0.
    pub fn offered_buffers(&self) -> usize {
        self.spans[0].len()
    }

    /// What is in the `index`-th buffer offered to `queue`.
    pub fn buffer(&self, queue: usize, index: usize) -> Vec<u8> {
        let (address, len) = self.spans[queue][index];
        let mut bytes = vec![0; len as usize];
        self.ram.read(address, &mut bytes).unwrap();
        bytes
    }
}
