//! Clocks that run wrong, as a VM with a right one sees them.

use std::thread;

use chaoscontrol::prelude::*;

use crate::server::{Asker, NAP, serve};

const SECOND: Duration = Duration::from_secs(1);

#[chaos_test(vms = 2, clients = 1, rounds = 1, branches = 1, duration = "90s", faults = [])]
fn skew(node: Node) -> Result {
    if node.role() == Role::Server {
        return serve(&node);
    }
    let mut asker = Asker::new(&node)?;
    let mut minute = |faults: &str| -> Result<(f64, f64, f64)> {
        node.faults().order(faults)?;
        let before = asker.answer()?;
        thread::sleep(60 * SECOND);
        let after = asker.answer()?;
        let naps = (after.naps - before.naps) as u32 * NAP;
        let clocks = [
            after.monotonic - before.monotonic,
            after.wall - before.wall,
            naps,
        ];
        let [monotonic, wall, naps] = clocks.map(|d| d.as_secs_f64());
        Ok((monotonic, wall, naps))
    };
    let (monotonic, wall, naps) = minute("clock skew vm 0 by 10 %")?;
    assert!((monotonic - 66.0).abs() < 0.05, "{monotonic}");
    assert!((wall - 66.0).abs() < 0.05, "{wall}");
    // A nap of 100 ms ends with the tick of 10 ms after it.
    assert!((naps - 66.0 * 100.0 / 110.0).abs() < 7.0, "{naps}");
    Ok(())
}

#[chaos_test(vms = 2, clients = 1, rounds = 1, branches = 1, faults = [])]
fn wall_clock_jump(node: Node) -> Result {
    if node.role() == Role::Server {
        return serve(&node);
    }
    let mut asker = Asker::new(&node)?;
    let mut apart = |fault: &str| -> Result<f64> {
        let before = asker.answer()?;
        node.faults().order(fault)?;
        thread::sleep(SECOND);
        let after = asker.answer()?;
        let monotonic = (after.monotonic - before.monotonic).as_secs_f64();
        assert!((monotonic - 1.0).abs() < 0.1, "{monotonic}");
        Ok(after.wall.as_secs_f64() - before.wall.as_secs_f64() - monotonic)
    };
    let forward = apart("wall-clock jump vm 0 by 3600.5 s")?;
    assert!((forward - 3600.5).abs() < 0.1, "{forward}");
    let back = apart("wall-clock jump vm 0 by -7200.25 s")?;
    assert!((back + 7200.25).abs() < 0.1, "{back}");
    Ok(())
}

#[chaos_test(vms = 2, clients = 1, rounds = 1, branches = 1, duration = "30s", faults = [])]
fn stall(node: Node) -> Result {
    if node.role() == Role::Server {
        return serve(&node);
    }
    let mut asker = Asker::new(&node)?;
    let before = asker.answer()?;
    node.faults().order("clock stall vm 0 for 4 s")?;
    let early = asker.send(8)?;
    assert!(asker.receive(3 * SECOND)?.is_none(), "it executes nothing");
    let late = asker.receive(2 * SECOND)?.ok_or("no answer")?;
    assert_eq!(late.number, early, "what came meanwhile waited");
    let monotonic = late.monotonic - before.monotonic;
    let wall = late.wall - before.wall;
    for clock in [monotonic, wall].map(|clock| clock.as_secs_f64()) {
        assert!((clock - 4.0).abs() < 0.1, "its clocks ran on: {clock}");
    }
    assert!(late.naps - before.naps <= 2, "and no thread did");
    node.faults().order("clock stall vm 0 for 3500 ms")?;
    thread::sleep(SECOND);
    node.faults().order("clock stall vm 0 for 0 ms")?;
    let ended = asker.answer()?.monotonic - late.monotonic;
    assert!(ended < 2 * SECOND, "taken back: {ended:?}");
    Ok(())
}

#[chaos_test(vms = 2, clients = 1, rounds = 1, branches = 1, duration = "20s", faults = [])]
fn clock_strobe(node: Node) -> Result {
    if node.role() == Role::Server {
        return serve(&node);
    }
    let mut asker = Asker::new(&node)?;
    let first = asker.answer()?;
    // The server's wall clock against its monotonic one, every 30 ms for a second.
    let mut offsets = || -> Result<Vec<i64>> {
        let mut offsets = Vec::new();
        let mut last = Duration::ZERO;
        for _ in 0..30 {
            let answer = asker.answer()?;
            assert!(answer.monotonic > last);
            last = answer.monotonic;
            let expected = first.wall + (answer.monotonic - first.monotonic);
            let apart = answer.wall.as_millis() as i64 - expected.as_millis() as i64;
            assert!((apart + 1) % 5_000 <= 2, "{apart} ms");
            offsets.push((apart + 1) / 5_000);
            thread::sleep(NAP / 3);
        }
        offsets.dedup();
        Ok(offsets)
    };
    assert_eq!(offsets()?, [0]);
    node.faults()
        .order("clock strobe vm 0 by 5 s every 100 ms")?;
    let swings = offsets()?;
    assert!((6..20).contains(&swings.len()), "{swings:?}");
    node.faults().order("clock strobe vm 0 by 5 s every 1 s")?;
    thread::sleep(SECOND / 2);
    node.faults().order("clock stall vm 0 for 2 s")?;
    thread::sleep(2 * SECOND);
    assert_eq!(
        offsets()?[0],
        1,
        "two swings that were due at once are none"
    );
    node.faults()
        .order("clock strobe vm 0 by 0 s every 100 ms")?;
    thread::sleep(NAP);
    assert_eq!(offsets()?, [0], "its end leaves true time");
    Ok(())
}
