//! Network faults, as two guests' kernels see them.

use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::Instant;

use chaoscontrol::guest::Faults;
use chaoscontrol::prelude::*;

use crate::server::{Asker, serve};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Runs `look` on the client; VM 0 is the server.
fn watched(node: Node, look: impl FnOnce(&Faults, &mut Asker) -> Result) -> Result {
    if node.role() == Role::Server {
        return serve(&node);
    }
    let mut asker = Asker::new(&node)?;
    look(&node.faults(), &mut asker)
}

#[chaos_test(vms = 2, clients = 1, rounds = 1, branches = 1, faults = [])]
fn partition(node: Node) -> Result {
    watched(node, |faults, asker| {
        faults.order("partition {0} | {1}")?;
        assert!(!asker.reaches()?);
        faults.heal()?;
        assert!(asker.reaches()?);
        Ok(())
    })
}

#[chaos_test(vms = 2, clients = 1, rounds = 1, branches = 1, faults = [])]
fn one_way_partition(node: Node) -> Result {
    watched(node, |faults, asker| {
        let heard = asker.answer()?.heard;
        faults.order("one-way partition {0} -> {1}")?;
        assert!(!asker.reaches()? && !asker.reaches()?);
        faults.heal()?;
        let all = asker.answer()?.heard;
        assert_eq!(all - heard, 3, "the questions went through");
        faults.order("one-way partition {1} -> {0}")?;
        assert!(!asker.reaches()? && !asker.reaches()?);
        faults.heal()?;
        assert_eq!(asker.answer()?.heard - all, 1, "the questions did not");
        Ok(())
    })
}

#[chaos_test(vms = 2, clients = 1, rounds = 1, branches = 1, faults = [])]
fn latency(node: Node) -> Result {
    watched(node, |faults, asker| {
        let before = asker.round_trip()?;
        faults.order("latency vm 0 of 50 ms")?;
        let added = asker.round_trip()? - before;
        assert!((99 * MS..105 * MS).contains(&added), "{added:?}");
        faults.heal()?;
        assert!(asker.round_trip()? > before + 90 * MS, "healing keeps it");
        faults.order("latency vm 0 of 0 ms")?;
        assert!(asker.round_trip()? < before + 5 * MS);
        Ok(())
    })
}

#[chaos_test(vms = 2, clients = 1, rounds = 1, branches = 1, faults = [])]
fn jitter(node: Node) -> Result {
    watched(node, |faults, asker| {
        let before = asker.round_trip()?;
        faults.order("jitter vm 0 of 20 ms")?;
        let mut times = Vec::new();
        for _ in 0..30 {
            times.push(asker.round_trip()?);
        }
        let (least, most) = (times.iter().min(), times.iter().max());
        let (least, most) = (*least.ok_or("none")?, *most.ok_or("none")?);
        assert!(least + 10 * MS < most, "{least:?} to {most:?}");
        assert!(most < before + 45 * MS, "{most:?}");
        Ok(())
    })
}

#[chaos_test(vms = 2, clients = 1, rounds = 1, branches = 1, faults = [])]
fn loss(node: Node) -> Result {
    watched(node, |faults, asker| {
        faults.order("loss vm 0 of 30 %")?;
        for _ in 0..200 {
            asker.send(8)?;
            thread::sleep(MS);
        }
        let mut answers = 0;
        while asker.receive(100 * MS)?.is_some() {
            answers += 1;
        }
        // Each way loses its share: half of the answers are to come.
        assert!((70..130).contains(&answers), "{answers}");
        faults.heal()?;
        let heard = asker.answer()?.heard;
        assert!((120..165).contains(&heard), "{heard}");
        Ok(())
    })
}

#[chaos_test(vms = 2, clients = 1, rounds = 1, branches = 1, faults = [])]
fn reorder(node: Node) -> Result {
    watched(node, |faults, asker| {
        let order = |asker: &mut Asker| -> Result<Vec<u64>> {
            for _ in 0..50 {
                asker.send(8)?;
            }
            let mut numbers = Vec::new();
            while let Some(answer) = asker.receive(100 * MS)? {
                numbers.push(answer.number);
            }
            Ok(numbers)
        };
        let before = order(asker)?;
        assert!(before.is_sorted() && before.len() == 50, "{before:?}");
        faults.order("reorder vm 0 within 10 ms")?;
        let after = order(asker)?;
        assert!(!after.is_sorted(), "{after:?}");
        assert_eq!(after.iter().collect::<BTreeSet<_>>().len(), 50);
        Ok(())
    })
}

#[chaos_test(vms = 2, clients = 1, rounds = 1, branches = 1, faults = [])]
fn heal(node: Node) -> Result {
    watched(node, |faults, asker| {
        let before = asker.round_trip()?;
        faults.order("latency vm 1 of 20 ms")?;
        faults.order("partition {0} | {1}")?;
        faults.order("loss vm 0 of 100 %")?;
        faults.order("jitter vm 0 of 300 ms")?;
        assert!(!asker.reaches()?);
        faults.order("heal")?;
        let after = asker.round_trip()? - before;
        assert!(
            (39 * MS..45 * MS).contains(&after),
            "only latency stays: {after:?}"
        );
        Ok(())
    })
}

