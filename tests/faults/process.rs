//! Machines that come and go.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::thread;

use chaoscontrol::fault::FaultSchedule;
use chaoscontrol::prelude::*;

use crate::server::{Asker, serve};

const SECOND: Duration = Duration::from_secs(1);

#[chaos_test(vms = 2, clients = 1, rounds = 1, branches = 1, faults = [], quiet = "2s")]
fn kill(node: Node) -> Result {
    if node.role() == Role::Server {
        return serve(&node);
    }
    let mut asker = Asker::new(&node)?;
    node.faults().order("kill vm 0")?;
    assert!(!asker.reaches()? && !asker.reaches()?);
    node.wait_quiet();
    let after = asker.answer()?;
    assert_eq!(after.incarnation, 1, "started again when faults end");
    Ok(())
}

#[chaos_test(vms = 2, clients = 1, rounds = 1, branches = 1, faults = [])]
fn restart(node: Node) -> Result {
    if node.role() == Role::Server {
        return serve(&node);
    }
    let mut asker = Asker::new(&node)?;
    thread::sleep(2 * SECOND);
    let before = asker.answer()?;
    node.faults().order("restart vm 0")?;
    let after = asker.answer()?;
    assert_eq!((before.incarnation, after.incarnation), (0, 1));
    assert!(after.monotonic < before.monotonic, "it began anew");
    assert!(after.wall > before.wall, "with the right date");
    node.faults().order("kill vm 0")?;
    assert!(!asker.reaches()?);
    node.faults().order("restart vm 0")?;
    assert_eq!(asker.answer()?.incarnation, 2);
    Ok(())
}

#[chaos_test(vms = 2, clients = 1, rounds = 1, branches = 1, faults = [])]
fn pause(node: Node) -> Result {
    if node.role() == Role::Server {
        return serve(&node);
    }
    let mut asker = Asker::new(&node)?;
    let before = asker.answer()?;
    node.faults().order("pause vm 0 for 3 s")?;
    assert!(!asker.reaches()? && !asker.reaches()?);
    thread::sleep(2 * SECOND);
    let after = asker.answer()?;
    let aged = after.monotonic - before.monotonic;
    assert!(aged < 2 * SECOND, "its clock stood still with it: {aged:?}");
    assert_eq!(after.heard - before.heard, 3, "what came meanwhile waited");
    Ok(())
}

#[chaos_test(vms = 2, clients = 1, rounds = 1, branches = 1, faults = [])]
fn resume(node: Node) -> Result {
    if node.role() == Role::Server {
        return serve(&node);
    }
    let mut asker = Asker::new(&node)?;
    node.faults().order("pause vm 0")?;
    assert!(!asker.reaches()? && !asker.reaches()? && !asker.reaches()?);
    node.faults().order("resume vm 0")?;
    assert!(asker.reaches()?);
    Ok(())
}

#[chaos_test(vms = 2, clients = 1, rounds = 1, branches = 1, faults = [])]
fn kill_process(node: Node) -> Result {
    let kept = node.data_dir().join("kept");
    if node.role() == Role::Server {
        let lives = fs::read(&kept).unwrap_or_default().len();
        assert_eq!(lives, node.incarnation() as usize, "its files are there");
        fs::write(&kept, vec![0; lives + 1])?;
        return serve(&node);
    }
    let mut asker = Asker::new(&node)?;
    thread::sleep(SECOND);
    let before = asker.answer()?;
    for life in 1..=2 {
        node.faults().order("kill process in vm 0")?;
        let after = asker.answer()?;
        assert_eq!(after.incarnation, life);
        assert!(after.monotonic < before.monotonic, "a new process");
        assert!(after.wall > before.wall);
    }
    Ok(())
}

fn kill_of_a_program() -> FaultSchedule {
    "+1 s kill process sleep in vm 0".parse().unwrap()
}

/// The end of a program that nobody had allowed to fail is a failure, unless a fault ended it.
#[chaos_test(vms = 1, binaries = ["/bin/sleep", "/usr/bin/tail"], schedule = kill_of_a_program, duration = "2s", quiet = "1s", must_finish = true)]
fn kill_process_of_a_program(node: Node) -> Result {
    let mut hit = node.command("sleep").arg("100").spawn()?;
    let mut other = node.command("tail").args(["-f", "/dev/null"]).spawn()?;
    node.setup_complete();
    node.wait_setup(SECOND)?;
    thread::sleep(SECOND * 9 / 10);
    assert_eq!(hit.try_wait()?, None);
    assert_eq!(hit.wait()?.signal(), Some(libc::SIGKILL));
    assert_eq!((other.try_wait()?, node.incarnation()), (None, 0));
    Ok(())
}

#[chaos_test(vms = 2, clients = 1, rounds = 1, branches = 1, faults = [])]
fn stop_process(node: Node) -> Result {
    if node.role() == Role::Server {
        return serve(&node);
    }
    let mut asker = Asker::new(&node)?;
    let before = asker.answer()?;
    node.faults().order("stop process in vm 0 for 3 s")?;
    assert!(!asker.reaches()? && !asker.reaches()?);
    thread::sleep(2 * SECOND);
    let after = asker.answer()?;
    let aged = after.monotonic - before.monotonic;
    assert!(aged > 3 * SECOND, "the machine's clocks went on: {aged:?}");
    assert!(after.naps - before.naps < 20, "all threads stood still");
    assert_eq!(after.incarnation, 0);
    assert_eq!(after.heard - before.heard, 3, "what came meanwhile waited");
    Ok(())
}

#[chaos_test(vms = 2, clients = 1, rounds = 1, branches = 1, faults = [])]
fn continue_process(node: Node) -> Result {
    if node.role() == Role::Server {
        return serve(&node);
    }
    let mut asker = Asker::new(&node)?;
    node.faults().order("stop process in vm 0")?;
    assert!(!asker.reaches()? && !asker.reaches()? && !asker.reaches()?);
    node.faults().order("continue process in vm 0")?;
    assert!(asker.reaches()?);
    Ok(())
}
