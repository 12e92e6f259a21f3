//! The engines against each other: where only exits count, a guest does the same on the
//! software CPU as on KVM.
//!
//! Linux does not boot on every `/dev/kvm`, so `tests/kvm.rs` runs these where it does.

use std::path::Path;
use std::sync::Arc;

use chaoscontrol::cluster::{ClusterConfig, boot};
use chaoscontrol::explore::simulation::{Scenario, Simulation};
use chaoscontrol::fault::FaultSchedule;
use chaoscontrol::machine::{Access, CpuConfig, DeterministicVm, Engine, Stop, Until, VmConfig};

fn config(engine: Engine) -> VmConfig {
    VmConfig {
        engine,
        cpu: CpuConfig {
            by_exits: true,
            ..CpuConfig::default()
        },
        ..chaoscontrol_tests::machine(Path::new(env!("CARGO_BIN_EXE_guest")))
    }
}

/// Panics at the first access that differs, with those before it.
#[track_caller]
fn compare(soft: &[Access], kvm: &[Access], before: u64) {
    let differs = soft.iter().zip(kvm).position(|(a, b)| a != b);
    let Some(at) = differs else {
        assert_eq!(soft.len(), kvm.len(), "accesses after {before}");
        return;
    };
    let lines = |trace: &[Access]| {
        let near = &trace[at.saturating_sub(3)..=at];
        near.iter().map(|a| format!("{a:x?}\n")).collect::<String>()
    };
    panic!(
        "access {} differs\nsoft:\n{}kvm:\n{}",
        before + at as u64,
        lines(soft),
        lines(kvm)
    );
}

#[test]
#[ignore = "needs a KVM that runs Linux: tests/kvm.rs runs it"]
fn both_engines_boot_linux_access_by_access() {
    let mut vms = [Engine::Soft, Engine::Kvm].map(|e| DeterministicVm::new(config(e)).unwrap());
    for vm in &mut vms {
        vm.trace();
    }
    let mut accesses = 0;
    loop {
        let until = Until {
            boot: true,
            exits: Some(500),
            ..Until::default()
        };
        let stops = vms.each_mut().map(|vm| vm.run(&until));
        let [soft, kvm] = vms.each_mut().map(DeterministicVm::take_trace);
        compare(&soft, &kvm, accesses);
        accesses += soft.len() as u64;
        let [soft, kvm] = &mut vms;
        assert_eq!(stops[0], stops[1], "{:?} {:?}", soft.off(), kvm.off());
        assert_eq!(soft.time(), kvm.time());
        match stops[0] {
            Stop::Exits => {}
            Stop::Boot => break,
            other => panic!("{other:?}: {:?}", soft.off()),
        }
    }
    println!("{accesses} accesses, {} virtual ns", vms[0].time());
}

const MS: u64 = 1_000_000;
const VMS: usize = 3;

fn cluster(engine: Engine) -> Simulation {
    let cluster = ClusterConfig {
        vms: VMS,
        seed: 2,
        test: "ring".into(),
        duration_ns: 2_000 * MS,
        quiet_ns: 1_000 * MS,
        ..ClusterConfig::default()
    };
    let scenario = Scenario {
        boot: boot(config(engine)).unwrap_or_else(|e| panic!("{engine:?}: {e}")),
        cluster,
        force_setup_ns: 0,
        stall_ns: 0,
        must_finish: false,
        code_map: None,
    };
    let mut simulation = Simulation::new(Arc::new(scenario)).unwrap();
    simulation.record();
    for vm in 0..VMS {
        simulation.cluster().vm_mut(vm).trace();
    }
    simulation
}

#[test]
#[ignore = "needs a KVM that runs Linux: tests/kvm.rs runs it"]
fn both_engines_run_a_cluster_under_faults_access_by_access() {
    const FAULTS: &str = "+200 ms loss vm 0 of 20 %\n+500 ms partition {0} | {1, 2}\n+900 ms heal\n\
        +1 s restart vm 1\n+1.2 s skew vm 2 by 30 %\n+1.3 s pause vm 0 for 200 ms\n+1.4 s reorder vm 1 within 3 ms";
    let schedule: FaultSchedule = FAULTS.parse().unwrap();
    let mut both = [Engine::Soft, Engine::Kvm].map(cluster);
    let mut accesses = [0; VMS];
    let mut begun = false;
    while !both[0].is_over() {
        let until = both[0].now() + MS;
        for simulation in &mut both {
            simulation.run_until(until);
            if !begun && simulation.start_ns().is_some() {
                simulation.begin(1, schedule.clone());
            }
        }
        begun |= both[0].start_ns().is_some();
        for (vm, accesses) in accesses.iter_mut().enumerate() {
            let [soft, kvm] = both.each_mut().map(|s| s.cluster().vm_mut(vm).take_trace());
            compare(&soft, &kvm, *accesses);
            *accesses += soft.len() as u64;
        }
        let [soft, kvm] = &both;
        assert_eq!(soft.now(), kvm.now());
    }
    let [soft, kvm] = &both;
    assert!(begun && kvm.is_over());
    assert_eq!(soft.timeline(), kvm.timeline());
    assert_eq!(soft.network(), kvm.network());
    assert_eq!(soft.failure(), kvm.failure());
    assert_eq!(soft.oracle(), kvm.oracle());
    println!("{accesses:?} accesses, {} entries", soft.timeline().len());
}
