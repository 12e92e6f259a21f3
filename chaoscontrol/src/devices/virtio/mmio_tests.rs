//! The transport's rules, shown with the console.

use super::super::console::Console;
use super::super::driver::Driver;
use super::*;

#[test]
fn identifies_itself() {
    let transport = VirtioMmio::new(Console::default());
    assert_eq!(transport.read(0, 4), 0x7472_6976);
    assert_eq!(transport.read(4, 4), 2);
    assert_eq!(transport.read(8, 4), 3);
    assert_eq!(transport.read(8, 2), 0, "registers are 32 bits wide");
    assert_eq!(transport.read(0xB0, 4), u64::from(u32::MAX));
}

#[test]
fn drivers_accept_version_1_and_nothing_unknown() {
    let mut driver = Driver::new(Console::default());
    driver.set(0x014, 1);
    assert_eq!(driver.transport.read(0x010, 4), 1);
    for (low, high, ok) in [(0, 0, false), (1, 1, false), (0, 1, true)] {
        driver.set(0x070, 0);
        driver.set(0x070, 3);
        for (select, value) in [(0, low), (1, high), (2, 0xFFFF)] {
            driver.set(0x024, select);
            driver.set(0x020, value);
        }
        driver.set(0x070, 11);
        assert_eq!(driver.transport.read(0x070, 4) & 8 != 0, ok);
        driver.set(0x070, 15);
        assert_eq!(driver.transport.read(0x070, 4) & 4 != 0, ok);
    }
}

#[test]
fn interrupts_last_until_acknowledged() {
    let mut driver = Driver::new(Console::default());
    driver.offer(1, &[(b"x", false)]);
    driver.notify(1);
    assert!(driver.transport.irq());
    assert_eq!(driver.transport.read(0x060, 4), 1);
    driver.set(0x064, 1);
    assert!(!driver.transport.irq());
}

#[test]
fn drivers_can_ask_for_no_interrupt() {
    let mut driver = Driver::new(Console::default());
    // VIRTQ_AVAIL_F_NO_INTERRUPT in queue 1.
    driver.ram.write(0x5000, &[1, 0]).unwrap();
    driver.offer(1, &[(b"x", false)]);
    driver.notify(1);
    assert_eq!(driver.used(1).len(), 1);
    assert!(!driver.transport.irq());
}

#[test]
fn a_broken_queue_needs_a_reset() {
    let breakages: [&[(u64, u32, bool)]; 3] = [
        // Not RAM; readable after writable; nothing else is known to be wrong with it.
        &[(0xFFFF_0000, 16, false)],
        &[(0x8000, 1, true), (0x8000, 1, false)],
        &[(u64::MAX, u32::MAX, false)],
    ];
    for spans in breakages {
        let mut driver = Driver::new(Console::default());
        driver.offer_spans(1, spans);
        driver.notify(1);
        assert_eq!(driver.transport.read(0x070, 4), 15 | 0x40);
        assert_eq!(driver.transport.read(0x060, 4), 2);
        driver.offer(1, &[(b"x", false)]);
        driver.notify(1);
        assert!(driver.used(1).is_empty());
        driver.set(0x070, 0);
        assert_eq!(driver.transport, VirtioMmio::new(Console::default()));
    }
}

#[test]
fn a_chain_that_loops_is_broken() {
    let mut driver = Driver::new(Console::default());
    let queue_1 = 0x4000;
    driver.offer(1, &[(b"x", false)]);
    // NEXT, and next is the descriptor itself.
    driver.ram.write(queue_1 + 12, &[1, 0, 0, 0]).unwrap();
    driver.notify(1);
    assert_eq!(driver.transport.read(0x070, 4) & 0x40, 0x40);
}

#[test]
fn rings_outside_of_ram_are_refused() {
    let mut driver = Driver::new(Console::default());
    driver.set(0x070, 0);
    driver.set(0x080, 0xFFFF_F000);
    driver.set(0x044, 1);
    assert_eq!(driver.transport.read(0x044, 4), 0);
    assert_eq!(driver.transport.read(0x070, 4), 0x40);
}

#[test]
fn a_running_queue_keeps_its_place() {
    let mut driver = Driver::new(Console::default());
    driver.set(0x030, 1);
    driver.set(0x080, 0x9000);
    driver.set(0x038, 8);
    driver.offer(1, &[(b"x", false)]);
    driver.notify(1);
    assert_eq!(driver.used(1).len(), 1);
}
