//! Disks over kills, restarts, snapshots and branches.

use super::{ClusterConfig, SimulationController, VmStatus};
use crate::machine::testing::disk_guest;
use crate::machine::{DeterministicVm, DiskConfig, DiskFaults, DiskImage, VmConfig};

const MS: u64 = 1_000_000;

fn cluster_that_halts_after(writes: u32) -> SimulationController {
    let vm = VmConfig {
        memory_size: 4 << 20,
        kernel: disk_guest(writes).into(),
        disk: Some(DiskConfig::new(DiskImage::zeroed(1 << 20).unwrap())),
        ..VmConfig::default()
    };
    let boot = DeterministicVm::new(vm).unwrap().snapshot();
    SimulationController::new(&boot, ClusterConfig::default()).unwrap()
}

fn three() -> SimulationController {
    cluster_that_halts_after(u32::MAX)
}

fn contents(cluster: &SimulationController, vm: usize) -> &DiskImage {
    cluster.disk(vm).unwrap().contents().current()
}

fn writes(cluster: &SimulationController, vm: usize) -> u64 {
    cluster.disk(vm).unwrap().stats().writes
}

#[test]
fn a_killed_vms_disk_is_as_the_cut_left_it_when_it_restarts() {
    let mut cluster = three();
    cluster.run_until(10 * MS);
    let before = contents(&cluster, 0).clone();
    cluster.kill(0);
    let left = contents(&cluster, 0).clone();
    assert_ne!(left, before, "something is lost, with this seed");
    cluster.kill(0);
    cluster.run_until(20 * MS);
    assert_eq!(contents(&cluster, 0), &left);
    let stats = cluster.disk(0).unwrap().stats();
    assert_eq!(stats.power_cuts, 1, "there was no power to cut");
    cluster.restart(0);
    assert_eq!(contents(&cluster, 0), &left);
    assert_eq!(cluster.disk(0).unwrap().contents().unflushed(), 0);
    let before = writes(&cluster, 0);
    cluster.run_until(30 * MS);
    assert!(writes(&cluster, 0) > before + 100, "its queue is a new one");
    cluster.restart(0);
    assert_eq!(cluster.disk(0).unwrap().stats().power_cuts, 2);
}

#[test]
fn cuts_differ_between_vms_lives_and_branches() {
    let cut = |vm: usize, branch: u64, life: usize| {
        let mut cluster = three();
        cluster.run_until(5 * MS);
        cluster.branch(branch);
        for _ in 0..life {
            // A new life begins with an empty disk.
            cluster.vms[vm].disk_mut().unwrap().lose_unflushed();
            cluster.restart(vm);
        }
        cluster.run_until(15 * MS);
        cluster.kill(vm);
        contents(&cluster, vm).clone()
    };
    let all = [cut(0, 1, 0), cut(1, 1, 0), cut(0, 2, 0), cut(0, 1, 1)];
    for (i, one) in all.iter().enumerate() {
        assert!(!all[i + 1..].contains(one), "{all:?}");
    }
    assert_eq!(cut(0, 2, 0), all[2]);
}

#[test]
fn a_drive_keeps_power_when_its_vm_goes_off_by_itself() {
    let mut cluster = cluster_that_halts_after(5);
    cluster.run_until(10 * MS);
    assert_eq!(cluster.slot(1).status, VmStatus::Halted);
    let before = contents(&cluster, 1).clone();
    cluster.restart(1);
    assert_eq!(contents(&cluster, 1), &before);
    assert_eq!(cluster.disk(1).unwrap().contents().unflushed(), 5);
    assert_eq!(cluster.disk(1).unwrap().stats().power_cuts, 0);
    // Unless its power is cut after all.
    cluster.kill(2);
    assert_eq!(cluster.disk(2).unwrap().contents().unflushed(), 0);
}

#[test]
fn a_fork_in_mid_request_or_without_power_goes_on_as_the_original() {
    let mut cluster = three();
    cluster.disk_corruption(1, 300_000);
    cluster.disk_slow(2, 77_777);
    let play = |cluster: &mut SimulationController| {
        cluster.run_until(20 * MS);
        cluster.restart(0);
        cluster.kill(1);
        cluster.run_until(31 * MS + 3);
        (cluster.state_hash(), contents(cluster, 1).clone())
    };
    cluster.run_until(7 * MS + 12_345);
    let running = cluster.snapshot();
    cluster.kill(0);
    cluster.run_until(9 * MS + 1);
    let killed = cluster.snapshot();
    assert!(killed.owned_bytes() < 2 << 20);
    let end = play(&mut cluster);
    let mut fork = SimulationController::from_snapshot(&killed).unwrap();
    assert_eq!(play(&mut fork), end);
    fork.restore(&running).unwrap();
    fork.kill(0);
    fork.run_until(9 * MS + 1);
    assert_eq!(play(&mut fork), end);
    cluster.restore(&killed).unwrap();
    let hash = cluster.state_hash();
    cluster.disk_lose_unflushed(2);
    assert_ne!(cluster.state_hash(), hash, "the drive is part of the state");
    cluster.restore(&killed).unwrap();
    cluster.state.slots[0].disk = None;
    assert_ne!(
        cluster.state_hash(),
        hash,
        "so is that of a VM without power"
    );
}

#[test]
fn faults_stay_with_the_drive_until_it_is_healed() {
    let mut cluster = three();
    cluster.run_until(2 * MS);
    cluster.kill(0);
    cluster.disk_write_errors(0, 1_000_000);
    cluster.disk_read_errors(0, 1);
    cluster.disk_flush_errors(0, 2);
    cluster.disk_torn_writes(0, 3);
    cluster.disk_misdirected_writes(0, 4);
    assert_eq!(cluster.disk(0).unwrap().faults().misdirected_ppm, 4);
    cluster.restart(0);
    let expected = DiskFaults {
        read_error_ppm: 1,
        write_error_ppm: 1_000_000,
        flush_error_ppm: 2,
        torn_write_ppm: 3,
        misdirected_ppm: 4,
        ..DiskFaults::default()
    };
    assert_eq!(cluster.disk(0).unwrap().faults(), &expected);
    cluster.run_until(5 * MS);
    assert!(cluster.disk(0).unwrap().stats().write_errors > 20);
    assert_eq!(cluster.disk(1).unwrap().stats().write_errors, 0);
    cluster.recover();
    assert_eq!(cluster.disk(0).unwrap().faults(), &DiskFaults::default());
}

#[test]
fn a_vm_without_a_disk_has_no_disk_faults() {
    let vm = VmConfig {
        memory_size: 4 << 20,
        kernel: disk_guest(u32::MAX).into(),
        ..VmConfig::default()
    };
    let boot = DeterministicVm::new(vm).unwrap().snapshot();
    let mut cluster = SimulationController::new(&boot, ClusterConfig::default()).unwrap();
    cluster.disk_slow(0, 5);
    cluster.disk_lose_unflushed(0);
    cluster.kill(0);
    cluster.restart(0);
    assert!(cluster.disk(0).is_none());
}
