//! A machine whose KVM is taken away while it runs, as it is where somebody kills the VM from
//! outside: the machine is off with the reason, and nothing else happens.
//!
//! Alone in its process, since it takes KVM from all machines there are.

#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use std::fs::{self, File};
use std::os::fd::AsRawFd;

use chaoscontrol::cpu::choice::HostKvm;
use chaoscontrol::machine::{DeterministicVm, Engine, Off, Stop, Until, VmConfig, flat_kernel};

/// Puts another file in the place of each virtual CPU of this process.
fn take_away() -> usize {
    let null = File::open("/dev/null").unwrap();
    let mut taken = 0;
    for entry in fs::read_dir("/proc/self/fd").unwrap().flatten() {
        let is_cpu = fs::read_link(entry.path())
            .is_ok_and(|target| target.to_string_lossy().contains("kvm-vcpu"));
        if is_cpu {
            let number: i32 = entry.file_name().to_string_lossy().parse().unwrap();
            // SAFETY: dup2(2) takes numbers. Whoever owns `number` finds an open file there as
            // before, and closes it when it is done.
            assert_eq!(unsafe { libc::dup2(null.as_raw_fd(), number) }, number);
            taken += 1;
        }
    }
    taken
}

#[test]
fn a_machine_whose_kvm_is_gone_is_off_and_says_why() {
    if let HostKvm::Absent(why) = HostKvm::look() {
        let required = std::env::var_os("CHAOS_KVM_REQUIRED").is_some();
        assert!(!required, "KVM is required: {why}");
        eprintln!("NOT RUN, since this host has no KVM for it: {why}");
        return;
    }
    // out 0x11, al; jmp to the out
    let config = VmConfig {
        memory_size: 4 << 20,
        kernel: flat_kernel(&[0xE6, 0x11, 0xEB, 0xFC]).into(),
        engine: Engine::Kvm,
        ..VmConfig::default()
    };
    let mut vm = DeterministicVm::new(config).unwrap();
    let until = Until {
        exits: Some(10),
        ..Until::default()
    };
    assert_eq!(vm.run(&until), Stop::Exits);
    assert_eq!(take_away(), 1);
    assert_eq!(vm.run(&until), Stop::Off);
    let Some(Off::Engine(error)) = vm.off() else {
        panic!("{:?}", vm.off());
    };
    let said = error.to_string();
    assert!(said.starts_with("KVM failed to run the guest: "), "{said}");
    assert_eq!(vm.run(&until), Stop::Off);
}
