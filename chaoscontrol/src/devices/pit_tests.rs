//! The timer against the 8254 data sheet and against how Linux programs it.

use super::*;

/// The nanosecond at which tick `tick` begins.
fn at(tick: u64) -> u64 {
    clock::ns_of_tick(tick, FREQUENCY).unwrap()
}

fn programmed(control: u8, count: u16, tick: u64) -> Pit {
    let mut pit = Pit::default();
    let port = 0x40 + u16::from(control >> 6);
    pit.write(0x43, control, at(tick));
    let [low, high] = count.to_le_bytes();
    if control & 0x10 != 0 {
        pit.write(port, low, at(tick));
    }
    if control & 0x20 != 0 {
        pit.write(port, high, at(tick));
    }
    pit
}

fn count(pit: &mut Pit, tick: u64) -> u16 {
    pit.write(0x43, 0, at(tick));
    u16::from_le_bytes([pit.read(0x40, at(tick)), pit.read(0x40, at(tick))])
}

/// All the edges up to `end`, taken at their deadlines.
fn edges(pit: &mut Pit, end: u64) -> Vec<u64> {
    let mut found = Vec::new();
    while let Some(deadline) = pit.deadline().filter(|&at| at <= end) {
        assert!(!pit.advance(deadline - 1), "too early");
        assert!(pit.advance(deadline));
        found.push(clock::ticks(deadline, FREQUENCY));
    }
    found
}

#[test]
fn linux_periodic_tick_has_the_exact_period() {
    // HZ=100: LATCH is 11932.
    let mut pit = programmed(0x34, 11932, 10);
    let found = edges(&mut pit, 1_000_000_000);
    assert_eq!(found.len(), 99);
    for (i, tick) in found.iter().enumerate() {
        assert_eq!(*tick, 11 + (i as u64 + 1) * 11932);
    }
}

#[test]
fn linux_one_shot_fires_once_after_its_count() {
    let mut pit = programmed(0x38, 1193, 100);
    // Loaded at 101, strobe low at 101 + 1193, high one tick later.
    assert_eq!(edges(&mut pit, u64::MAX), [101 + 1193 + 1]);
    assert_eq!(pit.deadline(), None);
    pit.write(0x40, 15, at(5000));
    assert_eq!(pit.deadline(), None, "half a count");
    pit.write(0x40, 0, at(5001));
    assert_eq!(edges(&mut pit, u64::MAX), [5002 + 15 + 1]);
}

#[test]
fn reprogramming_a_one_shot_moves_its_edge() {
    let mut pit = programmed(0x38, 1000, 0);
    pit.write(0x40, 0x10, at(500));
    pit.write(0x40, 0, at(500));
    assert_eq!(edges(&mut pit, u64::MAX), [501 + 16 + 1]);
}

#[test]
fn linux_shutdown_stops_interrupts() {
    let mut pit = programmed(0x34, 100, 0);
    pit.write(0x43, 0x30, at(50));
    assert_eq!(pit.deadline(), None);
    pit.write(0x40, 0, at(50));
    pit.write(0x40, 0, at(50));
    assert_eq!(pit.deadline(), Some(at(51 + 0x1_0000)));
    pit.write(0x43, 0x30, at(50));
    assert_eq!(pit.deadline(), None);
}

#[test]
fn mode_0_rises_after_n_plus_1_ticks_and_counts_on() {
    let mut pit = programmed(0x30, 4, 0);
    assert!(!pit.channels[0].output(4));
    assert!(pit.channels[0].output(5));
    assert_eq!(count(&mut pit, 1), 4);
    assert_eq!(count(&mut pit, 5), 0);
    assert_eq!(count(&mut pit, 6), 0xFFFF);
    assert_eq!(edges(&mut pit, u64::MAX), [5]);
}

