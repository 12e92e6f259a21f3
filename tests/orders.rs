//! What an agent does to its own VM, by order of the cluster and as the guest sees it.

use std::path::Path;
use std::sync::OnceLock;

use chaoscontrol::cluster::{ClusterConfig, EventKind, SimulationController, boot};
use chaoscontrol::guest::protocol::{Message, Signal};
use chaoscontrol::machine::VmSnapshot;
use chaoscontrol_tests::machine;

const MS: u64 = 1_000_000;

/// Two VMs that run `test`; orders go to VM 0, and VM 1 shows what is so without them.
fn cluster(test: &str) -> SimulationController {
    static BOOTED: OnceLock<VmSnapshot> = OnceLock::new();
    let make = || boot(machine(Path::new(env!("CARGO_BIN_EXE_guest")))).unwrap();
    let config = ClusterConfig {
        vms: 2,
        test: test.into(),
        ..ClusterConfig::default()
    };
    SimulationController::new(BOOTED.get_or_init(make), config).unwrap()
}

/// What VM `vm` tells in the next `ms` virtual ms.
fn told(cluster: &mut SimulationController, vm: usize, ms: u64) -> Vec<String> {
    let until = cluster.now() + ms * MS;
    let events = cluster.run_until(until).into_iter();
    let of_vm = events.filter(|event| event.vm == vm);
    of_vm
        .map(|event| match event.kind {
            EventKind::Order(report) => report.to_string(),
            EventKind::Message(bytes) => match Message::decode(&bytes).unwrap() {
                Message::Event { name, details } => format!("{name} {details}"),
                message => format!("{message:?}"),
            },
            other => format!("{other:?}"),
        })
        .collect()
}

/// How many of `told` begin with `prefix`.
fn count(told: &[String], prefix: &str) -> usize {
    told.iter().filter(|text| text.starts_with(prefix)).count()
}

/// The numbers behind `prefix`, by line.
fn numbers(told: &[String], prefix: &str) -> Vec<Vec<i64>> {
    told.iter()
        .filter_map(|text| text.strip_prefix(prefix))
        .map(|text| {
            text.split_whitespace()
                .map(|n| n.parse().unwrap())
                .collect()
        })
        .collect()
}

