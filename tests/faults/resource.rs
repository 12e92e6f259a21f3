//! CPUs that are slow or taken away, and memory that forgets.

use std::fs;
use std::thread;
use std::time::Instant;

use chaoscontrol::prelude::*;

const MS: Duration = Duration::from_millis(1);

/// Rounds of work that a thread gets done in 200 ms.
fn work() -> u64 {
    let began = Instant::now();
    (1..)
        .take_while(|n| n % 64 != 0 || began.elapsed() < 200 * MS)
        .map(std::hint::black_box)
        .last()
        .unwrap_or(0)
}

#[chaos_test(vms = 1, rounds = 1, branches = 1, faults = [])]
fn slow_cpu(node: Node) -> Result {
    node.setup_complete();
    node.wait_setup(Duration::from_secs(30))?;
    let sound = work();
    node.faults().order("slow cpu vm 0 to 10 %")?;
    let slow = work();
    let share = slow as f64 / sound as f64;
    assert!((0.08..0.12).contains(&share), "{slow} of {sound}");
    node.faults().order("slow cpu vm 0 to 100 %")?;
    let again = work() as f64 / sound as f64;
    assert!((0.95..1.05).contains(&again), "{again}");
    Ok(())
}

/// The longest time in which this thread did not get to look at the clock, within 300 ms.
fn longest_gap() -> Duration {
    let began = Instant::now();
    let (mut last, mut longest) = (began, Duration::ZERO);
    while last < began + 300 * MS {
        let now = Instant::now();
        longest = longest.max(now - last);
        last = now;
    }
    longest
}

#[chaos_test(vms = 1, rounds = 1, branches = 1, faults = [])]
fn preempt(node: Node) -> Result {
    node.setup_complete();
    node.wait_setup(Duration::from_secs(30))?;
    let before = longest_gap();
    assert!(before < 5 * MS, "{before:?}");
    node.faults()
        .order("preempt vm 0 for 20 ms after 1234567 instructions")?;
    let taken = longest_gap();
    assert!((20 * MS..25 * MS).contains(&taken), "{taken:?}");
    node.faults()
        .order("preempt vm 0 for 20 ms after 1234567 instructions")?;
    node.faults().order("preempt vm 0 for 0 ms")?;
    let taken_back = longest_gap();
    assert!(taken_back < 5 * MS, "{taken_back:?}");
    Ok(())
}

/// How much memory is to be had, in bytes.
fn available() -> Result<usize> {
    let info = fs::read_to_string("/proc/meminfo")?;
    let line = info.lines().find(|line| line.starts_with("MemAvailable:"));
    let words = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(words.ok_or("no MemAvailable")?.parse::<usize>()? * 1024)
}

#[chaos_test(vms = 2, rounds = 1, branches = 1, faults = [], memory = "128M", must_finish = true)]
fn bit_flip(node: Node) -> Result {
    const PAGE: [u8; 4096] = [0x55; 4096];
    let pattern = vec![PAGE[0]; available()? / 4 * 3];
    node.setup_complete();
    node.wait_setup(Duration::from_secs(30))?;
    if node.index() == 0 {
        for megabyte in [70u64, 75, 80, 85, 90] {
            let bit = (megabyte << 20) * 8 + 12_345;
            node.faults()
                .order(&format!("memory bit flip vm 0 at {bit}"))?;
        }
    }
    thread::sleep(500 * MS);
    let pages = pattern.chunks(PAGE.len());
    let other = pages.filter(|page| *page != &PAGE[..page.len()]);
    let flipped: Vec<u8> = other
        .flatten()
        .copied()
        .filter(|byte| *byte != PAGE[0])
        .collect();
    if node.index() == 0 {
        assert!((1..=5).contains(&flipped.len()), "{flipped:?}");
        assert!(
            flipped.iter().all(|byte| *byte == PAGE[0] ^ 2),
            "{flipped:?}"
        );
    } else {
        assert!(flipped.is_empty(), "it was another VM's memory");
    }
    Ok(())
}
