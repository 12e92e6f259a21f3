//! The balloon: memory that the host asks back from its guest (virtio 1.2, section 5.5).
//!
//! A page that the guest gives is dropped: it is zeros from then on, which no snapshot keeps.
//! It stays mapped, so that one which is used again reads as zeros, whether or not the guest
//! has told so before; nothing is left to do when it does.
//!
//! No feature is offered. MUST_TELL_HOST would bind the driver to an order that the host, whose
//! pages stay where they are, does not need. With DEFLATE_ON_OOM the guest would take back what
//! it misses and hide from its programs that anything is gone: then there would be no fault.

use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};

use super::mmio::VirtioDevice;
use super::queue::{QueueError, Ring};
use crate::cpu::ram::{GuestMemory, PAGE_SIZE};
use crate::cpu::regions::{MemoryRegion, memory_map};

/// Pages of one request that are dropped at most; Linux names 256 at once. Others stay as they are.
pub const REQUEST_LIMIT: usize = 4096;

const INFLATE: usize = 0;
/// Where the driver writes how many pages the balloon holds; before it stands how many it shall.
const ACTUAL: usize = 4;
const ZEROS: [u8; PAGE_SIZE as usize] = [0; PAGE_SIZE as usize];

/// The device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Balloon {
    config: [u8; 8],
}

impl Balloon {
    /// Wants the guest to give `pages` pages of 4 KiB in all. The driver has to be told.
    pub fn want(&mut self, pages: u32) {
        self.config[..ACTUAL].copy_from_slice(&pages.to_le_bytes());
    }

    /// How many pages the guest says that it has given.
    pub fn actual(&self) -> u32 {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&self.config[ACTUAL..]);
        u32::from_le_bytes(bytes)
    }
}

impl VirtioDevice for Balloon {
    const ID: u32 = 5;
    const QUEUES: usize = 2;
    const QUEUE_SIZE: u16 = 16;

    fn config(&self) -> &[u8] {
        &self.config
    }

    fn configure(&mut self, offset: usize, byte: u8) {
        if let Some(place) = self.config[ACTUAL..].get_mut(offset.wrapping_sub(ACTUAL)) {
            *place = byte;
        }
    }

    fn serve(
        &mut self,
        queue: usize,
        ring: &mut Ring,
        _now: u64,
        mem: &GuestMemory,
    ) -> Result<bool, QueueError> {
        let mut map = memory_map(mem.last_addr().0 + 1);
        map.retain(MemoryRegion::is_ram);
        ring.serve(mem, |chain| {
            let list = chain.read(mem, REQUEST_LIMIT * size_of::<u32>())?;
            let (numbers, _) = list.as_chunks();
            for &number in numbers.iter().filter(|_| queue == INFLATE) {
                let page = u64::from(u32::from_le_bytes(number)) * PAGE_SIZE;
                let is_in = |range: &std::ops::Range<u64>| {
                    range.start <= page && page + PAGE_SIZE <= range.end
                };
                // What is no RAM is not the guest's to give.
                if map.iter().any(|region| is_in(&region.range)) {
                    let dropped = mem.write_slice(&ZEROS, GuestAddress(page));
                    dropped.map_err(|_| QueueError::Buffer)?;
                }
            }
            Ok(Some(0))
        })
    }

    fn reset(&mut self) {
        self.config[ACTUAL..].fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::driver::Driver;
    use super::*;
    use crate::cpu::ram::{CODE, DIRTY, FOREIGN, STALE};

    const DEFLATE: usize = 1;

    fn list(pages: &[u32]) -> Vec<u8> {
        pages.iter().flat_map(|page| page.to_le_bytes()).collect()
    }

    fn page(driver: &Driver<Balloon>, pfn: u64) -> Vec<u8> {
        let mut bytes = ZEROS.to_vec();
        driver.ram.read(pfn * PAGE_SIZE, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn given_pages_are_zeros_and_marked_as_written() {
        let mut driver = Driver::new(Balloon::default());
        for pfn in [0x30, 0x31, 0x32] {
            driver.ram.write(pfn * PAGE_SIZE, &[7; 4096]).unwrap();
        }
        driver.ram.marks().drain(DIRTY | STALE, |_| {});
        driver.ram.marks().set(0x30, CODE);
        driver.offer(INFLATE, &[(&list(&[0x30]), false), (&list(&[0x32]), false)]);
        driver.notify(INFLATE as u32);
        assert_eq!(driver.used(INFLATE), [(0, 0)]);
        assert_eq!(page(&driver, 0x30), ZEROS);
        assert_eq!(page(&driver, 0x31), [7; 4096]);
        assert_eq!(page(&driver, 0x32), ZEROS);
        let marks = driver.ram.marks();
        assert_eq!(marks.get(0x30), CODE | FOREIGN | DIRTY | STALE);
        assert_eq!(marks.get(0x31), 0);
        assert!(marks.take_foreign());
        // Back with the guest, it may be in use before the host hears of it.
        driver.ram.write(0x30 * PAGE_SIZE, &[9]).unwrap();
        driver.offer(DEFLATE, &[(&list(&[0x30]), false)]);
        driver.notify(DEFLATE as u32);
        assert_eq!(driver.used(DEFLATE), [(0, 0)]);
        assert_eq!(page(&driver, 0x30)[..2], [9, 0]);
    }

    #[test]
    fn the_guest_is_told_what_is_wanted_and_tells_what_it_gave() {
        let mut driver = Driver::new(Balloon::default());
        let generation = driver.transport.read(0x0FC, 4);
        driver.transport.device_mut().want(1000);
        driver.transport.config_changed();
        assert_eq!(driver.transport.read(0x060, 4), 2);
        assert!(driver.transport.irq());
        assert_ne!(driver.transport.read(0x0FC, 4), generation);
        assert_eq!(driver.transport.read(0x100, 4), 1000);
        driver.set(0x064, 2);
        assert!(!driver.transport.irq());
        driver.set(0x104, 256);
        assert_eq!(driver.transport.device().actual(), 256);
        driver.set(0x100, 5);
        assert_eq!(driver.transport.read(0x100, 4), 1000, "not the driver's");
        driver.set(0x070, 0);
        assert_eq!(driver.transport.device().actual(), 0);
        assert_eq!(driver.transport.read(0x100, 4), 1000);
    }

    #[test]
    fn whatever_is_named_does_no_harm() {
        let mut driver = Driver::new(Balloon::default());
        let outside = [0x40, 0xD_0000, u32::MAX];
        driver.offer(INFLATE, &[(&list(&outside), false), (&[1, 2, 3], false)]);
        driver.offer(INFLATE, &[(&list(&[0x30, 0x30, 0x30]), false)]);
        driver.offer(INFLATE, &[]);
        driver.offer_spans(INFLATE, &[(0x1_0000, 0x2_0000, false)]);
        driver.notify(INFLATE as u32);
        assert_eq!(driver.transport.read(0x070, 4), 15);
        // The rings of the queue itself: its index falls behind.
        driver.offer(INFLATE, &[(&list(&[0, 1, 2]), false)]);
        driver.notify(INFLATE as u32);
        driver.notify(INFLATE as u32);
        assert_eq!(driver.transport.read(0x070, 4), 15 | 0x40);
    }
}
