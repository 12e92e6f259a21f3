//! Random accesses to every device: whatever a guest does has a defined result, within
//! bounded time and memory, and cutting time never changes it.
//!
//! `CHAOS_FUZZ_SEED` repeats a run, `CHAOS_FUZZ_ACCESSES` sets its length.

use super::disk::{DiskConfig, DiskImage};
use super::platform::{BALLOON_SLOT, CONSOLE_SLOT, DISK_SLOT, NET_SLOT, PlatformConfig, RNG_SLOT};
use super::{Platform, pic, pit, pm_timer, rtc, serial};
use crate::cpu::Ram;
use crate::cpu::regions::{VIRTIO_BASE, VIRTIO_WINDOW};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// A number of any magnitude.
    fn number(&mut self) -> u64 {
        let bits = self.below(64);
        self.next() >> bits
    }
}

/// Tells the seed when a step panics.
struct Seed {
    device: &'static str,
    seed: u64,
    access: u64,
}

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "fuzzing {} failed at access {}: repeat with CHAOS_FUZZ_SEED={}",
                self.device, self.access, self.seed
            );
        }
    }
}

fn number_from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn fuzz(device: &'static str, mut access: impl FnMut(&mut Random)) {
    let seed = number_from_env("CHAOS_FUZZ_SEED", 1);
    let mut random = Random(seed);
    let mut guard = Seed {
        device,
        seed,
        access: 0,
    };
    for i in 0..number_from_env("CHAOS_FUZZ_ACCESSES", 1_000_000) {
        guard.access = i;
        access(&mut random);
    }
}

const RAM_SIZE: u64 = 0x1_0000;
const DISK_SECTORS: u64 = 2000;

struct Machine {
    platform: Platform,
    ram: Ram,
    now: u64,
}

impl Machine {
    fn new() -> Machine {
        let image = DiskImage::zeroed(DISK_SECTORS * 512).unwrap();
        let config = PlatformConfig {
            disk: Some(DiskConfig::new(image)),
            ..PlatformConfig::default()
        };
        Machine {
            platform: Platform::new(&config),
            ram: Ram::new(RAM_SIZE).unwrap(),
            now: 0,
        }
    }

    /// Another memory of the same bytes.
    fn copied_ram(&self) -> Ram {
        let mut bytes = vec![0; RAM_SIZE as usize];
        self.ram.read(0, &mut bytes).unwrap();
        let copy = Ram::new(RAM_SIZE).unwrap();
        copy.write(0, &bytes).unwrap();
        copy
    }

    /// Lets time pass, at times by a jump, at times over the end of all time.
    fn pass(&mut self, random: &mut Random) {
        let step = match random.below(1000) {
            0 => random.number() >> 16,
            1..50 => random.below(100_000_000),
            _ => random.below(10_000),
        };
        self.now = self.now.saturating_add(step);
        if random.one_in(100_000) {
            self.now = u64::MAX;
        } else if self.now == u64::MAX {
            *self = Machine::new();
        }
    }

    /// What holds after each access.
    fn check(&mut self, random: &mut Random) {
        self.platform.advance(self.now, self.ram.guest_memory());
        if let Some(due) = self.platform.deadline(self.now) {
            assert!(
                due > self.now,
                "a deadline that is due keeps a machine busy"
            );
        }
        if self.platform.pending_interrupt() && random.one_in(2) {
            self.platform.acknowledge();
        }
        if random.one_in(200) {
            self.cut(random);
        }
    }

    /// Advancing at deadlines, at random points and in one step comes to the same.
    fn cut(&mut self, random: &mut Random) {
        let end = self.now.saturating_add(random.below(20_000_000));
        let (ram, cut_ram) = (self.copied_ram(), self.copied_ram());
        let mut whole = self.platform.clone();
        whole.advance(end, ram.guest_memory());
        let mut cut = self.platform.clone();
        let mut at = self.now;
        for _ in 0..20 {
            let due = cut.deadline(at).unwrap_or(end);
            at = due.min(at.saturating_add(random.below(5_000_000))).min(end);
            cut.advance(at, cut_ram.guest_memory());
        }
        cut.advance(end, cut_ram.guest_memory());
        assert_eq!(whole, cut);
    }
}

