//! Interrupts that nobody asked for, as the kernel counts them.

use std::fs;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

use chaoscontrol::prelude::*;

/// The entropy device's line, which is quiet unless somebody draws from it.
const QUIET: &str = "7";

/// The count of a row of /proc/interrupts.
fn count(row: &str) -> Result<u64> {
    let all = fs::read_to_string("/proc/interrupts")?;
    let line = all.lines().find_map(|line| {
        let (name, counts) = line.trim_start().split_once(':')?;
        (name == row).then(|| counts.to_owned())
    });
    let line = line.ok_or_else(|| format!("no row {row} in\n{all}"))?;
    let first = line.split_whitespace().next().ok_or("no count")?;
    Ok(first.parse()?)
}

/// By how much the counts of `rows` grow by `fault`.
fn grown(node: &Node, fault: &str, rows: &[&str]) -> Result<u64> {
    let sum = || rows.iter().map(|row| count(row)).sum::<Result<u64>>();
    node.setup_complete();
    node.wait_setup(Duration::from_secs(30))?;
    let before = sum()?;
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(sum()?, before, "it is quiet without");
    node.faults().order(fault)?;
    std::thread::sleep(Duration::from_millis(100));
    Ok(sum()? - before)
}

#[chaos_test(vms = 1, rounds = 1, branches = 1, faults = [])]
fn irq(node: Node) -> Result {
    let grown = grown(&node, &format!("irq vm 0 on {QUIET}"), &[QUIET])?;
    assert_eq!(grown, 1);
    Ok(())
}

#[chaos_test(vms = 1, rounds = 1, branches = 1, faults = [])]
fn spurious_interrupt(node: Node) -> Result {
    // The vector of line 7, or an error where the kernel sees that the line is masked.
    let grown = grown(&node, "spurious interrupt vm 0", &[QUIET, "ERR"])?;
    assert_eq!(grown, 1);
    Ok(())
}

/// What the kernel has logged.
fn log() -> Result<String> {
    const O_NONBLOCK: i32 = 0x800;
    let mut options = fs::OpenOptions::new();
    let mut log = options
        .read(true)
        .custom_flags(O_NONBLOCK)
        .open("/dev/kmsg")?;
    let (mut all, mut record) = (String::new(), [0; 8192]);
    while let Ok(length) = log.read(&mut record) {
        all.push_str(&String::from_utf8_lossy(&record[..length]));
    }
    Ok(all)
}

#[chaos_test(vms = 1, rounds = 1, branches = 1, faults = [])]
fn nmi(node: Node) -> Result {
    assert!(!log()?.contains("NMI received"));
    let grown = grown(&node, "nmi vm 0", &["NMI"])?;
    assert_eq!(grown, 1);
    let log = log()?;
    assert!(log.contains("NMI received for unknown reason"), "{log}");
    Ok(())
}
