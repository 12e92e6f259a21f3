//! The block device as a driver sees it.

use super::super::driver::Driver;
use super::*;
use crate::devices::disk::{DiskConfig, DiskImage};

const SIZE: u64 = 1 << 20;

fn driver_of(config: &DiskConfig) -> Driver<Blk> {
    Driver::new(Blk::new(Disk::new(config, &[1; 32])))
}

fn driver() -> Driver<Blk> {
    driver_of(&DiskConfig::new(DiskImage::zeroed(SIZE).unwrap()))
}

fn header(kind: u32, sector: u64) -> [u8; 16] {
    let mut header = [0; 16];
    header[..4].copy_from_slice(&kind.to_le_bytes());
    header[8..].copy_from_slice(&sector.to_le_bytes());
    header
}

/// What a request leaves in its buffers, and its status.
struct Answer {
    status: u8,
    data: Vec<u8>,
}

impl Driver<Blk> {
    /// Offers a request and returns the number of its first buffer.
    fn order(&mut self, kind: u32, sector: u64, data: &[u8], to_guest: bool) -> usize {
        let first = self.offered_buffers();
        let header = header(kind, sector);
        let parts = [(&header[..], false), (data, to_guest), (&[0xEE], true)];
        self.offer(0, &parts);
        self.notify(0);
        first
    }

    /// Lets the drive end what it was asked for.
    fn wait(&mut self) {
        while let Some(due) = self.transport.device().deadline() {
            self.now = due;
            let mem = self.ram.guest_memory();
            self.transport.serve(0, due, mem);
        }
    }

    fn answer(&self, first: usize) -> Answer {
        Answer {
            status: self.buffer(0, first + 2)[0],
            data: self.buffer(0, first + 1),
        }
    }

    fn ask(&mut self, kind: u32, sector: u64, data: &[u8], to_guest: bool) -> Answer {
        let first = self.order(kind, sector, data, to_guest);
        self.wait();
        self.answer(first)
    }

    fn write(&mut self, sector: u64, data: &[u8]) -> u8 {
        self.ask(T_OUT, sector, data, false).status
    }

    fn read(&mut self, sector: u64, length: usize) -> Vec<u8> {
        let answer = self.ask(T_IN, sector, &vec![0; length], true);
        assert_eq!(answer.status, 0);
        answer.data
    }

    fn flush(&mut self) -> u8 {
        self.ask(T_FLUSH, 0, &[], false).status
    }

    fn disk(&mut self) -> &mut Disk {
        self.transport.device_mut().disk_mut()
    }
}

fn segment(sector: u64, sectors: u32, flags: u32) -> [u8; 16] {
    let mut segment = [0; 16];
    segment[..8].copy_from_slice(&sector.to_le_bytes());
    segment[8..12].copy_from_slice(&sectors.to_le_bytes());
    segment[12..].copy_from_slice(&flags.to_le_bytes());
    segment
}

#[test]
fn tells_its_size_and_blocks() {
    let driver = driver();
    let read = |offset: u64, size| driver.transport.read(0x100 + offset, size);
    assert_eq!((read(0, 4), read(4, 4)), (SIZE / 512, 0));
    assert_eq!((read(8, 4), read(12, 4), read(20, 4)), (0x1_0000, 62, 512));
    assert_eq!((read(24, 1), read(26, 2)), (3, 8));
    assert_eq!(read(32, 1), 1, "writes are cached");
}

#[test]
fn reads_what_was_written() {
    let mut driver = driver();
    assert_eq!(driver.write(3, &[7; 1024]), 0);
    assert_eq!(driver.read(4, 1024), [[7; 512], [0; 512]].concat());
    assert_eq!(driver.used(0), [(0, 1), (3, 1025)]);
    assert!(driver.transport.irq());
    let id = driver.ask(T_GET_ID, 0, &[0xEE; 20], true);
    assert_eq!((id.status, &id.data[..13]), (0, &b"chaoscontrol\0"[..]));
}