#[chaos_test(vms = 2, clients = 1, rounds = 1, branches = 1, faults = [])]
fn bandwidth(node: Node) -> Result {
    watched(node, |faults, asker| {
        let ten = |asker: &mut Asker| -> Result<Duration> {
            let began = Instant::now();
            let mut last = 0;
            for _ in 0..10 {
                last = asker.send(1_000)?;
            }
            while let Some(answer) = asker.receive(2 * SECOND)? {
                if answer.number == last {
                    return Ok(began.elapsed());
                }
            }
            Err("an answer is missing".into())
        };
        let free = ten(asker)?;
        assert!(free < 50 * MS, "{free:?}");
        faults.order("bandwidth vm 0 of 20 kB/s")?;
        // Ten questions of 1042 bytes, and the last answer.
        let narrow = ten(asker)?;
        assert!((520 * MS..560 * MS).contains(&narrow), "{narrow:?}");
        faults.heal()?;
        assert!(ten(asker)? < 50 * MS);
        // What does not fit into the queue is dropped.
        faults.order("bandwidth vm 0 of 100 kB/s")?;
        let heard = asker.answer()?.heard;
        for _ in 0..400 {
            asker.send(1_400)?;
        }
        thread::sleep(5 * SECOND);
        faults.heal()?;
        let passed = asker.answer()?.heard - heard;
        assert!((150..390).contains(&passed), "{passed}");
        Ok(())
    })
}

/// How many datagrams this VM's kernel dropped for their checksum.
fn bad_checksums() -> Result<u64> {
    let all = fs::read_to_string("/proc/net/snmp")?;
    let mut rows = all.lines().filter(|line| line.starts_with("Udp:"));
    let (names, values) = (rows.next().ok_or("no UDP")?, rows.next().ok_or("no UDP")?);
    let mut pairs = names.split(' ').zip(values.split(' '));
    let (_, count) = pairs
        .find(|(name, _)| *name == "InCsumErrors")
        .ok_or("no count of bad checksums")?;
    Ok(count.parse()?)
}

#[chaos_test(vms = 2, clients = 1, rounds = 1, branches = 1, faults = [])]
fn corruption(node: Node) -> Result {
    watched(node, |faults, asker| {
        let first = asker.answer()?;
        faults.order("corruption vm 0 of 50 %")?;
        for _ in 0..200 {
            asker.send(500)?;
            thread::sleep(MS);
        }
        let mut answers = 0;
        while let Some(answer) = asker.receive(100 * MS)? {
            let asked = first.number + 1..=first.number + 200;
            assert!(asked.contains(&answer.number), "{}", answer.number);
            answers += 1;
        }
        assert!((25..85).contains(&answers), "{answers}");
        let seen = bad_checksums()?;
        assert!((15..80).contains(&seen), "{seen}");
        faults.heal()?;
        let heard = asker.answer()?.heard - first.heard;
        assert!((70..135).contains(&heard), "{heard}");
        assert_eq!(bad_checksums()?, seen);
        Ok(())
    })
}

#[chaos_test(vms = 2, clients = 1, rounds = 1, branches = 1, faults = [])]
fn duplicate(node: Node) -> Result {
    watched(node, |faults, asker| {
        let before = asker.answer()?;
        faults.order("duplicate vm 0 of 100 %")?;
        asker.send(8)?;
        let mut answers = 0;
        while asker.receive(100 * MS)?.is_some() {
            answers += 1;
        }
        assert_eq!(answers, 4, "two of each of two answers");
        faults.heal()?;
        assert_eq!(asker.answer()?.heard - before.heard, 3);
        Ok(())
    })
}

/// Lets a clog of the server hold 50 questions, and `end` end it.
fn clogged(faults: &Faults, asker: &mut Asker, end: &str) -> Result {
    let before = asker.answer()?;
    faults.order("clog vm 0")?;
    let mut asked = Vec::new();
    for _ in 0..50 {
        asked.push(asker.send(8)?);
        thread::sleep(10 * MS);
    }
    assert!(asker.receive(SECOND)?.is_none());
    faults.order(end)?;
    let mut answered = Vec::new();
    while let Some(answer) = asker.receive(100 * MS)? {
        let late = answer.monotonic - before.monotonic;
        assert!(late > SECOND + 500 * MS, "{late:?}");
        answered.push(answer.number);
    }
    assert_eq!(answered, asked, "complete, and in order");
    Ok(())
}

#[chaos_test(vms = 2, clients = 1, rounds = 1, branches = 1, faults = [])]
fn clog(node: Node) -> Result {
    watched(node, |faults, asker| clogged(faults, asker, "heal"))
}

#[chaos_test(vms = 2, clients = 1, rounds = 1, branches = 1, faults = [])]
fn release(node: Node) -> Result {
    watched(node, |faults, asker| {
        clogged(faults, asker, "release vm 0")?;
        assert!(asker.reaches()?, "nothing is held any more");
        Ok(())
    })
}