#[test]
fn mode_2_is_low_for_the_last_tick() {
    let mut pit = programmed(0x34, 3, 0);
    let levels: Vec<bool> = (1..8).map(|tick| pit.channels[0].output(tick)).collect();
    assert_eq!(levels, [true, true, false, true, true, false, true]);
    let counts: Vec<u16> = (1..6).map(|tick| count(&mut pit, tick)).collect();
    assert_eq!(counts, [3, 2, 1, 3, 2]);
}

#[test]
fn mode_3_halves_even_and_odd_counts() {
    let mut pit = programmed(0x36, 4, 0);
    let counts: Vec<u16> = (1..6).map(|tick| count(&mut pit, tick)).collect();
    assert_eq!(counts, [4, 2, 4, 2, 4]);
    let mut pit = programmed(0x36, 5, 0);
    let counts: Vec<u16> = (1..7).map(|tick| count(&mut pit, tick)).collect();
    assert_eq!(counts, [4, 2, 0, 4, 2, 4]);
    let levels: Vec<bool> = (1..7).map(|tick| pit.channels[0].output(tick)).collect();
    assert_eq!(levels, [true, true, true, false, false, true]);
    assert_eq!(edges(&mut pit, at(12)), [6, 11]);
}

#[test]
fn a_new_rate_starts_with_the_next_period() {
    let mut pit = programmed(0x34, 100, 0);
    assert!(pit.advance(at(250)));
    pit.write(0x40, 50, at(250));
    pit.write(0x40, 0, at(250));
    assert_eq!(edges(&mut pit, at(420)), [301, 351, 401]);
}

#[test]
fn full_counts_are_written_as_zero() {
    let mut pit = programmed(0x34, 0, 0);
    assert_eq!(edges(&mut pit, at(70_000)), [0x1_0001]);
    let mut pit = programmed(0x35, 0, 0);
    assert_eq!(edges(&mut pit, at(11_000)), [10_001]);
    assert_eq!(count(&mut pit, 10_002), 0x9999);
}

#[test]
fn channel_2_is_gated_and_read_through_port_61() {
    let mut pit = Pit::default();
    pit.write(0x61, 1, at(0));
    pit.write(0x43, 0xB0, at(0));
    pit.write(0x42, 100, at(0));
    pit.write(0x42, 0, at(0));
    assert_eq!(pit.read(0x61, at(100)) & 0x21, 0x01);
    assert_eq!(pit.read(0x61, at(101)) & 0x21, 0x21);
    let mut held = pit.clone();
    held.write(0x61, 0, at(51));
    held.write(0x61, 1, at(1051));
    assert_eq!(held.read(0x61, at(1100)) & 0x20, 0);
    assert_eq!(held.read(0x61, at(1101)) & 0x20, 0x20);
    assert_eq!(held.deadline(), None);
}

#[test]
fn a_gate_edge_triggers_modes_1_and_5() {
    for (control, level) in [(0xB2, false), (0xBA, true)] {
        let mut pit = programmed(control, 10, 0);
        assert!(pit.channels[2].output(5));
        pit.write(0x61, 1, at(20));
        assert_eq!(pit.channels[2].output(25), level);
        assert!(pit.channels[2].output(32));
    }
}

#[test]
fn read_back_latches_status_then_count() {
    let mut pit = programmed(0x34, 0x1234, 0);
    pit.write(0x43, 0xC2, at(1));
    assert_eq!(pit.read(0x40, at(50)), 0xB4);
    assert_eq!(pit.read(0x40, at(60)), 0x34);
    assert_eq!(pit.read(0x40, at(70)), 0x12);
    assert_ne!(pit.read(0x40, at(70)), 0x34, "the latch is used up");
}

#[test]
fn cutting_time_changes_nothing() {
    for control in [0x30, 0x34, 0x36, 0x38] {
        let mut whole = programmed(control, 777, 3);
        let mut cut = whole.clone();
        let end = 5_000_000;
        let mut fired = 0;
        for now in (0..=end).step_by(997).chain([end]) {
            fired += u32::from(cut.advance(now));
        }
        assert_eq!(whole.advance(end), fired > 0);
        assert_eq!(whole, cut);
    }
}