#[test]
fn a_request_takes_time_and_others_wait_for_it() {
    let mut driver = driver();
    driver.now = 1000;
    let first = driver.order(T_OUT, 0, &[1; 2048], false);
    let second = driver.order(T_IN, 0, &[0; 512], true);
    let due = 1000 + REQUEST_NS + 2 * KIB_NS;
    assert_eq!(driver.transport.device().deadline(), Some(due));
    driver
        .transport
        .serve(0, due - 1, driver.ram.guest_memory());
    assert!(driver.used(0).is_empty());
    driver.transport.serve(0, due, driver.ram.guest_memory());
    assert_eq!(driver.used(0).len(), 1);
    assert_eq!(driver.answer(first).status, 0);
    assert_eq!(driver.answer(second).status, 0xEE);
    let next = due + REQUEST_NS + KIB_NS;
    assert_eq!(driver.transport.device().deadline(), Some(next));
    driver.disk().faults_mut().slow_ns = 5;
    driver.transport.serve(0, next, driver.ram.guest_memory());
    assert_eq!(driver.answer(second).data, [1; 512]);
    driver.now = 2_000_000;
    driver.order(T_FLUSH, 0, &[], false);
    let due = driver.transport.device().deadline();
    assert_eq!(due, Some(2_000_000 + FLUSH_NS + 5));
}

#[test]
fn writes_are_durable_after_a_flush_only() {
    let mut driver = driver();
    driver.write(0, &[1; 512]);
    assert_eq!(driver.flush(), 0);
    driver.write(1, &[2; 512]);
    driver.disk().lose_unflushed();
    assert_eq!(driver.read(0, 1024), [[1; 512], [0; 512]].concat());
}

#[test]
fn without_a_cache_every_write_is_durable() {
    // The driver turns the cache off, or takes no interest in flushing.
    let mut off = driver();
    let mem = off.ram.guest_memory();
    off.transport.write(0x120, 1, 0, 0, mem);
    assert_eq!(off.transport.read(0x120, 1), 0);
    let mut plain = driver();
    plain.transport.device_mut().accepted(0);
    for mut driver in [off, plain] {
        driver.write(0, &[1; 512]);
        driver.ask(T_DISCARD, 0, &segment(0, 1, 0), false);
        driver.write(1, &[2; 512]);
        driver.disk().lose_unflushed();
        assert_eq!(driver.read(0, 1024), [[0; 512], [2; 512]].concat());
    }
}

#[test]
fn discards_and_writes_of_zeros() {
    let mut driver = driver();
    driver.write(0, &[1; 4096]);
    let segments = [segment(0, 2, 0), segment(6, 1, 0)].concat();
    assert_eq!(driver.ask(T_DISCARD, 0, &segments, false).status, 0);
    assert_eq!(
        driver
            .ask(T_WRITE_ZEROES, 0, &segment(4, 1, 1), false)
            .status,
        0
    );
    let firsts: Vec<u8> = driver.read(0, 4096).chunks(512).map(|s| s[0]).collect();
    assert_eq!(firsts, [0, 0, 1, 1, 0, 1, 0, 1]);
}

#[test]
fn what_it_cannot_do_is_refused_with_a_status() {
    let end = SIZE / 512;
    let cases: [(u32, u64, &[u8], u8); 15] = [
        (T_IN, end, &[0; 512], 1),
        (T_IN, end - 1, &[0; 1024], 1),
        (T_IN, u64::MAX, &[0; 512], 1),
        (T_IN, 0, &[0; 100], 1),
        (T_IN, 0, &[], 1),
        (T_OUT, end - 1, &[0; 1024], 1),
        (T_OUT, 0, &[0; 513], 1),
        (77, 0, &[0; 512], 2),
        (T_DISCARD, 0, &[], 1),
        (T_DISCARD, 0, &[0; 15], 1),
        (T_DISCARD, 0, &segment(0, 1, 1), 2),
        (T_WRITE_ZEROES, 0, &segment(0, 1, 2), 2),
        (T_WRITE_ZEROES, 0, &segment(end, 1, 0), 1),
        (T_WRITE_ZEROES, 0, &segment(0, MAX_RANGE + 1, 0), 1),
        (T_DISCARD, 0, &[0; 16 * 17], 1),
    ];
    for (kind, sector, data, status) in cases {
        let mut driver = driver();
        let answer = driver.ask(kind, sector, data, kind == T_IN);
        assert_eq!(answer.status, status, "{kind} {sector} {}", data.len());
        assert_eq!(driver.transport.read(0x070, 4), 15);
        assert_eq!(driver.disk().contents().unflushed(), 0);
    }
    let mut driver = driver();
    driver.offer(0, &[(&[0; 15], false), (&[0xEE], true)]);
    driver.offer_spans(
        0,
        &[
            (0x1_0000, 16, false),
            (0, u32::MAX - 100, true),
            (0x1_8000, 1, true),
        ],
    );
    driver.notify(0);
    driver.wait();
    assert_eq!(driver.buffer(0, 1), [1], "less than a header");
    assert_eq!(driver.buffer(0, 4), [1], "more than a request may have");
}

