//! Tiny guests on the KVM engine, compared with the software CPU.

use std::time::Duration;

use super::testing::{RESULTS, beacon_guest, busy_guest, spinning_guest, timer_guest, tiny_kernel};
use super::{CpuConfig, DeterministicVm, Engine, Off, Stop, Until, VmConfig};
use crate::cpu::kvm::testing::or_not_run;
use crate::cpu::{Cpu, kvm};

const MS: u64 = 1_000_000;

/// Whether this host's KVM can be used; a test that cannot run says so.
fn can_run() -> bool {
    or_not_run(kvm::open()).is_some()
}

fn machine(engine: Engine, kernel: &[u8]) -> DeterministicVm {
    DeterministicVm::new(VmConfig {
        memory_size: 4 << 20,
        kernel: kernel.into(),
        engine,
        cpu: CpuConfig {
            by_exits: true,
            ..CpuConfig::default()
        },
        ..VmConfig::default()
    })
    .unwrap()
}

fn memory(vm: &DeterministicVm, from: u64) -> Vec<u8> {
    let mut bytes = vec![0; (4 << 20) - from as usize];
    vm.read_memory(from, &mut bytes).unwrap();
    bytes
}

#[test]
fn both_engines_agree_on_every_access() {
    if !can_run() {
        return;
    }
    for guest in [busy_guest(), timer_guest(), beacon_guest()] {
        let [mut soft, mut kvm] = [Engine::Soft, Engine::Kvm].map(|e| machine(e, &guest));
        for ms in 1..=10 {
            for vm in [&mut soft, &mut kvm] {
                vm.trace();
                assert_eq!(vm.run_until(ms * MS), Stop::Time, "{:?}", vm.off());
            }
            let (a, b) = (soft.take_trace(), kvm.take_trace());
            assert!(!a.is_empty());
            for (a, b) in a.iter().zip(&b) {
                assert_eq!(a, b);
            }
            assert_eq!(a.len(), b.len());
            assert_eq!(soft.time(), kvm.time());
            assert_eq!(soft.take_outputs(), kvm.take_outputs());
            // Above the page tables, whose accessed bits are the CPU's own affair.
            assert!(memory(&soft, 0x10_0000) == memory(&kvm, 0x10_0000));
        }
    }
}

#[test]
fn a_run_is_the_same_however_it_is_cut_forked_and_restored() {
    if !can_run() {
        return;
    }
    for guest in [busy_guest(), timer_guest()] {
        let mut whole = machine(Engine::Kvm, &guest);
        whole.run_until(9 * MS);
        let mut cut = machine(Engine::Kvm, &guest);
        for at in (0..9 * MS).step_by(77_773) {
            cut.run_until(at);
        }
        cut.run_until(3 * MS);
        cut.run_until(9 * MS);
        assert_eq!(whole.state_hash(), cut.state_hash());

        let mut vm = machine(Engine::Kvm, &guest);
        vm.run_until(3 * MS + 77);
        let snapshot = vm.snapshot();
        let before = vm.state_hash();
        let written = memory(&vm, RESULTS);
        assert!(written.iter().any(|&byte| byte != 0));
        vm.run_until(9 * MS);
        assert_eq!(vm.state_hash(), whole.state_hash());
        assert!(memory(&vm, RESULTS) != written);
        let mut fork = DeterministicVm::from_snapshot(&snapshot).unwrap();
        assert_eq!(fork.state_hash(), before);
        assert!(memory(&fork, RESULTS) == written);
        fork.run_until(9 * MS);
        assert_eq!(fork.state_hash(), whole.state_hash());
        vm.restore(&snapshot).unwrap();
        assert_eq!(vm.state_hash(), before);
        assert!(memory(&vm, RESULTS) == written);
        vm.run_until(9 * MS);
        assert_eq!(vm.state_hash(), whole.state_hash());
    }
}

#[test]
fn a_restore_takes_at_most_three_calls_beyond_the_registers() {
    /// System, general, floating-point, model-specific, debug and extended control registers,
    /// events, and the state of multiprocessing.
    const REGISTERS: u64 = 8;
    if !can_run() {
        return;
    }
    let mut vm = machine(Engine::Kvm, &busy_guest());
    vm.run_until(3 * MS);
    let snapshot = vm.snapshot();
    let hash = vm.state_hash();
    for page in 0..100 {
        vm.flip_bit((600 + page) * 4096, 0).unwrap();
    }
    vm.run_until(4 * MS);
    for ran in [true, false] {
        let before = kvm::CALLS.get();
        vm.restore(&snapshot).unwrap();
        let calls = kvm::CALLS.get() - before;
        assert!(calls <= REGISTERS + 3, "{calls} calls after a run: {ran}");
    }
    assert_eq!(vm.state_hash(), hash);
}

