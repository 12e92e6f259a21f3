//! Memory that others take.

use std::thread;

use chaoscontrol::prelude::*;

use crate::server::{Asker, serve};

const SECOND: Duration = Duration::from_secs(1);
static MIB: [u8; 1 << 20] = [1; 1 << 20];

/// Takes 40 MiB and gives them back, for ever.
fn grow() -> ! {
    loop {
        // So much at once goes back to the kernel.
        let mut hoard = Vec::with_capacity(40 << 20);
        for _ in 0..40 {
            hoard.extend_from_slice(&MIB);
            thread::sleep(Duration::from_millis(1));
        }
        drop(std::hint::black_box(hoard));
        thread::sleep(SECOND / 10);
    }
}

#[chaos_test(vms = 2, clients = 1, rounds = 1, branches = 1, duration = "20s", faults = [])]
fn memory_pressure(node: Node) -> Result {
    if node.role() == Role::Server {
        thread::spawn(|| grow());
        return serve(&node);
    }
    let took = ("memory pressure vm 0 of 100 %", 3 * SECOND);
    let gave_back = ("memory pressure vm 0 of 0 %", SECOND);
    the_largest_process_dies(&node, took, gave_back)
}

/// Orders two faults, each with the time until it is felt: between them server 0's memory does
/// not suffice for what it does, before and after it does.
fn the_largest_process_dies(
    node: &Node,
    took: (&str, Duration),
    gave_back: (&str, Duration),
) -> Result {
    let mut asker = Asker::new(node)?;
    thread::sleep(2 * SECOND);
    assert_eq!(asker.answer()?.incarnation, 0, "there is enough for all");
    for (fault, felt_after) in [took, gave_back] {
        node.faults().order(fault)?;
        thread::sleep(felt_after);
    }
    let after = asker.answer()?.incarnation;
    assert!(after > 0, "the kernel has killed the largest process");
    thread::sleep(3 * SECOND);
    assert_eq!(asker.answer()?.incarnation, after, "as much as before");
    Ok(())
}

/// `MemTotal` in KiB.
fn total() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").expect("the kernel's own numbers");
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    number
        .and_then(|number| number.parse().ok())
        .expect("a number of KiB")
}

#[chaos_test(vms = 1, rounds = 1, branches = 1, duration = "20s", memory = "128M", faults = [])]
fn balloon(node: Node) -> Result {
    node.setup_complete();
    let before = total();
    node.faults().order("balloon vm 0 of 25 %")?;
    thread::sleep(SECOND / 2);
    assert_eq!(before - total(), 32 << 10);
    node.faults().order("balloon vm 0 of 10 %")?;
    thread::sleep(SECOND / 2);
    let less = before - total();
    assert!((13_000..=13_108).contains(&less), "{less}");
    node.faults().order("balloon vm 0 of 0 %")?;
    thread::sleep(SECOND / 2);
    assert_eq!(total(), before, "all is back");
    Ok(())
}

#[chaos_test(vms = 2, clients = 1, rounds = 1, branches = 1, duration = "30s", faults = [])]
fn a_host_that_takes_all_memory_ends_the_largest_process(node: Node) -> Result {
    if node.role() == Role::Server {
        thread::spawn(|| grow());
        return serve(&node);
    }
    let took = ("balloon vm 0 of 50 %", 5 * SECOND);
    let gave_back = ("balloon vm 0 of 0 %", 2 * SECOND);
    the_largest_process_dies(&node, took, gave_back)
}