#[test]
fn a_request_without_a_status_byte_breaks_the_queue() {
    let mut driver = driver();
    driver.offer(0, &[(&header(T_FLUSH, 0), false)]);
    driver.notify(0);
    assert_eq!(driver.transport.read(0x070, 4), 15 | 0x40);
    assert_eq!(driver.transport.device().deadline(), None);
}

#[test]
fn errors_of_the_drive_are_io_errors() {
    let mut driver = driver();
    driver.disk().faults_mut().read_error_ppm = 1_000_000;
    let answer = driver.ask(T_IN, 0, &[3; 512], true);
    assert_eq!((answer.status, answer.data), (1, vec![3; 512]));
    driver.disk().faults_mut().flush_error_ppm = 1_000_000;
    assert_eq!((driver.write(0, &[0; 512]), driver.flush()), (0, 1));
}

#[test]
fn a_read_only_disk_says_so() {
    let mut driver = driver_of(&DiskConfig {
        read_only: true,
        ..DiskConfig::new(DiskImage::read_from(&[5; 4096][..], 4096).unwrap())
    });
    assert_eq!(driver.transport.read(0x010, 4) & F_RO, F_RO);
    assert_eq!(driver.write(0, &[1; 512]), 1);
    assert_eq!(driver.ask(T_DISCARD, 0, &segment(0, 1, 0), false).status, 1);
    assert_eq!(driver.read(0, 512), [5; 512]);
}

#[test]
fn power_cuts_hit_what_the_drive_is_at() {
    let mut survived = [0; 3];
    for key in 0..60 {
        let mut driver = driver();
        driver.disk().reseed(&[key; 32]);
        driver.order(T_OUT, 0, &[1; 4096], false);
        driver.order(T_OUT, 8, &[2; 4096], false);
        let mem = driver.ram.guest_memory();
        driver.transport.device_mut().power_cut(mem);
        let mut bytes = [0; 8192];
        driver.disk().read(0, &mut bytes).unwrap();
        let halves = [bytes[0], bytes[4096]];
        let outcomes = [[0, 0], [1, 0], [0, 2]];
        survived[outcomes.iter().position(|o| *o == halves).unwrap()] += 1;
    }
    assert!(survived[0] > 10 && survived[1] > 10);
    assert_eq!(survived[2], 0, "the second was not begun");
}

#[test]
fn a_drive_with_power_ends_what_it_is_at() {
    let mut driver = driver();
    driver.order(T_OUT, 0, &[1; 512], false);
    let mem = driver.ram.guest_memory();
    driver.transport.device_mut().settle(mem);
    assert_eq!(driver.disk().contents().unflushed(), 1);
    assert!(driver.used(0).is_empty());
}

#[test]
fn a_fork_in_mid_request_goes_on_as_the_original() {
    let mut driver = driver();
    driver.write(0, &[9; 512]);
    let first = driver.order(T_IN, 0, &[0; 512], true);
    let mut fork = driver.transport.clone();
    let due = fork.device().deadline().unwrap();
    driver.wait();
    assert_eq!(driver.answer(first).data, [9; 512]);
    fork.serve(0, due, driver.ram.guest_memory());
    assert_eq!(fork, driver.transport);
}

#[test]
fn resets_forget_requests_and_keep_the_drive() {
    for stop in [(0x070, 0), (0x070, 15 | 0x80), (0x044, 0)] {
        let mut driver = driver();
        driver.write(0, &[1; 512]);
        let first = driver.order(T_IN, 0, &[0; 512], true);
        driver.set(0x030, 0);
        driver.set(stop.0, stop.1);
        driver.wait();
        assert_eq!(driver.answer(first).status, 0xEE);
        assert_eq!(driver.disk().contents().unflushed(), 1);
    }
}

#[test]
fn a_reset_turns_the_cache_on_again() {
    let mut driver = driver();
    let mem = driver.ram.guest_memory();
    driver.transport.write(0x120, 1, 0, 0, mem);
    assert_eq!(driver.transport.read(0x120, 1), 0);
    driver.set(0x070, 0);
    assert_eq!(driver.transport.read(0x120, 1), 1);
}