fn fuzz_ports(device: &'static str, ports: &[u16]) {
    let mut machine = Machine::new();
    fuzz(device, |random| {
        machine.pass(random);
        let port = if ports.is_empty() {
            random.next() as u16
        } else {
            random.pick(ports)
        };
        let size = random.pick(&[1, 1, 1, 2, 4]);
        let Machine { platform, ram, now } = &mut machine;
        if random.one_in(2) {
            let value = platform.port_read(port, size, *now, ram.guest_memory());
            assert!(size == 4 || value < 1 << (8 * u32::from(size)));
        } else {
            let value = random.number() as u32;
            platform.port_write(port, size, value, *now, ram.guest_memory());
        }
        if random.one_in(1000) {
            let sent = platform.take_serial_output();
            assert!(sent.len() <= serial::OUTPUT_LIMIT);
        }
        machine.check(random);
    });
}

#[test]
fn pic_takes_anything() {
    fuzz_ports("the PIC", &pic::PORTS);
}

#[test]
fn pit_takes_anything() {
    fuzz_ports("the PIT", &pit::PORTS);
}

#[test]
fn rtc_takes_anything() {
    fuzz_ports("the RTC", &rtc::PORTS);
}

#[test]
fn serial_takes_anything() {
    let ports: Vec<u16> = (serial::BASE..serial::BASE + 8).collect();
    fuzz_ports("the serial port", &ports);
}

#[test]
fn pm_timer_takes_anything() {
    let ports: Vec<u16> = (pm_timer::PORT - 1..pm_timer::PORT + 5).collect();
    fuzz_ports("the PM timer", &ports);
}

#[test]
fn any_port_takes_anything() {
    fuzz_ports("all ports", &[]);
}

const REGISTERS: [u64; 25] = [
    0x010, 0x014, 0x020, 0x024, 0x030, 0x034, 0x038, 0x044, 0x050, 0x050, 0x050, 0x060, 0x064,
    0x070, 0x080, 0x084, 0x090, 0x094, 0x0A0, 0x0A4, 0x0AC, 0x0C0, 0x0FC, 0x100, 0x120,
];

/// One virtio device, driven half sanely, so that random requests get past the first checks.
struct Virtio {
    machine: Machine,
    slot: u64,
    /// Where the driver's idea of queue 0 is: descriptors, available ring, its index.
    queue: (u64, u64, u16),
    /// Pages that the balloon has dropped.
    taken: u64,
}

impl Virtio {
    fn write(&mut self, register: u64, size: u8, value: u64) {
        let address = VIRTIO_BASE + self.slot * VIRTIO_WINDOW + register;
        let Machine { platform, ram, now } = &mut self.machine;
        platform.mmio_write(address, size, value, *now, ram.guest_memory());
    }

    fn read(&mut self, register: u64, size: u8) -> u64 {
        let address = VIRTIO_BASE + self.slot * VIRTIO_WINDOW + register;
        let Machine { platform, ram, now } = &mut self.machine;
        platform.mmio_read(address, size, *now, ram.guest_memory())
    }

    /// A write to memory; outside of RAM, nothing.
    fn poke(&mut self, address: u64, bytes: &[u8]) {
        let _ = self.machine.ram.write(address, bytes);
    }

    /// Sets the device up with queues at random places.
    fn set_up(&mut self, random: &mut Random) {
        self.write(0x014, 4, 0);
        let features = self.read(0x010, 4) & random.next();
        for (register, value) in [
            (0x070, 0),
            (0x070, 3),
            (0x024, 0),
            (0x020, features),
            (0x024, 1),
            (0x020, 1),
            (0x070, 11),
        ] {
            self.write(register, 4, value);
        }
        for queue in [1, 0] {
            self.write(0x030, 4, queue);
            self.write(0x038, 4, 1 << random.below(8));
            let rings = [0x080, 0x090, 0x0A0].map(|register| {
                let at = random.below(RAM_SIZE) & !15;
                self.write(register, 4, at);
                at
            });
            self.write(0x044, 4, 1);
            self.poke(rings[1], &[0; 4]);
            self.queue = (rings[0], rings[1], 0);
        }
        self.write(0x070, 4, 15);
    }

