//! Several machines on one timeline, talking through their kernels' own network stacks.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use chaoscontrol::cluster::{ClusterConfig, boot};
use chaoscontrol::explore::simulation::{Entry, Scenario, Simulation};
use chaoscontrol::fault::FaultSchedule;
use chaoscontrol::machine::VmSnapshot;
use chaoscontrol_tests::{Numbers, machine};

const MS: u64 = 1_000_000;

fn booted() -> VmSnapshot {
    static BOOTED: OnceLock<VmSnapshot> = OnceLock::new();
    let make = || boot(machine(Path::new(env!("CARGO_BIN_EXE_guest")))).unwrap();
    BOOTED.get_or_init(make).clone()
}

fn scenario(test: &str, seed: u64) -> Arc<Scenario> {
    let cluster = ClusterConfig {
        vms: 3,
        seed,
        test: test.into(),
        duration_ns: 2_000 * MS,
        quiet_ns: 1_000 * MS,
        ..ClusterConfig::default()
    };
    Arc::new(Scenario {
        boot: booted(),
        cluster,
        force_setup_ns: 0,
        stall_ns: 0,
        must_finish: false,
        code_map: None,
        check: None,
    })
}

/// A simulation whose setup is complete, about to run `schedule`.
fn ready(test: &str, seed: u64, schedule: &str) -> Simulation {
    let mut simulation = Simulation::new(scenario(test, seed)).unwrap();
    simulation.record();
    simulation.set_up();
    assert!(
        simulation.start_ns().is_some(),
        "{:?}\n{:#?}",
        simulation.failure(),
        simulation.timeline()
    );
    let schedule: FaultSchedule = schedule.parse().unwrap();
    simulation.begin(1, schedule);
    simulation
}

fn texts(timeline: &[Entry], vm: usize, prefix: &str) -> Vec<String> {
    let of_vm = timeline.iter().filter(|entry| entry.at.vm == vm);
    of_vm
        .filter_map(|entry| Some(entry.text.strip_prefix(prefix)?.to_owned()))
        .collect()
}

#[test]
fn three_vms_talk_over_tcp() {
    let mut simulation = ready("ring", 1, "");
    simulation.run_until(u64::MAX);
    assert_eq!(simulation.failure(), None);
    for vm in 0..3 {
        let heard = texts(simulation.timeline(), vm, "heard: ");
        assert!(heard.len() > 100, "vm {vm} heard {} lines", heard.len());
        let counted: Vec<String> = (0..heard.len()).map(|n| n.to_string()).collect();
        assert_eq!(heard, counted, "vm {vm} hears each line once, in order");
    }
}

#[test]
fn a_fork_in_mid_traffic_ends_in_the_originals_hash() {
    const FAULTS: &str = "+200 ms loss vm 0 of 20 %\n+500 ms partition {0} | {1, 2}\n+900 ms heal\n\
        +1 s restart vm 1\n+1.2 s skew vm 2 by 30 %\n+1.3 s pause vm 0 for 200 ms\n+1.4 s reorder vm 1 within 3 ms";
    let mut original = ready("ring", 2, FAULTS);
    let mut numbers = Numbers::new(3);
    let mut checkpoints = Vec::new();
    for _ in 0..8 {
        // Not on a tick's end: anywhere.
        original.run_until(original.now() + numbers.below(400 * MS));
        checkpoints.push(original.checkpoint());
    }
    original.run_until(u64::MAX);
    let end = (
        original.now(),
        original.state_hash(),
        original.tally().clone(),
    );
    assert!(original.network().dropped() > 0);
    for checkpoint in &checkpoints {
        let mut fork = Simulation::new(scenario("ring", 2)).unwrap();
        fork.restore(checkpoint).unwrap();
        fork.run_until(u64::MAX);
        assert_eq!(
            (fork.now(), fork.state_hash(), fork.tally().clone()),
            end,
            "forked at {}",
            checkpoint.time()
        );
    }
    // And in place: back to the middle of what ran already.
    original.restore(&checkpoints[3]).unwrap();
    original.run_until(u64::MAX);
    assert_eq!(
        (
            original.now(),
            original.state_hash(),
            original.tally().clone()
        ),
        end
    );
}

