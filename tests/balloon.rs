//! Memory that the host takes back from a guest and gives it again.

use std::path::Path;

use chaoscontrol::cluster::{ClusterConfig, EventKind, SimulationController, boot};
use chaoscontrol::guest::protocol::{Message, Signal};
use chaoscontrol::machine::VmConfig;
use chaoscontrol_tests::machine;

const MS: u64 = 1_000_000;
const MIB: u64 = 1 << 20;

/// A machine with little free memory that nobody has ever written to.
fn used() -> SimulationController {
    let config = VmConfig {
        memory_size: 68 * MIB,
        ..machine(Path::new(env!("CARGO_BIN_EXE_guest")))
    };
    let booted = boot(config).unwrap();
    let config = ClusterConfig {
        vms: 1,
        test: "hungry".into(),
        ..ClusterConfig::default()
    };
    let mut cluster = SimulationController::new(&booted, config).unwrap();
    let is_fed = |kind: &EventKind| match kind {
        EventKind::Message(bytes) => {
            matches!(Message::decode(bytes), Ok(Message::Event { name, .. }) if name == "fed")
        }
        _ => false,
    };
    while !cluster.run_tick().iter().any(|event| is_fed(&event.kind)) {
        assert!(cluster.now() < 10_000 * MS, "it takes its fill and says so");
    }
    // It gives back what it had.
    cluster.run_until(cluster.now() + 15 * MS);
    cluster.signal(0, "", Signal::Stop);
    cluster.run_until(cluster.now() + 10 * MS);
    cluster
}

fn run(cluster: &mut SimulationController, ms: u64) {
    cluster.run_until(cluster.now() + ms * MS);
}

#[test]
fn what_the_balloon_holds_is_in_no_snapshot() {
    let mut cluster = used();
    let before = cluster.vm_mut(0).snapshot().used_bytes();
    assert_eq!(cluster.vm(0).ballooned(), 0);
    cluster.balloon(0, 40 * MIB);
    run(&mut cluster, 40);
    let some = cluster.vm(0).ballooned();
    assert!((MIB..40 * MIB).contains(&some), "{some}");
    run(&mut cluster, 500);
    assert_eq!(cluster.vm(0).ballooned(), 40 * MIB);
    let saved = before.saturating_sub(cluster.vm_mut(0).snapshot().used_bytes());
    assert!((30 * MIB..=40 * MIB).contains(&saved), "{before} {saved}");
    cluster.balloon(0, 20 * MIB + 1);
    run(&mut cluster, 500);
    assert_eq!(cluster.vm(0).ballooned(), 20 * MIB);
    cluster.balloon(0, 0);
    run(&mut cluster, 500);
    assert_eq!(cluster.vm(0).ballooned(), 0);
    assert!(cluster.vm(0).off().is_none());
}

#[test]
fn a_power_cut_empties_it() {
    let mut cluster = used();
    cluster.balloon(0, 30 * MIB);
    run(&mut cluster, 300);
    assert_eq!(cluster.vm(0).ballooned(), 30 * MIB);
    cluster.kill(0);
    cluster.balloon(0, 20 * MIB);
    cluster.restart(0);
    assert_eq!(cluster.vm(0).ballooned(), 0);
    run(&mut cluster, 300);
    assert_eq!(cluster.vm(0).ballooned(), 0, "it was off when it was asked");
    cluster.balloon(0, 20 * MIB);
    run(&mut cluster, 300);
    assert_eq!(cluster.vm(0).ballooned(), 20 * MIB);
}
