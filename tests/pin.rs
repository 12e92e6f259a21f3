//! Workers that are kept on cores of their own: they sit there, and compute the same.

mod case;

use std::collections::BTreeSet;
use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use case::Case;

/// Cores that all of this process's children may fill.
fn cores() -> usize {
    thread::available_parallelism().map_or(1, |n| n.get())
}

/// The cores of each worker of a process, as the kernel lists them.
fn workers(process: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let tasks = tasks.flatten().map(|task| task.path());
    let is_worker = |name: String| name.starts_with("chaos-worker-");
    tasks
        .filter(|task| fs::read_to_string(task.join("comm")).is_ok_and(is_worker))
        .filter_map(|task| {
            let status = fs::read_to_string(task.join("status")).ok()?;
            let list = status
                .lines()
                .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
            Some(list.trim().to_owned())
        })
        .collect()
}

/// The cores of the workers of an exploration on all cores, once they are `as_wanted`, or
/// what they still are after a minute.
fn seen(pin: &str, as_wanted: impl Fn(&[String]) -> bool) -> Vec<String> {
    let case = Case::new("explores_for_days", "pinned");
    let mut command = case.command();
    // Locks of its own, so that no other test holds a core.
    command.env("TMPDIR", &case.folder).env("CHAOS_PIN", pin);
    command.env("CHAOS_WORKERS", cores().to_string());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let began = Instant::now();
    let mut found = Vec::new();
    while !as_wanted(&found) && began.elapsed() < Duration::from_secs(60) {
        assert_eq!(child.try_wait().unwrap(), None, "it ended early");
        thread::sleep(Duration::from_millis(20));
        found = workers(child.id());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    found
}

#[test]
fn each_worker_sits_on_a_core_of_its_own_if_that_is_wanted() {
    let is_one = |list: &String| list.parse::<usize>().is_ok();
    let found = seen("1", |found| {
        found.len() == cores() && found.iter().all(is_one)
    });
    let different: BTreeSet<&String> = found.iter().collect();
    assert_eq!(
        (found.len(), different.len()),
        (cores(), cores()),
        "{found:?}"
    );
    assert!(found.iter().all(is_one), "{found:?}");
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let free = seen("0", |found| found.len() == cores());
    let own = |list: &String| status.contains(&format!("Cpus_allowed_list:\t{list}\n"));
    assert!(free.iter().all(own), "{free:?}");
}

#[test]
fn pinned_workers_find_the_same() {
    let summary = |pin: &str| {
        let case = Case::new("explores_for_days", "same");
        let folder = case.folder.display().to_string();
        let workers = cores().to_string();
        let (status, said) = case.run(&[
            ("TMPDIR", folder.as_str()),
            ("CHAOS_PIN", pin),
            ("CHAOS_WORKERS", workers.as_str()),
            ("CHAOS_ROUNDS", "3"),
            ("CHAOS_BRANCHES", "4"),
            ("CHAOS_VMS", "2"),
        ]);
        assert_eq!(status, 0, "{said}");
        let lines = said
            .lines()
            .skip_while(|line| !line.contains(" branches in "));
        let mut lines: Vec<String> = lines.map(str::to_owned).collect();
        // The first line begins with what it took of the host's time.
        lines[0] = lines[0].split_once("/s), ").unwrap().1.to_owned();
        lines.truncate(4);
        lines
    };
    let pinned = summary("1");
    assert_eq!(pinned, summary("0"));
    assert!(pinned[0].contains(" edges, seed "), "{pinned:?}");
}

#[test]
fn more_workers_than_cores_cannot_be_pinned() {
    let case = Case::new("passes", "crowded");
    let workers = (cores() + 1).to_string();
    let environment = [("CHAOS_PIN", "true"), ("CHAOS_WORKERS", workers.as_str())];
    let wanted = format!(
        "pin = true wants a core for each worker, and {workers} workers may run on {} core",
        cores()
    );
    case.fails_with(&environment, &wanted);
    case.fails_with(
        &[("CHAOS_PIN", "perhaps")],
        "CHAOS_PIN is `perhaps`, and must be true or false",
    );
}
