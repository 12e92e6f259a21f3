//! The virtio-mmio transport (virtio 1.2, section 4.2, version 2), around any device.

use std::fmt::Debug;
use std::hash::Hash;

use super::queue::{QueueError, Ring};
use crate::cpu::ram::GuestMemory;

/// VIRTIO_F_VERSION_1, which every device offers and every driver has to accept.
pub const VERSION_1: u64 = 1 << 32;

const MAGIC: u32 = 0x7472_6976;
const VENDOR: u32 = 0x4F41_4843;
const CONFIG: u64 = 0x100;

const FEATURES_OK: u32 = 8;
const DRIVER_OK: u32 = 4;
const NEEDS_RESET: u32 = 0x40;
const FAILED: u32 = 0x80;

const USED_BUFFER: u32 = 1;
const CONFIG_CHANGE: u32 = 2;

/// What a device adds to the transport.
pub trait VirtioDevice: Clone + Debug + Eq + Hash {
    /// The device's number (section 5).
    const ID: u32;
    /// How many queues it has.
    const QUEUES: usize;
    /// Entries of each queue at most: a power of two.
    const QUEUE_SIZE: u16;
    /// The features it offers besides [`VERSION_1`], as far as [`VirtioDevice::features`]
    /// does not say otherwise.
    const FEATURES: u64 = 0;

    /// The features that this device offers besides [`VERSION_1`].
    fn features(&self) -> u64 {
        Self::FEATURES
    }

    /// The driver has accepted these features.
    fn accepted(&mut self, _features: u64) {}

    /// The configuration space.
    fn config(&self) -> &[u8];

    /// The driver writes the byte at `offset` of the configuration space.
    fn configure(&mut self, _offset: usize, _byte: u8) {}

    /// Serves what waits in `ring`, queue number `queue`, at local time `now` in ns; whether
    /// buffers were used.
    ///
    /// # Errors
    /// A queue that is broken; the device then needs a reset.
    fn serve(
        &mut self,
        queue: usize,
        ring: &mut Ring,
        now: u64,
        mem: &GuestMemory,
    ) -> Result<bool, QueueError>;

    /// Drops requests that it took and has not returned: their queue is out of use.
    fn abandon(&mut self) {}

    /// Forgets what belongs to the driver's session.
    fn reset(&mut self) {}
}

/// A device with its registers and queues.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VirtioMmio<D> {
    device: D,
    rings: Vec<Ring>,
    device_features_sel: u32,
    driver_features_sel: u32,
    driver_features: u64,
    queue_sel: u32,
    status: u32,
    interrupt: u32,
    generation: u32,
}

impl<D: VirtioDevice> VirtioMmio<D> {
    /// `device` after reset.
    pub fn new(device: D) -> VirtioMmio<D> {
        VirtioMmio {
            device,
            rings: vec![Ring::new(D::QUEUE_SIZE); D::QUEUES],
            device_features_sel: 0,
            driver_features_sel: 0,
            driver_features: 0,
            queue_sel: 0,
            status: 0,
            interrupt: 0,
            generation: 0,
        }
    }

    /// The device.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// The device, to give or take what the host side exchanges with it.
    pub fn device_mut(&mut self) -> &mut D {
        &mut self.device
    }

    /// The level of the interrupt line.
    #[inline]
    pub fn irq(&self) -> bool {
        self.interrupt != 0
    }

    /// Reads `size` bytes at `offset` of the window. Registers are read with aligned
    /// 32-bit accesses; others, and reserved ones, give 0.
    pub fn read(&self, offset: u64, size: u8) -> u64 {
        if offset >= CONFIG {
            return self.read_config(offset - CONFIG, size);
        }
        if size != 4 {
            return 0;
        }
        let ring = self.rings.get(self.queue_sel as usize);
        u64::from(match offset {
            0x000 => MAGIC,
            0x004 => 2,
            0x008 => D::ID,
            0x00C => VENDOR,
            0x010 => half(self.offered(), self.device_features_sel),
            0x034 => ring.map_or(0, |ring| u32::from(ring.max_size())),
            0x044 => ring.map_or(0, |ring| u32::from(ring.ready())),
            0x060 => self.interrupt,
            0x070 => self.status,
            // There is no shared memory region: length and base are -1.
            0x0B0..=0x0BC if offset.is_multiple_of(4) => u32::MAX,
            0x0FC => self.generation,
            _ => 0,
        })
    }

    fn read_config(&self, offset: u64, size: u8) -> u64 {
        let config = self.device.config();
        (0..u64::from(size.min(8))).fold(0, |value, i| {
            let byte = usize::try_from(offset + i)
                .ok()
                .and_then(|at| config.get(at));
            value | u64::from(byte.copied().unwrap_or(0)) << (8 * i)
        })
    }

