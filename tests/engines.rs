//! The engines against each other: where only exits count, a guest does the same on the
//! software CPU as on KVM.
//!
//! Linux does not boot on every `/dev/kvm`, so `tests/kvm.rs` runs these where it does.

use std::path::Path;

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