/// Milliseconds from an order to the effect that `told` tells of.
#[track_caller]
fn took_effect(told: &[String], order: &str) -> f64 {
    let begin = format!("{order} in vm 0 took effect ");
    let found = told.iter().find_map(|text| text.strip_prefix(&begin));
    let found = found.unwrap_or_else(|| panic!("no {begin:?} in {told:#?}"));
    found.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_stopped_process_tells_nothing_and_goes_on_where_it_was() {
    let mut cluster = cluster("beats");
    let before = told(&mut cluster, 0, 500);
    cluster.signal(0, "", Signal::Stop);
    let stopped = told(&mut cluster, 0, 1000);
    assert!(took_effect(&stopped, "stop of the body's process") < 1.0);
    assert_eq!(
        stopped.len() - count(&stopped, "Control"),
        1,
        "both threads stand still: {stopped:#?}"
    );
    cluster.signal(0, "", Signal::Continue);
    let after = told(&mut cluster, 0, 500);
    took_effect(&after, "continuation of the body's process");
    for thread in ["first ", "second "] {
        let (before, after) = (numbers(&before, thread), numbers(&after, thread));
        let (last, next) = (before.last().unwrap(), &after[0]);
        assert_eq!(next[0], last[0] + 1);
        assert!(next[1] >= last[1] + 1000, "its clocks went on");
    }
}

#[test]
fn a_killed_body_starts_again_with_its_files_and_another_incarnation() {
    let mut cluster = cluster("beats");
    assert_eq!(numbers(&told(&mut cluster, 0, 300), "life "), [[1, 0]]);
    for life in 1..=2 {
        cluster.signal(0, "", Signal::Kill);
        let after = told(&mut cluster, 0, 50);
        assert_eq!(count(&after, "BodyEnd { end: Killed }"), 1, "{after:#?}");
        assert_eq!(count(&after, "first"), 0);
        let after = told(&mut cluster, 0, 300);
        assert_eq!(numbers(&after, "life "), [[life + 1, life]], "{after:#?}");
        assert!(count(&after, "first") > 10);
    }
    cluster.restart(0);
    let after = told(&mut cluster, 0, 300);
    assert_eq!(
        numbers(&after, "life "),
        [[1, 3]],
        "a power cut is none of these"
    );
}

#[test]
fn processes_are_told_apart_by_the_whole_of_their_names() {
    let mut cluster = cluster("family");
    let all = told(&mut cluster, 0, 300);
    assert!(
        ["parent", "child 1", "child 2"]
            .iter()
            .all(|who| count(&all, who) > 10),
        "{all:#?}"
    );
    cluster.signal(0, "consistent-hasher-1", Signal::Stop);
    told(&mut cluster, 0, 10);
    let one = told(&mut cluster, 0, 300);
    assert_eq!(count(&one, "child 1"), 0);
    assert!(count(&one, "child 2") > 10 && count(&one, "parent") > 10);
    cluster.signal(0, "consistent-hasher-1", Signal::Continue);
    cluster.signal(0, "consistent-hasher-2", Signal::Kill);
    told(&mut cluster, 0, 10);
    let other = told(&mut cluster, 0, 300);
    assert_eq!(count(&other, "child 2"), 0);
    assert!(count(&other, "child 1") > 10 && count(&other, "parent") > 10);
    assert_eq!(count(&other, "BodyEnd"), 0);
    cluster.signal(0, "consistent-hasher-3", Signal::Kill);
    let none = told(&mut cluster, 0, 10);
    assert_eq!(
        count(&none, "kill of process consistent-hasher-3 in vm 0 failed"),
        1
    );
    assert!(
        none.iter()
            .any(|text| text.ends_with(": there is no such process"))
    );
}

#[test]
fn what_a_body_had_started_ends_with_it() {
    let mut cluster = cluster("family");
    assert!(count(&told(&mut cluster, 0, 300), "child") > 20);
    cluster.signal(0, "", Signal::Kill);
    told(&mut cluster, 0, 10);
    assert_eq!(count(&told(&mut cluster, 0, 80), "child"), 0);
}

#[test]
fn under_memory_pressure_the_body_is_what_the_oom_killer_takes() {
    let mut cluster = cluster("hungry");
    assert!(count(&told(&mut cluster, 0, 2000), "fed") > 1);
    // When the body has given back what it had, what it will take again is available.
    while count(&told(&mut cluster, 0, 1), "fed") == 0 {}
    told(&mut cluster, 0, 50);
    cluster.memory_pressure(0, 950_000);
    let pressed = told(&mut cluster, 0, 3000);
    let reached = took_effect(&pressed, "memory pressure of 95 %");
    assert!((1.0..2000.0).contains(&reached), "{reached}");
    assert!(
        count(&pressed, "BodyEnd { end: Killed }") > 0,
        "{pressed:#?}"
    );
    assert_eq!(count(&pressed, "BodyEnd { end: Signal"), 0);
    cluster.memory_pressure(0, 0);
    let after = told(&mut cluster, 0, 2000);
    assert!(took_effect(&after, "end of memory pressure") < 200.0);
    assert!(count(&after, "fed") > 1, "{after:#?}");
    // All of it, for as long as it takes: the kernel does not panic.
    cluster.memory_pressure(0, 1_000_000);
    let all = told(&mut cluster, 0, 3000);
    cluster.memory_pressure(0, 0);
    let after = told(&mut cluster, 0, 2000);
    assert!(count(&after, "fed") > 1, "{all:#?} {after:#?}");
}

#[test]
fn orders_that_come_to_nothing_say_why() {
    let mut cluster = cluster("beats");
    told(&mut cluster, 0, 100);
    for ppm in [100_000, 200_000, 300_000] {
        cluster.memory_pressure(0, ppm);
    }
    let all = told(&mut cluster, 0, 500);
    took_effect(&all, "memory pressure of 30 %");
    let one = |all: &[String], begin: &str, why: &str| {
        let said = |text: &&String| text.starts_with(begin) && text.ends_with(why);
        assert_eq!(all.iter().filter(said).count(), 1, "{all:#?}");
    };
    let passed_over = "another order came before it was carried out";
    one(&all, "memory pressure of 20 % in vm 0 failed", passed_over);
    cluster.signal(0, "", Signal::Kill);
    let all = told(&mut cluster, 0, 100);
    assert_eq!(count(&all, "memory pressure"), 0, "it stays: {all:#?}");
    cluster.signal(0, "chaos-memory", Signal::Kill);
    let all = told(&mut cluster, 0, 100);
    let ended = "memory pressure of 30 % in vm 0 ended by itself";
    one(&all, ended, "the guest's memory did not suffice");
    cluster.memory_pressure(0, 1_500_000);
    let all = told(&mut cluster, 0, 100);
    let impossible = "memory pressure of 150 % in vm 0 failed";
    one(&all, impossible, "does not take such a value");
}

#[test]
fn a_full_disk_has_no_space_until_it_is_given_back() {
    let mut cluster = cluster("writes");
    let before = told(&mut cluster, 0, 300);
    assert!(count(&before, "wrote") > 10 && count(&before, "full") == 0);
    for _ in 0..2 {
        cluster.fill_disk(0, true);
        took_effect(&told(&mut cluster, 0, 100), "full disk");
        let full = told(&mut cluster, 0, 300);
        assert!(
            count(&full, "full") > 10 && count(&full, "wrote") == 0,
            "{full:#?}"
        );
        cluster.fill_disk(0, false);
        took_effect(&told(&mut cluster, 0, 100), "end of full disk");
        let after = told(&mut cluster, 0, 300);
        assert!(
            count(&after, "wrote") > 10 && count(&after, "full") == 0,
            "{after:#?}"
        );
    }
}

#[test]
fn a_strobed_wall_clock_goes_to_and_fro_while_monotonic_time_does_not() {
    let mut cluster = cluster("beats");
    let offsets = |told: &[String]| -> Vec<i64> {
        let lines = numbers(told, "first ");
        assert!(lines.is_sorted_by(|a, b| a[1] < b[1]), "{lines:?}");
        // Wall time less monotonic time, in units of the offset.
        let date = 1_735_689_600_000;
        let offsets = lines.iter().map(|line| (line[2] - line[1] - date) / 5_000);
        let mut offsets: Vec<i64> = offsets.collect();
        offsets.dedup();
        offsets
    };
    assert_eq!(offsets(&told(&mut cluster, 0, 300)), [0]);
    cluster.strobe(0, 5_000_000_000, 50 * MS);
    let strobed = told(&mut cluster, 0, 975);
    assert!(took_effect(&strobed, "clock strobe by 5000 ms every 50 ms") < 1.0);
    let swings = offsets(&strobed);
    assert!((18..=20).contains(&swings.len()), "{swings:?}");
    assert!(swings.iter().all(|&swing| swing == 0 || swing == 1));
    cluster.strobe(0, 0, 0);
    told(&mut cluster, 0, 10);
    assert_eq!(offsets(&told(&mut cluster, 0, 300)), [0]);
    cluster.strobe(0, 5_000_000_000, 10);
    let refused = told(&mut cluster, 0, 10);
    assert!(
        refused
            .iter()
            .any(|text| text.contains("does not take such a value")),
        "{refused:#?}"
    );
}

#[test]
fn a_power_cut_ends_what_the_agent_did_and_loses_what_it_was_to_do() {
    let mut cluster = cluster("writes");
    told(&mut cluster, 0, 100);
    cluster.fill_disk(0, true);
    told(&mut cluster, 0, 100);
    cluster.memory_pressure(0, 900_000);
    told(&mut cluster, 0, 2);
    cluster.restart(0);
    let after = told(&mut cluster, 0, 300);
    assert!(
        count(&after, "wrote") > 5 && count(&after, "full") == 0,
        "{after:#?}"
    );
    let lost = "memory pressure of 90 % in vm 0 never took effect: the vm has no power";
    assert_eq!(count(&after, lost), 1, "{after:#?}");
    cluster.kill(0);
    cluster.signal(0, "", Signal::Kill);
    assert_eq!(
        count(
            &told(&mut cluster, 0, 2),
            "kill of the body's process in vm 0 never"
        ),
        1
    );
}

#[test]
fn a_fork_in_the_midst_of_what_agents_do_goes_on_like_the_original() {
    let order = |cluster: &mut SimulationController| {
        cluster.memory_pressure(0, 500_000);
        cluster.fill_disk(0, true);
        cluster.strobe(0, 1_000_000_000, 7 * MS);
        cluster.signal(0, "", Signal::Kill);
    };
    let mut original = cluster("beats");
    original.run_until(300 * MS);
    order(&mut original);
    let snapshots: Vec<_> = [300_100_000, 317 * MS, 399 * MS, 555_500_000]
        .map(|time| {
            original.run_until(time);
            original.snapshot()
        })
        .into();
    original.run_until(900 * MS);
    let end = original.state_hash();
    for snapshot in snapshots {
        let mut fork = SimulationController::from_snapshot(&snapshot).unwrap();
        fork.run_until(900 * MS);
        assert_eq!(fork.state_hash(), end, "forked at {}", snapshot.time());
    }
    let mut again = cluster("beats");
    again.run_until(300 * MS);
    order(&mut again);
    again.run_until(900 * MS);
    assert_eq!(again.state_hash(), end);
}