    /// Makes requests out of plausible descriptors, in a random part of memory.
    fn scribble(&mut self, random: &mut Random) {
        let at = random.below(RAM_SIZE) & !15;
        for i in 0..random.below(16) {
            let address = if random.one_in(20) {
                random.number()
            } else {
                random.below(RAM_SIZE)
            };
            let len = if random.one_in(20) {
                random.number()
            } else {
                random.below(3000)
            };
            let flags = if random.one_in(10) {
                random.next()
            } else {
                random.below(4)
            };
            let descriptor = [
                address.to_le_bytes(),
                (len & 0xFFFF_FFFF | (flags & 0xFFFF) << 32 | random.below(64) << 48).to_le_bytes(),
            ];
            self.poke(at + 16 * i, descriptor.as_flattened());
        }
    }

    /// Moves an index in memory on, as a driver does that offers requests.
    fn offer(&mut self, random: &mut Random) {
        let at = random.below(RAM_SIZE) & !15 | 2;
        self.poke(at, &(random.below(20) as u16).to_le_bytes());
        let ring: Vec<u8> = (0..32)
            .map(|i| {
                if i % 2 == 0 {
                    random.below(64) as u8
                } else {
                    0
                }
            })
            .collect();
        self.poke(at + 2, &ring);
    }

    /// Offers a chain of these addresses, lengths and flags.
    fn submit(&mut self, parts: &[(u64, u64, u64)]) {
        let (table, available, index) = self.queue;
        for (i, (address, length, flags)) in parts.iter().enumerate() {
            let rest = length | flags << 32 | (i as u64 + 1) << 48;
            self.poke(table + 16 * i as u64, &address.to_le_bytes());
            self.poke(table + 16 * i as u64 + 8, &rest.to_le_bytes());
        }
        for entry in 0..128 {
            self.poke(available + 4 + 2 * entry, &[0, 0]);
        }
        let index = index.wrapping_add(1);
        self.poke(available + 2, &index.to_le_bytes());
        self.queue.2 = index;
        self.write(0x050, 4, 0);
    }

    /// Gives pages to the balloon, those of the list and of the rings among them.
    fn give(&mut self, random: &mut Random) {
        let at = random.below(RAM_SIZE) & !3;
        let page = random.below(RAM_SIZE / 4096 + 2);
        self.poke(page * 4096, &[0xA5; 4096]);
        for i in 0..random.below(8) {
            let other = random.number() as u32;
            self.poke(at + 4 * i, &other.to_le_bytes());
        }
        self.poke(at, &(page as u32).to_le_bytes());
        let length = match random.below(20) {
            0 => random.number() & 0xFFFF_FFFF,
            _ => random.below(RAM_SIZE - at),
        };
        self.submit(&[(at, length, 0)]);
        let mut content = [0xA5; 4096];
        let _ = self.machine.ram.read(page * 4096, &mut content);
        self.taken += u64::from(content == [0; 4096]);
    }

    /// Orders something of the disk that is well-formed but for a few numbers.
    fn order(&mut self, random: &mut Random) {
        let at = random.below(RAM_SIZE) & !15;
        let kind = random.pick(&[0, 1, 1, 4, 8, 11, 13, 2]);
        let sector = if random.one_in(20) {
            random.number()
        } else {
            random.below(DISK_SECTORS)
        };
        self.poke(at, &[kind, 0, 0, 0, 0, 0, 0, 0]);
        self.poke(at + 8, &sector.to_le_bytes());
        let data = random.below(RAM_SIZE);
        let length = match kind {
            11 | 13 => 16 * random.below(3),
            _ if random.one_in(20) => random.number() & 0xFFFF_FFFF,
            _ => 512 * random.below(20),
        };
        if kind > 8 {
            self.poke(data, &random.below(DISK_SECTORS).to_le_bytes());
            self.poke(
                data + 8,
                &(random.below(100) | random.below(2) << 32).to_le_bytes(),
            );
        }
        let to_guest = 2 * u64::from(kind == 0 || kind == 8);
        let last = data + random.below(RAM_SIZE - data);
        self.submit(&[(at, 16, 1), (data, length, 1 | to_guest), (last, 1, 2)]);
        if random.one_in(100)
            && let Some(disk) = self.machine.platform.disk_mut()
        {
            let faults = disk.disk_mut().faults_mut();
            faults.read_error_ppm = random.below(100_000) as u32;
            faults.write_error_ppm = random.below(100_000) as u32;
            faults.flush_error_ppm = random.below(100_000) as u32;
            faults.torn_write_ppm = random.below(100_000) as u32;
            faults.corruption_ppm = random.below(100_000) as u32;
            faults.misdirected_ppm = random.below(100_000) as u32;
            faults.slow_ns = random.number() >> 40;
        }
        if random.one_in(1000)
            && let Some(disk) = self.machine.platform.disk_mut()
        {
            match random.below(3) {
                0 => disk.power_cut(self.machine.ram.guest_memory()),
                1 => disk.settle(self.machine.ram.guest_memory()),
                _ => disk.disk_mut().lose_unflushed(),
            }
        }
    }

