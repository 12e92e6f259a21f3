//! Chaos tests that end badly, for `bad_input.rs` to run one at a time. Each is as short
//! as its end allows.

mod histories;
mod inputs;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::thread;

use chaoscontrol::guest::protocol::{PORT, VERSION};
use chaoscontrol::prelude::*;

/// Sets up, and stays until nobody is interested any more.
fn stay(node: &Node) {
    node.setup_complete();
    loop {
        thread::park();
    }
}

#[chaos_test]
#[ignore = "for bad_input.rs"]
fn panics_on_another_thread(node: Node) {
    let worker = thread::Builder::new().name("worker".into());
    worker.spawn(|| panic!("off main")).expect("a thread");
    stay(&node);
}

#[chaos_test]
#[ignore = "for bad_input.rs"]
fn returns_an_error(node: Node) -> Result {
    node.setup_complete();
    node.wait_quiet();
    Err("no quorum".into())
}

#[chaos_test]
#[ignore = "for bad_input.rs"]
fn exits(node: Node) {
    node.setup_complete();
    std::process::exit(3);
}

#[chaos_test]
#[ignore = "for bad_input.rs"]
fn aborts(node: Node) {
    node.setup_complete();
    std::process::abort();
}

/// Recursion that no stack has room for, and that no compiler turns into a loop.
fn deeper(depth: u64) -> u64 {
    if depth == u64::MAX {
        return 0;
    }
    let frame = std::hint::black_box([depth; 64]);
    deeper(depth + 1) + frame[(depth % 64) as usize]
}

#[chaos_test]
#[ignore = "for bad_input.rs"]
fn overflows_its_stack(node: Node) {
    node.setup_complete();
    send_event("depth", deeper(0));
}

#[chaos_test(vms = 2, clients = 1)]
#[ignore = "for bad_input.rs"]
fn never_sets_up(node: Node) -> Result {
    if node.role() == Role::Client {
        node.wait_setup(Duration::from_secs(3600))?;
    }
    loop {
        thread::park();
    }
}

#[chaos_test(stall = "500ms")]
#[ignore = "for bad_input.rs"]
fn makes_no_progress(node: Node) {
    stay(&node);
}

#[chaos_test(must_finish = true)]
#[ignore = "for bad_input.rs"]
fn never_finishes(node: Node) {
    stay(&node);
}

#[chaos_test]
#[ignore = "for bad_input.rs"]
fn fills_its_memory(node: Node) {
    node.setup_complete();
    let mut hoard = Vec::new();
    loop {
        hoard.push(vec![1u8; 1 << 20]);
    }
}

#[chaos_test]
#[ignore = "for bad_input.rs"]
fn fills_its_file_system(node: Node) -> Result {
    node.setup_complete();
    let file = File::create(node.data_dir().join("large"))?;
    let block = [1; 1 << 16];
    for number in 0.. {
        file.write_all_at(&block, number << 16)?;
    }
    Ok(())
}

/// Says what its disk is, and writes to it.
#[chaos_test]
#[ignore = "for bad_input.rs"]
fn uses_its_disk(node: Node) -> Result {
    node.setup_complete();
    let file = File::create(node.data_dir().join("written"))?;
    file.write_all_at(&[7; 1 << 16], 0)?;
    file.sync_all()?;
    let mounts = fs::read_to_string("/proc/mounts")?;
    let mount = mounts.lines().find(|line| line.contains(" /data "));
    let size = fs::read_to_string("/sys/block/vda/size").unwrap_or_default();
    let what = format!("{} of {} sectors", mount.unwrap_or_default(), size.trim());
    Err(what.into())
}

#[chaos_test]
#[ignore = "for bad_input.rs"]
fn prints_without_end(node: Node) {
    node.setup_complete();
    loop {
        println!("and on, and on, and on, and on, and on, and on, and on, and on");
    }
}

/// Overwrites the code of PID 1, whose end is a panic of the kernel.
#[chaos_test]
#[ignore = "for bad_input.rs"]
fn breaks_pid_1(node: Node) -> Result {
    node.setup_complete();
    let maps = fs::read_to_string("/proc/1/maps")?;
    let memory = File::options().write(true).open("/proc/1/mem")?;
    for line in maps.lines().filter(|line| line.contains(" r-xp ")) {
        let range = line
            .split_once(' ')
            .and_then(|(range, _)| range.split_once('-'));
        let (start, end) = range.ok_or("a mapping has a range")?;
        let (start, end) = (
            u64::from_str_radix(start, 16)?,
            u64::from_str_radix(end, 16)?,
        );
        // INT3; the last mapping belongs to the kernel and cannot be written.
        let _ = memory.write_all_at(&vec![0xCC; (end - start) as usize], start);
    }
    println!("PID 1 wakes up for this line");
    stay(&node);
    Ok(())
}

/// Resets the machine, which this kernel does by a triple fault: an interrupt without a
/// table of interrupts.
#[chaos_test]
#[ignore = "for bad_input.rs"]
fn triple_faults(node: Node) {
    node.setup_complete();
    // SAFETY: reboot(2) takes a number and touches no memory of this process.
    unsafe { libc::reboot(libc::RB_AUTOBOOT) };
}

/// A register value as a program gone wild might have it: small, near the buffer, or anything.
fn wild(buffer: &[u8]) -> u64 {
    let random = get_random();
    match random % 4 {
        0 => random >> 56,
        1 => (buffer.as_ptr() as u64).wrapping_add(random >> 52),
        2 => buffer.len() as u64 - (random >> 56),
        _ => random,
    }
}