#[test]
fn random_numbers_differ_between_vms_and_incarnations_but_not_between_runs() {
    let run = || {
        let mut simulation = ready("random", 4, "+100 ms restart vm 1");
        simulation.run_until(u64::MAX);
        let all = simulation.timeline();
        let of = |name: &str| {
            (0..3)
                .flat_map(|vm| texts(all, vm, name))
                .collect::<Vec<_>>()
        };
        (of("kernel: "), of("host: "))
    };
    let (kernel, host) = run();
    assert_eq!(
        (kernel.len(), host.len()),
        (4, 4),
        "three VMs, one of them twice: {kernel:?} {host:?}"
    );
    for numbers in [&kernel, &host] {
        assert!(
            (0..4).all(|i| !numbers[i + 1..].contains(&numbers[i])),
            "{numbers:?}"
        );
    }
    assert_eq!(run(), (kernel, host));
}

#[test]
fn faults_hit_guests_that_never_complete_their_setup_if_it_is_forced() {
    let forced = Scenario {
        force_setup_ns: 34_500_000,
        ..(*scenario("silent", 7)).clone()
    };
    let mut simulation = Simulation::new(Arc::new(forced)).unwrap();
    simulation.record();
    simulation.set_up();
    assert_eq!(simulation.start_ns(), Some(34_500_000));
    simulation.begin(1, "+0 s kill vm 0\n+1 s skew vm 1 by 5 %".parse().unwrap());
    simulation.run_until(u64::MAX);
    assert_eq!(simulation.failure(), None);
    let applied: Vec<String> = simulation
        .tally()
        .applied
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        applied[..2],
        ["+0.000 s  kill vm 0", "+1.000 s  clock skew vm 1 by 5 %"]
    );
    assert_eq!(
        texts(simulation.timeline(), 3, "setup complete"),
        [" by force"]
    );
}

#[test]
fn a_fault_at_time_0_is_applied_although_setup_ends_within_a_tick() {
    let mut simulation = ready("ring", 1, "+0 s kill vm 0");
    simulation.run_until(simulation.now() + MS);
    assert_eq!(simulation.tally().faults.values().sum::<u64>(), 1);
}

#[test]
fn what_guests_draw_follows_the_branchs_seed_without_a_restart() {
    for test in ["draws", "draws-busily"] {
        let mut simulation = Simulation::new(scenario(test, 6)).unwrap();
        simulation.set_up();
        let setup = simulation.checkpoint();
        let mut branch = |seed| {
            simulation.restore(&setup).unwrap();
            simulation.record();
            simulation.begin(seed, FaultSchedule::default());
            let begin = simulation.now();
            simulation.run_until(begin + 100 * MS);
            let drawn: Vec<_> = (0..3)
                .flat_map(|vm| texts(simulation.timeline(), vm, "drew: "))
                .collect();
            (drawn, simulation.state_hash())
        };
        let (one, other, again) = (branch(1), branch(2), branch(1));
        assert!(one.0.len() > 20, "{one:?}");
        assert_eq!(one, again);
        assert!(
            one.0.iter().all(|n| !other.0.contains(n)),
            "{one:?} {other:?}"
        );
    }
}

#[test]
fn a_snapshot_costs_what_was_written_since_the_one_before() {
    let mut simulation = ready("idle", 5, "");
    simulation.checkpoint();
    simulation.run_until(simulation.now() + 100 * MS);
    let bytes = simulation.checkpoint().owned_bytes();
    assert!(
        bytes < 4 << 20,
        "{bytes} bytes for three idle VMs and 100 ms"
    );
}
