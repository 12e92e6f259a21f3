//! The devices of one machine and the wires between them.
//!
//! All times are local nanoseconds of the machine. An access at `now` sees the devices
//! advanced to `now`; `advance` at each [`Platform::deadline`] raises interrupts at
//! their exact time. A wide access to byte-wide ports is one access per byte.

use super::disk::{Disk, DiskConfig};
use super::pic::Pic;
use super::pit::Pit;
use super::pm_timer;
use super::rtc::Rtc;
use super::serial::{self, Serial};
use super::virtio::balloon::Balloon;
use super::virtio::blk::Blk;
use super::virtio::console::Console;
use super::virtio::mmio::VirtioMmio;
use super::virtio::net::Net;
use super::virtio::rng::EntropyDevice;
use crate::cpu::ram::GuestMemory;
use crate::cpu::regions::virtio_window;

/// Window of the disk, if there is one.
pub const DISK_SLOT: u64 = 0;
/// Window of the network card.
pub const NET_SLOT: u64 = 1;
/// Window of the entropy device.
pub const RNG_SLOT: u64 = 2;
/// Window of the console.
pub const CONSOLE_SLOT: u64 = 3;
/// Window of the balloon.
pub const BALLOON_SLOT: u64 = 4;

const TIMER_IRQ: u8 = 0;
const SERIAL_IRQ: u8 = 4;
/// Interrupt of the disk.
pub const DISK_IRQ: u8 = 5;
/// Interrupt of the network card.
pub const NET_IRQ: u8 = 6;
/// Interrupt of the entropy device.
pub const RNG_IRQ: u8 = 7;
const RTC_IRQ: u8 = 8;
/// Interrupt of the console.
pub const CONSOLE_IRQ: u8 = 9;
/// Interrupt of the balloon.
pub const BALLOON_IRQ: u8 = 10;

const RECEIVE_QUEUE: usize = 0;
const REQUEST_QUEUE: usize = 0;

/// What a platform is made from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PlatformConfig {
    /// The date of local time 0, in seconds since 1970.
    pub epoch: u64,
    /// The network card's address.
    pub mac: [u8; 6],
    /// The key of the random streams of entropy device and disk.
    pub entropy: [u8; 32],
    /// The disk, if there is one.
    pub disk: Option<DiskConfig>,
}

/// All devices of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Platform {
    pic: Pic,
    pit: Pit,
    rtc: Rtc,
    serial: Serial,
    disk: Option<VirtioMmio<Blk>>,
    net: VirtioMmio<Net>,
    rng: VirtioMmio<EntropyDevice>,
    console: VirtioMmio<Console>,
    balloon: VirtioMmio<Balloon>,
}

impl Platform {
    /// The devices as after power-on.
    pub fn new(config: &PlatformConfig) -> Platform {
        let mut pic = Pic::default();
        // Virtio interrupts last until the driver acknowledges them: level-triggered,
        // as firmware sets a PC up, so that none is lost when two causes overlap.
        let disk_irq = config.disk.as_ref().map(|_| DISK_IRQ);
        let irqs = [NET_IRQ, RNG_IRQ, CONSOLE_IRQ, BALLOON_IRQ];
        for irq in irqs.into_iter().chain(disk_irq) {
            let port = 0x4D0 + u16::from(irq / 8);
            let others = pic.read(port);
            pic.write(port, others | 1 << (irq % 8));
        }
        Platform {
            pic,
            pit: Pit::default(),
            rtc: Rtc::new(config.epoch),
            serial: Serial::default(),
            disk: config.disk.as_ref().map(|disk| {
                let drive = Disk::new(disk, &config.entropy);
                VirtioMmio::new(Blk::new(drive))
            }),
            net: VirtioMmio::new(Net::new(config.mac)),
            rng: VirtioMmio::new(EntropyDevice::new(config.entropy)),
            console: VirtioMmio::new(Console::default()),
            balloon: VirtioMmio::new(Balloon::default()),
        }
    }

    /// An IN of `size` bytes (1, 2 or 4). Ports without a device read all ones.
    pub fn port_read(&mut self, port: u16, size: u8, now: u64, mem: &GuestMemory) -> u32 {
        self.advance(now, mem);
        let value = (0..u16::from(size.min(4))).fold(0, |value, i| {
            value | u32::from(self.read_byte(port.wrapping_add(i), now)) << (8 * i)
        });
        self.wire(now);
        value
    }

    /// An OUT of `size` bytes (1, 2 or 4). Ports without a device ignore it.
    pub fn port_write(&mut self, port: u16, size: u8, value: u32, now: u64, mem: &GuestMemory) {
        self.advance(now, mem);
        for i in 0..u16::from(size.min(4)) {
            self.write_byte(port.wrapping_add(i), (value >> (8 * i)) as u8, now);
        }
        self.wire(now);
    }

