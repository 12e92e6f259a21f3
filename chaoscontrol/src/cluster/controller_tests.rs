//! Whole clusters of tiny guests: order, cuts, faults, snapshots.

use super::{ClusterConfig, ClusterEvent, SimulationController, VmStatus};
use crate::machine::testing::beacon_guest;
use crate::machine::{DeterministicVm, VmConfig};

pub(super) const MS: u64 = 1_000_000;

pub(super) fn cluster_of(kernel: Vec<u8>, config: ClusterConfig) -> SimulationController {
    let vm = VmConfig {
        memory_size: 4 << 20,
        kernel: kernel.into(),
        ..VmConfig::default()
    };
    let boot = DeterministicVm::new(vm).unwrap().snapshot();
    SimulationController::new(&boot, config).unwrap()
}

fn cluster(config: ClusterConfig) -> SimulationController {
    cluster_of(beacon_guest(), config)
}

pub(super) fn three() -> SimulationController {
    cluster(ClusterConfig::default())
}

pub(super) fn count(events: &[ClusterEvent], vm: usize) -> usize {
    events.iter().filter(|event| event.vm == vm).count()
}

#[test]
fn events_come_in_order_whatever_the_cuts() {
    let mut whole = three();
    whole.skew(1, 333_333);
    let all = whole.run_until(50 * MS);
    assert!(all.is_sorted_by_key(|e| (e.time, e.vm)));
    assert!(count(&all, 0) > 45 && count(&all, 1) > 60);
    let mut cut = three();
    cut.skew(1, 333_333);
    let mut seen = Vec::new();
    for i in 1..=500 {
        seen.extend(cut.run_until(i * MS / 10));
        if i % 37 == 0 {
            let snapshot = cut.snapshot();
            cut = SimulationController::from_snapshot(&snapshot).unwrap();
        }
    }
    assert_eq!(all, seen);
    assert_eq!(whole.state_hash(), cut.state_hash());
}

#[test]
fn recorded_hashes_do_not_depend_on_jumps() {
    let recorded = || {
        let mut cluster = cluster(ClusterConfig {
            record_hashes: true,
            ..ClusterConfig::default()
        });
        cluster.run_until(10 * MS);
        (cluster.take_hashes(), cluster.vm_hashes())
    };
    let (hashes, last) = recorded();
    assert_eq!(hashes.len(), 10);
    assert_eq!(hashes[9].vms, last);
    assert_eq!(recorded().0, hashes);
    let mut jumping = three();
    jumping.run_until(10 * MS);
    assert_eq!(jumping.vm_hashes(), last);
}

#[test]
fn vms_are_killed_paused_and_restarted() {
    let mut cluster = three();
    cluster.run_until(10 * MS);
    cluster.kill(0);
    cluster.pause(1, Some(5 * MS + 7));
    let events = cluster.run_until(20 * MS);
    assert_eq!(count(&events, 0), 0);
    assert!((4..6).contains(&count(&events, 1)), "{}", count(&events, 1));
    assert_eq!(cluster.slot(0).status, VmStatus::Killed);
    assert_eq!(cluster.slot(1).status, VmStatus::Running);
    cluster.restart(0);
    cluster.pause(2, None);
    let events = cluster.run_until(30 * MS);
    assert_eq!(events[0].incarnation + events[1].incarnation, 1);
    assert_eq!(count(&events, 2), 0);
    assert!(
        cluster.vm(0).local_time() < 11 * MS,
        "its clock starts anew"
    );
    cluster.kill(0);
    cluster.recover();
    let events = cluster.run_until(40 * MS);
    assert!((0..3).all(|vm| count(&events, vm) >= 9));
    assert_eq!(cluster.slot(0).incarnation(), 2);
}

#[test]
fn a_restored_cluster_goes_on_like_the_original() {
    let mut cluster = three();
    cluster.run_until(3 * MS + 1);
    cluster.kill(2);
    cluster.pause(1, Some(4 * MS));
    let snapshot = cluster.snapshot();
    assert!(snapshot.owned_bytes() < 2 << 20);
    let play = |cluster: &mut SimulationController| {
        let mut events = cluster.run_until(9 * MS);
        cluster.restart(2);
        events.extend(cluster.run_until(20 * MS));
        (events, cluster.state_hash())
    };
    let first = play(&mut cluster);
    cluster.restore(&snapshot).unwrap();
    assert_eq!(play(&mut cluster), first);
    let mut fork = SimulationController::from_snapshot(&snapshot).unwrap();
    assert_eq!(play(&mut fork), first);
    fork.restore(&snapshot).unwrap();
    fork.branch(1);
    assert_ne!(play(&mut fork).1, first.1, "another branch, other entropy");
}

#[test]
fn what_a_clog_holds_survives_forks_and_restarts() {
    let mut cluster = three();
    cluster.bandwidth(0, 100_000);
    cluster.corruption(0, 500_000);
    cluster.duplicate(0, 500_000);
    cluster.clog(1);
    let mut frame = super::mac(1).to_vec();
    frame.resize(1000, 0);
    let played = |mut cluster: SimulationController, cut: bool| {
        for _ in 0..20 {
            let now = cluster.now();
            cluster.carry(now, 0, &frame);
            cluster.run_until(now + 2 * MS);
            if cut {
                let snapshot = cluster.snapshot();
                cluster = SimulationController::from_snapshot(&snapshot).unwrap();
            }
        }
        let held = cluster.network_stats().held;
        assert!(held > 20 && cluster.network_stats().delivered == 0);
        cluster.kill(1);
        cluster.restart(1);
        cluster.release(1);
        assert_eq!(cluster.vm(1).waiting_bytes(), 1000 * held);
        assert_eq!(cluster.network_stats().bytes, 1000 * held);
        cluster.run_until(300 * MS);
        (cluster.network_stats().clone(), cluster.state_hash())
    };
    let start = cluster.snapshot();
    let first = played(cluster, false);
    let fork = SimulationController::from_snapshot(&start).unwrap();
    assert_eq!(played(fork, true), first);
    assert!(first.0.corrupted > 0);
}

#[test]
fn impossible_clusters_are_refused() {
    let boot = three().boot;
    for (vms, clients) in [(0, 0), (17, 0), (2, 2)] {
        let config = ClusterConfig {
            vms,
            clients,
            ..ClusterConfig::default()
        };
        assert!(SimulationController::new(&boot, config).is_err());
    }
}