    fn host_side(&mut self, random: &mut Random) {
        let Machine { platform, ram, now } = &mut self.machine;
        let mem = ram.guest_memory();
        let bytes = vec![0xA5; random.below(2000) as usize];
        platform.receive_frame(&bytes, *now, mem);
        platform.console_input(&bytes, *now, mem);
        platform.balloon(random.number() as u32);
        if random.one_in(100) {
            let frames = platform.take_frames();
            assert!(frames.len() <= super::virtio::net::SEND_LIMIT);
            assert!(
                frames
                    .iter()
                    .all(|frame| frame.len() <= super::virtio::net::MAX_FRAME)
            );
            assert!(platform.take_console_output().len() <= super::virtio::console::LIMIT);
        }
    }

    fn access(&mut self, random: &mut Random) {
        match random.below(100) {
            0 => self.set_up(random),
            1..4 => self.host_side(random),
            20..40 if self.slot == DISK_SLOT => self.order(random),
            20..40 if self.slot == BALLOON_SLOT => self.give(random),
            4..12 => self.scribble(random),
            12..20 => self.offer(random),
            _ => {}
        }
        let register = if random.one_in(10) {
            random.below(VIRTIO_WINDOW)
        } else {
            random.pick(&REGISTERS)
        };
        let size = random.pick(&[4, 4, 4, 4, 4, 1, 2, 8]);
        if random.one_in(4) {
            self.read(register, size);
        } else if register == 0x050 {
            self.write(register, 4, random.below(3));
        } else if register != 0x070 || random.one_in(20) {
            let value = random.number();
            self.write(register, size, value);
        }
    }
}

fn fuzz_virtio(device: &'static str, slot: u64, mut look: impl FnMut(&Platform)) -> Virtio {
    let mut virtio = Virtio {
        machine: Machine::new(),
        slot,
        queue: (0, 0, 0),
        taken: 0,
    };
    fuzz(device, |random| {
        virtio.machine.pass(random);
        virtio.access(random);
        virtio.machine.check(random);
        look(&virtio.machine.platform);
    });
    virtio
}

#[test]
fn disk_takes_anything() {
    let mut most = 0;
    fuzz_virtio("the disk", DISK_SLOT, |platform| {
        let stats = platform.disk().unwrap().disk().stats();
        let kinds = [stats.reads, stats.writes, stats.discards, stats.flushes];
        most = most.max(kinds.into_iter().min().unwrap());
    });
    assert!(
        most > 100,
        "only {most} of a kind got past the first checks"
    );
}

#[test]
fn net_takes_anything() {
    fuzz_virtio("the network card", NET_SLOT, |_| {});
}

#[test]
fn rng_takes_anything() {
    fuzz_virtio("the entropy device", RNG_SLOT, |_| {});
}

#[test]
fn console_takes_anything() {
    fuzz_virtio("the console", CONSOLE_SLOT, |_| {});
}

#[test]
fn balloon_takes_anything() {
    let Virtio { taken, .. } = fuzz_virtio("the balloon", BALLOON_SLOT, |_| {});
    assert!(taken > 100, "only {taken} pages were dropped");
}