#[test]
fn a_guest_dies_alike_on_both_engines() {
    if !can_run() {
        return;
    }
    for (code, off) in [
        (&[0x0F, 0x0B][..], Off::Reset),  // ud2 without an IDT
        (&[0xFA, 0xF4][..], Off::Halted), // cli; hlt
    ] {
        for engine in [Engine::Soft, Engine::Kvm] {
            let mut vm = machine(engine, &tiny_kernel(code));
            assert_eq!(vm.run(&Until::default()), Stop::Off);
            assert_eq!(vm.off(), Some(&off), "{engine:?}");
        }
    }
}

#[test]
fn upsets_come_alike_on_both_engines() {
    if !can_run() {
        return;
    }
    let [soft, kvm] = [Engine::Soft, Engine::Kvm].map(|engine| {
        let mut vm = machine(engine, &beacon_guest());
        // Vector 2 leads to the timer's handler.
        let mut gate = [0; 16];
        vm.read_memory(0x10_1200, &mut gate).unwrap();
        vm.ram.write(0x10_1020, &gate).unwrap();
        let mut seen = Vec::new();
        for ms in 1..=30 {
            vm.run_until(ms * MS);
            match ms {
                3 | 17 => vm.nmi(),
                5 => vm.interrupt(0),
                8 => vm.stall_until(11 * MS),
                12 => vm.set_speed(50_000),
                15 => vm.set_speed(1_000_000),
                20 => vm.preempt(0, 5 * MS),
                _ => {}
            }
            let snapshot = vm.snapshot();
            vm = DeterministicVm::from_snapshot(&snapshot).unwrap();
            seen.extend(vm.take_outputs());
        }
        assert_eq!(vm.off(), None, "{engine:?}");
        (vm.time(), seen)
    });
    assert_eq!(soft, kvm);
}

/// An interrupt in the handler of a non-maskable one does not end that: only IRET does.
#[test]
fn an_interrupt_lets_no_further_nmi_in() {
    if !can_run() {
        return;
    }
    let [soft, kvm] = [Engine::Soft, Engine::Kvm].map(|engine| {
        let mut vm = machine(engine, &beacon_guest());
        // Vector 2 leads to `sti; hlt; iretq`, in which the timer's interrupt comes.
        let mut gate = [0; 16];
        vm.read_memory(0x10_1200, &mut gate).unwrap();
        gate[..2].copy_from_slice(&0x0300_u16.to_le_bytes());
        vm.ram.write(0x10_1020, &gate).unwrap();
        vm.ram.write(0x10_0300, &[0xFB, 0xF4, 0x48, 0xCF]).unwrap();
        vm.run_until(3 * MS);
        vm.nmi();
        let mut seen = Vec::new();
        for _ in 0..20 {
            vm.run(&Until {
                exits: Some(1),
                ..Until::default()
            });
            let state = vm.cpu.state();
            seen.push((state.rip, state.halted, state.nmi_blocked));
        }
        assert_eq!(vm.off(), None, "{engine:?}");
        seen
    });
    let in_the_timers = |rip| (0x10_0100..0x10_0180).contains(&rip);
    let held_off = |(rip, _, blocked): &(u64, bool, bool)| *blocked && in_the_timers(*rip);
    assert!(soft.iter().any(held_off), "{soft:x?}");
    assert_eq!(soft, kvm);
}

#[test]
fn time_is_let_pass_for_a_guest_that_spins_and_the_run_is_marked() {
    if !can_run() {
        return;
    }
    let mut vm = machine(Engine::Kvm, &spinning_guest());
    let Cpu::Kvm(cpu) = &mut vm.cpu else {
        unreachable!("that is what was asked for")
    };
    cpu.patience = Duration::from_millis(1);
    assert_eq!(vm.run_until(2 * MS + MS / 2), Stop::Time, "{:?}", vm.off());
    assert!(vm.spins() >= 2);
    assert_eq!(memory(&vm, RESULTS)[0], 2, "the timer's interrupts came");
    let fork = DeterministicVm::from_snapshot(&vm.snapshot()).unwrap();
    assert_eq!(fork.spins(), vm.spins());
}

#[test]
fn a_guest_that_nothing_gets_out_of_a_loop_is_given_up() {
    let mut vm = machine(Engine::Soft, &tiny_kernel(&[0xEB, 0xFE])); // jmp to itself
    assert_eq!(vm.run(&Until::default()), Stop::Off);
    assert_eq!(vm.off(), Some(&Off::Spinning));
    assert_eq!(vm.spins(), 1);
}
