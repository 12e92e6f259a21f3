//! Whatever a fault does is part of the cluster's state: two runs with it are one, and a fork in the
//! middle of its effect goes on as the original.

use std::path::Path;
use std::sync::Arc;

use chaoscontrol::cluster::{ClusterConfig, boot};
use chaoscontrol::explore::simulation::{Checkpoint, Scenario, Simulation};
use chaoscontrol::fault::{FaultKind, FaultSchedule, Shape};
use chaoscontrol::image::disk;
use chaoscontrol::machine::{DiskConfig, VmConfig};
use chaoscontrol::test;
use chaoscontrol_tests::machine;

const MS: u64 = 1_000_000;

/// A fault of this kind with the catalogue's amounts.
fn usual(kind: FaultKind) -> String {
    let target = match kind.info().shape {
        Shape::All => String::new(),
        Shape::Vm => "vm 1".to_owned(),
        Shape::Sides(sign) => format!("{{0}} {sign} {{1, 2}}"),
        Shape::Process => "in vm 1".to_owned(),
    };
    format!("{} {target}", kind.info().words)
}

/// Lets a cluster begin where `base` is, with one fault of this kind soon after.
fn begin(simulation: &mut Simulation, base: &Checkpoint, kind: FaultKind) {
    let schedule = format!("+300 ms {}", usual(kind));
    let schedule: FaultSchedule = schedule.parse().expect("a fault in its own words");
    simulation
        .restore(base)
        .expect("a checkpoint of the same cluster");
    simulation.begin(1, schedule);
}

fn end(simulation: &mut Simulation) -> u64 {
    simulation.run_until(u64::MAX);
    simulation.state_hash()
}

#[test]
fn every_fault_repeats_and_forks_in_the_middle_of_its_effect() {
    let disk = disk::empty(16 << 20, &|line| eprintln!("{line}")).expect("a file system");
    let config = VmConfig {
        disk: Some(DiskConfig::new(disk.image)),
        ..machine(Path::new(env!("CARGO_BIN_EXE_guest")))
    };
    let scenario = Arc::new(Scenario {
        boot: boot(config).expect("a booted machine"),
        cluster: ClusterConfig {
            vms: 3,
            seed: 5,
            test: "ring-with-log".into(),
            duration_ns: 1_000 * MS,
            quiet_ns: 300 * MS,
            ..ClusterConfig::default()
        },
        force_setup_ns: 0,
        stall_ns: 0,
        must_finish: false,
        code_map: None,
        check: None,
    });
    let cluster = || Simulation::new(Arc::clone(&scenario)).expect("a cluster");
    let (mut original, mut fork) = (cluster(), cluster());
    original.set_up();
    assert!(original.start_ns().is_some(), "{:?}", original.failure());
    let base = original.checkpoint();
    for kind in FaultKind::all() {
        begin(&mut original, &base, kind);
        // Between two ticks.
        original.run_until(original.now() + 350 * MS + 12_345);
        if kind == FaultKind::Balloon {
            let given = original.cluster().vm(1).ballooned();
            assert!((1..50 << 20).contains(&given), "{given} is not on the way");
        }
        let middle = original.checkpoint();
        let hash = end(&mut original);
        begin(&mut original, &base, kind);
        assert_eq!(end(&mut original), hash, "{kind} does not repeat");
        fork.restore(&middle)
            .expect("a checkpoint of the same cluster");
        assert_eq!(end(&mut fork), hash, "{kind} is not all in a snapshot");
    }
}