    /// A load of `size` bytes (1, 2, 4 or 8) from outside of RAM. Where there is no device, all bits are ones.
    pub fn mmio_read(&mut self, address: u64, size: u8, now: u64, mem: &GuestMemory) -> u64 {
        self.advance(now, mem);
        let value = match virtio_window(address) {
            Some((DISK_SLOT, offset)) => {
                let disk = self.disk.as_ref();
                disk.map_or(u64::MAX, |disk| disk.read(offset, size))
            }
            Some((NET_SLOT, offset)) => self.net.read(offset, size),
            Some((RNG_SLOT, offset)) => self.rng.read(offset, size),
            Some((CONSOLE_SLOT, offset)) => self.console.read(offset, size),
            Some((BALLOON_SLOT, offset)) => self.balloon.read(offset, size),
            _ => u64::MAX,
        };
        match size {
            1..=7 => value & ((1 << (8 * size)) - 1),
            _ => value,
        }
    }

    /// A store of `size` bytes (1, 2, 4 or 8) to outside of RAM. Where there is no device, it is ignored.
    pub fn mmio_write(&mut self, address: u64, size: u8, value: u64, now: u64, mem: &GuestMemory) {
        self.advance(now, mem);
        match virtio_window(address) {
            Some((DISK_SLOT, offset)) => {
                if let Some(disk) = &mut self.disk {
                    disk.write(offset, size, value, now, mem);
                }
            }
            Some((NET_SLOT, offset)) => self.net.write(offset, size, value, now, mem),
            Some((RNG_SLOT, offset)) => self.rng.write(offset, size, value, now, mem),
            Some((CONSOLE_SLOT, offset)) => self.console.write(offset, size, value, now, mem),
            Some((BALLOON_SLOT, offset)) => self.balloon.write(offset, size, value, now, mem),
            _ => {}
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
    pub fn advance(&mut self, now: u64, mem: &GuestMemory) {
        if self.pit.advance(now) {
            self.pic.pulse(TIMER_IRQ);
        }
        if let Some(disk) = &mut self.disk {
            while let Some(due) = disk.device().deadline().filter(|&due| due <= now) {
                disk.serve(REQUEST_QUEUE, due, mem);
            }
        }
        self.wire(now);
    }

    /// Puts the devices' interrupt levels on the controller's inputs.
    fn wire(&mut self, now: u64) {
        self.pic.set_line(SERIAL_IRQ, self.serial.irq());
        if let Some(disk) = &self.disk {
            self.pic.set_line(DISK_IRQ, disk.irq());
        }
        self.pic.set_line(NET_IRQ, self.net.irq());
        self.pic.set_line(RNG_IRQ, self.rng.irq());
        self.pic.set_line(RTC_IRQ, self.rtc.irq(now));
        self.pic.set_line(CONSOLE_IRQ, self.console.irq());
        self.pic.set_line(BALLOON_IRQ, self.balloon.irq());
    }

    /// The next local ns after `now`, to which the devices were advanced, at which one
    /// of them raises an interrupt by itself. Masked ones count too.
    pub fn deadline(&self, now: u64) -> Option<u64> {
        let disk = self.disk.as_ref().and_then(|disk| disk.device().deadline());
        [self.pit.deadline(), self.rtc.deadline(now), disk]
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

    /// A pulse on input `irq` of the interrupt controller, which no device made.
    pub fn glitch(&mut self, irq: u8) {
        self.pic.glitch(irq);
    }

    /// The interrupt controller's request is gone when the CPU acknowledges it.
    pub fn spurious(&mut self) {
        self.pic.spurious();
    }

    /// Takes what the guest wrote to COM1 since the last call. At most
    /// [`serial::OUTPUT_LIMIT`] bytes are kept.
    pub fn take_serial_output(&mut self) -> Vec<u8> {
        self.serial.take_output()
    }

    /// Takes the frames that the guest sent since the last call, in order.
    pub fn take_frames(&mut self) -> Vec<Vec<u8>> {
        self.net.device_mut().take_frames()
    }

    /// A frame arrives at `now`; `false` when the card had no room for it.
    pub fn receive_frame(&mut self, frame: &[u8], now: u64, mem: &GuestMemory) -> bool {
        self.advance(now, mem);
        let taken = self.net.device_mut().receive(frame);
        self.net.serve(RECEIVE_QUEUE, now, mem);
        self.wire(now);
        taken
    }

    /// Bytes for the guest's console arrive at `now`; `false` when there was no room, and none were taken.
    pub fn console_input(&mut self, bytes: &[u8], now: u64, mem: &GuestMemory) -> bool {
        self.advance(now, mem);
        let taken = self.console.device_mut().input(bytes);
        self.console.serve(RECEIVE_QUEUE, now, mem);
        self.wire(now);
        taken
    }

    /// Takes what the guest wrote to its console since the last call.
    pub fn take_console_output(&mut self) -> Vec<u8> {
        self.console.device_mut().take_output()
    }

    /// The disk's device, if there is one.
    pub fn disk(&self) -> Option<&Blk> {
        self.disk.as_ref().map(VirtioMmio::device)
    }

    /// The disk's device, for what happens to the drive from outside.
    pub fn disk_mut(&mut self) -> Option<&mut Blk> {
        self.disk.as_mut().map(VirtioMmio::device_mut)
    }

    /// Wants the guest to give `pages` pages of 4 KiB in all.
    pub fn balloon(&mut self, pages: u32) {
        self.balloon.device_mut().want(pages);
        self.balloon.config_changed();
        self.pic.set_line(BALLOON_IRQ, self.balloon.irq());
    }

    /// How many pages the guest says that it has given.
    pub fn ballooned(&self) -> u32 {
        self.balloon.device().actual()
    }

    /// Lets entropy device and disk go on with the streams of another key.
    pub fn reseed(&mut self, key: [u8; 32]) {
        self.rng.device_mut().reseed(key);
        if let Some(disk) = self.disk_mut() {
            disk.disk_mut().reseed(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use vm_memory::{Bytes, GuestAddress};

    use super::*;
    use crate::cpu::Ram;
    use crate::cpu::regions::{VIRTIO_BASE, VIRTIO_WINDOW};

    #[test]
    fn a_wide_read_reaches_each_byte() {
        let mem = Ram::new(0x1000).unwrap();
        let mem = mem.guest_memory();
        let mut platform = Platform::new(&PlatformConfig::default());
        assert_eq!(platform.port_read(0x608, 4, 1_000_000_000, mem), 3_579_545);
        assert_eq!(platform.port_read(0xFFFF, 4, 0, mem), 0xFF | 0xFFFF_FF00);
    }

    #[test]
    fn a_frame_interrupts_by_level() {
        let mem = Ram::new(0x1_0000).unwrap();
        let mem = mem.guest_memory();
        let mut platform = Platform::new(&PlatformConfig::default());
        assert_eq!(platform.port_read(0x4D0, 2, 0, mem), 0x06C0);
        let base = VIRTIO_BASE + NET_SLOT * VIRTIO_WINDOW;
        assert_eq!(platform.mmio_read(base, 4, 0, mem), 0x7472_6976);
        assert_eq!(
            platform.mmio_read(base - VIRTIO_WINDOW, 4, 0, mem),
            0xFFFF_FFFF
        );
        // The ring at 0x1000 holds one writable buffer of 64 bytes at 0x4000.
        let ram = |address, bytes: &[u8]| mem.write_slice(bytes, GuestAddress(address)).unwrap();
        ram(
            0x1000,
            &[0, 0x40, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0, 2, 0, 0, 0],
        );
        ram(0x2002, &[1, 0]);
        for (register, value) in [
            (0x070, 3),
            (0x024, 1),
            (0x020, 1),
            (0x070, 11),
            (0x038, 4),
            (0x080, 0x1000),
            (0x090, 0x2000),
            (0x0A0, 0x3000),
            (0x044, 1),
            (0x070, 15),
        ] {
            platform.mmio_write(base + register, 4, value, 0, mem);
        }
        for (port, value) in [(0x20, 0x11), (0x21, 0x30), (0x21, 4), (0x21, 1), (0x21, 0)] {
            platform.port_write(port, 1, value, 0, mem);
        }
        assert!(platform.receive_frame(b"frame", 5, mem));
        assert!(platform.pending_interrupt());
        assert_eq!(platform.acknowledge(), 0x36);
        platform.port_write(0x20, 1, 0x20, 6, mem);
        assert!(
            platform.pending_interrupt(),
            "not acknowledged in the device"
        );
        platform.mmio_write(base + 0x064, 4, 1, 7, mem);
        assert!(!platform.pending_interrupt());
    }

    #[test]
    fn a_one_shot_timer_interrupts_at_its_deadline() {
        let mem = Ram::new(0x1000).unwrap();
        let mem = mem.guest_memory();
        let mut platform = Platform::new(&PlatformConfig::default());
        for (port, value) in [(0x20, 0x11), (0x21, 0x30), (0x21, 4), (0x21, 1), (0x21, 0)] {
            platform.port_write(port, 1, value, 0, mem);
        }
        platform.port_write(0x43, 1, 0x38, 0, mem);
        platform.port_write(0x40, 2, 0x0010, 0, mem);
        assert_eq!(
            platform.deadline(0),
            None,
            "the high byte went to the next port"
        );
        platform.port_write(0x40, 1, 0, 0, mem);
        let due = platform.deadline(0).unwrap();
        platform.advance(due - 1, mem);
        assert!(!platform.pending_interrupt());
        platform.advance(due, mem);
        assert!(platform.pending_interrupt());
        assert_eq!(platform.acknowledge(), 0x30);
        assert_eq!(platform.deadline(due), None);
    }
}