    fn offered(&self) -> u64 {
        self.device.features() | VERSION_1
    }

    /// Writes `size` bytes at `offset` of the window, at local time `now` in ns. Of
    /// registers, only aligned 32-bit accesses have an effect.
    pub fn write(&mut self, offset: u64, size: u8, value: u64, now: u64, mem: &GuestMemory) {
        if let Some(at) = offset.checked_sub(CONFIG) {
            for (i, byte) in (0..size.min(8)).zip(value.to_le_bytes()) {
                self.device.configure(at as usize + usize::from(i), byte);
            }
            return;
        }
        if size != 4 {
            return;
        }
        let value = value as u32;
        match offset {
            0x014 => self.device_features_sel = value,
            0x020 => self.accept_features(value),
            0x024 => self.driver_features_sel = value,
            0x030 => self.queue_sel = value,
            0x038 => {
                if let Some(ring) = self.rings.get_mut(self.queue_sel as usize) {
                    ring.set_size(value);
                }
            }
            0x044 => {
                let ring = self.rings.get_mut(self.queue_sel as usize);
                if ring.is_some_and(|ring| ring.set_ready(value & 1 != 0, mem).is_err()) {
                    self.fail();
                }
            }
            0x050 => self.serve(value as usize, now, mem),
            0x064 => self.interrupt &= !value,
            0x070 => self.set_status(value, now, mem),
            0x080 | 0x084 | 0x090 | 0x094 | 0x0A0 | 0x0A4 => self.set_address(offset, value),
            _ => {}
        }
    }

    fn accept_features(&mut self, value: u32) {
        if self.status & FEATURES_OK == 0 && self.driver_features_sel < 2 {
            let shift = 32 * self.driver_features_sel;
            self.driver_features &= !(0xFFFF_FFFF << shift);
            self.driver_features |= u64::from(value) << shift;
        }
    }

    fn set_address(&mut self, offset: u64, value: u32) {
        let ring = self.rings.get_mut(self.queue_sel as usize);
        if let Some(addresses) = ring.and_then(Ring::addresses) {
            let shift = if offset & 4 == 0 { 0 } else { 32 };
            let address = &mut *addresses
                .into_iter()
                .nth((offset as usize - 0x80) / 0x10)
                .expect("one of three");
            *address = *address & !(0xFFFF_FFFF << shift) | u64::from(value) << shift;
        }
    }

    fn set_status(&mut self, value: u32, now: u64, mem: &GuestMemory) {
        if value == 0 {
            let mut device = self.device.clone();
            device.reset();
            *self = VirtioMmio::new(device);
            return;
        }
        let was_live = self.live();
        let mut status = (value & 0xFF) | (self.status & NEEDS_RESET);
        let accepted =
            self.driver_features & !self.offered() == 0 && self.driver_features & VERSION_1 != 0;
        if !accepted {
            status &= !FEATURES_OK;
        }
        if status & FEATURES_OK == 0 {
            status &= !DRIVER_OK;
        }
        if status & FEATURES_OK != 0 && self.status & FEATURES_OK == 0 {
            self.device.accepted(self.driver_features);
        }
        self.status = status;
        if self.live() && !was_live {
            (0..D::QUEUES).for_each(|queue| self.serve(queue, now, mem));
        }
    }

    /// Tells the driver that the device's configuration is another now.
    pub fn config_changed(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        if self.status & DRIVER_OK != 0 {
            self.interrupt |= CONFIG_CHANGE;
        }
    }

    /// Whether the queues are to be served.
    fn live(&self) -> bool {
        self.status & (DRIVER_OK | NEEDS_RESET | FAILED) == DRIVER_OK
    }

    fn fail(&mut self) {
        self.status |= NEEDS_RESET;
        if self.status & DRIVER_OK != 0 {
            self.interrupt |= CONFIG_CHANGE;
        }
    }

    /// Serves queue number `queue` at local time `now` in ns, if it is one and in use.
    pub fn serve(&mut self, queue: usize, now: u64, mem: &GuestMemory) {
        let live = self.live();
        let Some(ring) = self
            .rings
            .get_mut(queue)
            .filter(|ring| live && ring.ready())
        else {
            self.device.abandon();
            return;
        };
        match self.device.serve(queue, ring, now, mem) {
            Ok(true) if ring.wants_interrupt(mem) => self.interrupt |= USED_BUFFER,
            Ok(_) => {}
            Err(_) => self.fail(),
        }
    }
}

/// The 32 bits of `features` that a selector shows.
fn half(features: u64, select: u32) -> u32 {
    match select {
        0 => features as u32,
        1 => (features >> 32) as u32,
        _ => 0,
    }
}

#[cfg(test)]
#[path = "mmio_tests.rs"]
mod tests;