#[chaos_test]
#[ignore = "for bad_input.rs"]
fn sends_random_messages(node: Node) {
    node.setup_complete();
    let mut buffer = vec![0u8; 8192];
    for round in 0..20_000u64 {
        let at = (get_random() % 64) as usize;
        buffer[at..at + 8].copy_from_slice(&get_random().to_le_bytes());
        // Most messages get past the first checks: a kind that exists, at the right place.
        buffer[0] = (get_random() % 24) as u8;
        let (address, length, version) = if round % 2 == 0 {
            // Short ones are the ones that can be complete.
            let length = get_random() % [16, 64, 4096][(round / 2 % 3) as usize];
            (buffer.as_ptr() as u64, length, u64::from(VERSION))
        } else {
            (wild(&buffer), wild(&buffer), get_random() % 3)
        };
        // An answer may be written to any address that this process can write to, so
        // only reading may go astray.
        let address = if length_fits(address, length, &buffer) {
            address
        } else {
            address | 1 << 63
        };
        out(PORT, address, length, version);
    }
}

/// Whether a message lies in the buffer as a whole.
fn length_fits(address: u64, length: u64, buffer: &[u8]) -> bool {
    let start = buffer.as_ptr() as u64;
    let end = start + buffer.len() as u64;
    address >= start && address.checked_add(length).is_some_and(|last| last <= end)
}

#[chaos_test]
#[ignore = "for bad_input.rs"]
fn writes_to_every_port(node: Node) {
    node.setup_complete();
    // SAFETY: iopl(2) takes a number and touches no memory of this process.
    assert_eq!(unsafe { libc::iopl(3) }, 0);
    for number in 0..200_000u64 {
        let random = get_random();
        // Devices have low ports; the others are tried once each.
        let port = if number < 1 << 16 {
            number
        } else {
            random % 0x700
        };
        out(port as u16, 0, 0, random >> 32);
    }
}

fn out(port: u16, address: u64, length: u64, value: u64) {
    // SAFETY: the host writes its answer to RAX, and to at most `length` bytes at
    // `address`; callers see to it that those lie in a buffer of theirs, or nowhere. The
    // block is not `nomem`.
    unsafe {
        core::arch::asm!(
            "out dx, eax",
            in("dx") port,
            in("rdi") address,
            in("rsi") length,
            inlateout("rax") value => _,
            options(nostack, preserves_flags),
        );
    }
}

#[chaos_test(binaries = ["/bin/sh"])]
#[ignore = "for bad_input.rs"]
fn runs_a_program_that_exits(node: Node) -> Result {
    node.command("sh")
        .args(["-c", "echo so be it; exit 3"])
        .spawn()?;
    stay(&node);
    Ok(())
}

#[chaos_test(binaries = ["/bin/sh"])]
#[ignore = "for bad_input.rs"]
fn runs_a_program_that_crashes(node: Node) -> Result {
    node.command("sh").args(["-c", "kill -SEGV $$"]).spawn()?;
    stay(&node);
    Ok(())
}

#[chaos_test(binaries = ["/bin/sh"])]
#[ignore = "for bad_input.rs"]
fn runs_programs_that_may_fail(node: Node) -> Result {
    node.command("sh")
        .args(["-c", "exit 3"])
        .may_fail()
        .status()?;
    let mut endless = node
        .command("sh")
        .args(["-c", "while :; do :; done"])
        .spawn()?;
    endless.kill()?;
    endless.wait()?;
    node.setup_complete();
    Ok(())
}

#[chaos_test(packages = ["no-such-package"], binaries = ["/bin/sh", "/no/such/program"])]
#[ignore = "for bad_input.rs"]
fn takes_a_program_from_a_package(node: Node) {
    node.setup_complete();
}

/// The program is what the package has, for better or worse.
#[chaos_test(binaries = ["program"])]
#[ignore = "for bad_input.rs"]
fn packs_a_program(node: Node) -> Result {
    node.command("program").status()?;
    node.setup_complete();
    Ok(())
}

#[chaos_test(rounds = 100_000)]
#[ignore = "for bad_input.rs"]
fn explores_for_days(node: Node) {
    stay(&node);
}

/// Takes a fault, and a while each time, so that there is time in which it is being shrunk.
#[chaos_test(vms = 2, rounds = 1000, branches = 4, duration = "5s", quiet = "2s")]
#[ignore = "for bad_input.rs"]
fn fails_once_killed(node: Node) -> Result {
    if node.incarnation() == 0 {
        stay(&node);
    }
    assert_reachable!("in a second life");
    let sum = (0..1_000_000u64).fold(0, |sum, number| std::hint::black_box(sum ^ number));
    Err(format!("killed, and {sum}").into())
}

/// Takes one of few faults.
#[rustfmt::skip]
#[chaos_test(
    vms = 2, rounds = 1000, branches = 4, duration = "1s", quiet = "500ms",
    faults = ["restart", "kill-process", "pause", "latency", "loss"]
)]
#[ignore = "for resume.rs"]
fn fails_in_a_second_life(node: Node) -> Result {
    if node.incarnation() == 0 {
        stay(&node);
    }
    Err("killed".into())
}

/// A site in no test's function.
fn rare() {
    assert_reachable!("in a thousandth life");
}

#[chaos_test]
#[ignore = "for bad_input.rs"]
fn passes(node: Node) {
    if node.incarnation() == 999 {
        rare();
    }
    node.setup_complete();
}

chaoscontrol::main!();
