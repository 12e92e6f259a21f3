//! Clusters whose machines are upset: against pauses, restarts, snapshots and cuts.

use super::controller_tests::{MS, cluster_of, count, three};
use super::{ClusterConfig, SimulationController, VmStatus};
use crate::machine::testing::spinning_guest;

#[test]
fn frames_due_in_a_stall_wait_for_its_end() {
    let mut cluster = three();
    cluster.run_until(10 * MS);
    cluster.stall(1, 50 * MS);
    let mut frame = super::mac(1).to_vec();
    frame.resize(1000, 0);
    cluster.carry(10 * MS, 0, &frame);
    let retired = cluster.vm(1).retired();
    let events = cluster.run_until(60 * MS);
    assert_eq!(count(&events, 1), 0);
    assert!(count(&events, 0) > 45);
    assert_eq!(cluster.vm(1).retired(), retired);
    assert_eq!(cluster.vm(1).waiting_bytes(), 1000);
    assert_eq!(cluster.vm(1).local_time(), cluster.vm(0).local_time());
    let events = cluster.run_until(70 * MS);
    assert!(count(&events, 1) >= 9);
    assert_eq!(cluster.vm(1).waiting_bytes(), 0);
}

#[test]
fn a_pause_in_a_stall_makes_it_end_later() {
    let mut cluster = three();
    cluster.run_until(10 * MS);
    cluster.stall(0, 50 * MS);
    cluster.run_until(20 * MS);
    cluster.pause(0, Some(30 * MS));
    cluster.run_until(30 * MS);
    cluster.skew(0, 1_000_000);
    cluster.pause(0, Some(21 * MS));
    cluster.run_until(52 * MS);
    assert_eq!(cluster.slot(0).status, VmStatus::Running);
    // Until 60, and 31 of pause.
    assert_eq!(cluster.vm(0).local_time(), 20 * MS + 2 * 40 * MS);
    let events = cluster.run_until(91 * MS);
    assert_eq!(count(&events, 0), 0);
    let mut ended = SimulationController::from_snapshot(&cluster.snapshot()).unwrap();
    assert!(count(&cluster.run_until(93 * MS), 0) > 0);
    ended.stall(0, 50 * MS);
    ended.run_until(95 * MS);
    ended.stall(0, 0);
    assert_eq!(ended.vm(0).local_time(), 20 * MS + 2 * 44 * MS);
    assert!(count(&ended.run_until(97 * MS), 0) > 0);
}

#[test]
fn a_slow_cpu_stays_slow_over_a_restart_until_it_recovers() {
    let mut cluster = cluster_of(spinning_guest(), ClusterConfig::default());
    let work = |cluster: &mut SimulationController| {
        let before = cluster.vm(0).retired();
        cluster.run_until(cluster.now() + 10 * MS);
        cluster.vm(0).retired() - before
    };
    cluster.cpu_speed(0, 50_000);
    cluster.restart(0);
    assert_eq!(cluster.slot(0).speed_ppm, 50_000);
    assert!((49_990..50_010).contains(&work(&mut cluster)));
    cluster.recover();
    assert!((999_990..1_000_010).contains(&work(&mut cluster)));
}

#[test]
fn nothing_happens_to_a_machine_that_is_off() {
    let mut cluster = three();
    cluster.run_until(5 * MS);
    cluster.kill(2);
    let hash = cluster.vm_mut(2).state_hash();
    cluster.stall(2, MS);
    cluster.preempt(2, 10 * MS, 5);
    cluster.flip_bit(2, 12345);
    cluster.interrupt(2, 0);
    cluster.spurious(2);
    cluster.nmi(2);
    assert_eq!(cluster.vm_mut(2).state_hash(), hash);
}

#[test]
fn a_fork_amid_all_upsets_goes_on_as_the_original() {
    let play = |cuts: bool| {
        let mut cluster = three();
        for i in 1..=300 {
            let at = i * MS / 5;
            if cuts {
                cluster.run_until(at - MS / 11);
                let snapshot = cluster.snapshot();
                cluster = SimulationController::from_snapshot(&snapshot).unwrap();
            }
            cluster.run_until(at);
            match i {
                20 => cluster.cpu_speed(0, 10_000),
                30 => cluster.stall(1, 9 * MS),
                31 => cluster.preempt(2, 10 * MS, 100),
                40 => cluster.pause(1, Some(7 * MS)),
                45 => cluster.skew(1, -333_333),
                50 => cluster.flip_bit(2, u64::MAX),
                60 => cluster.interrupt(0, 0),
                70 => cluster.stall(0, 3 * MS + 1),
                75 => cluster.cpu_speed(0, 999_999),
                80 => cluster.preempt(2, 0, 0),
                _ => {}
            }
        }
        cluster.state_hash()
    };
    let whole = play(false);
    assert_eq!(play(false), whole);
    assert_eq!(play(true), whole);
}
