//! Upset machines with tiny guests: what happens, exactly when, and that no cut shows.

use super::testing::{RESULTS, busy_guest, timer_guest, tiny_kernel};
use super::{CpuConfig, DeterministicVm, Stop, Until, VmConfig};
use crate::cpu::soft::testing::{self as small, assemble};
use crate::cpu::{Cpu, Vcpu};

const MS: u64 = 1_000_000;

fn machine(kernel: Vec<u8>) -> DeterministicVm {
    DeterministicVm::new(VmConfig {
        memory_size: small::SIZE,
        kernel: kernel.into(),
        ..VmConfig::default()
    })
    .unwrap()
}

/// A process that increments RAX for ever and makes a system call each time, in which the
/// kernel spends 2,000 instructions; the timer interrupts every 10 ms, and its handler counts.
fn process() -> DeterministicVm {
    let (mut state, ram) = small::state(assemble!("20: inc rax", "syscall", "jmp 20b"), 3);
    state.rflags |= crate::cpu::bits::IF;
    state.star = 0x0013_0008_0000_0000;
    state.lstar = small::DATA;
    state.fmask = crate::cpu::bits::IF;
    let kernel = assemble!("mov edx, 1000", "21: dec edx", "jnz 21b", "sysretq");
    ram.write(small::DATA, kernel).unwrap();
    let handler = assemble!(
        "inc qword ptr [0x190800]",
        "push rax",
        "mov al, 0x20",
        "out 0x20, al",
        "pop rax",
        "iretq"
    );
    ram.write(small::HANDLERS + 0x300, handler).unwrap();
    let mut vm = machine(tiny_kernel(&[0xF4]));
    let mut page = [0; 4096];
    for at in (0..small::SIZE).step_by(4096) {
        ram.read(at, &mut page).unwrap();
        vm.ram.write(at, &page).unwrap();
    }
    for (port, value) in [
        (0x20, 0x11),
        (0x21, 0x30),
        (0x21, 4),
        (0x21, 1),
        (0x21, 0xFE),
        (0x43, 0x34),
        (0x40, 0x9C),
        (0x40, 0x2E),
    ] {
        let memory = vm.ram.guest_memory();
        vm.state.platform.port_write(port, 1, value, 0, memory);
    }
    vm.cpu.set_state(state);
    vm
}

fn ticks(vm: &DeterministicVm) -> u64 {
    small::word(&vm.ram, small::DATA + 0x800)
}

fn step(vm: &mut DeterministicVm, instructions: u64) {
    let stop = vm.run(&Until {
        instructions: Some(instructions),
        ..Until::default()
    });
    assert_eq!(stop, Stop::Instructions);
}

#[test]
fn a_preemption_comes_after_so_many_instructions_in_user_mode() {
    let mut vm = process();
    step(&mut vm, 5_000);
    // A round is 2,005 instructions: user code is 0 to 1 and 2,004 of each.
    for (more, at) in [
        (3, 6_015 - 1),
        (1_014, 6_015 - 1),
        (1_015, 6_015),
        (1_017, 8_019),
    ] {
        let mut vm = DeterministicVm::from_snapshot(&vm.snapshot()).unwrap();
        vm.preempt(more, 10 * MS);
        step(&mut vm, at - 5_000);
        assert_eq!((vm.time(), ticks(&vm)), (at * 10, 0), "{more}");
        assert!(vm.cpu.in_user_mode());
        step(&mut vm, 1);
        assert_eq!(vm.time(), (at + 1) * 10 + 10 * MS, "{more}");
        assert!(!vm.cpu.in_user_mode(), "the timer has interrupted");
        step(&mut vm, 1);
        assert_eq!(ticks(&vm), 1);
    }
}

#[test]
fn preemptions_are_the_same_however_runs_are_cut() {
    let upset = |vm: &mut DeterministicVm| {
        vm.run_until(MS);
        vm.preempt(123_456, 10 * MS);
        vm.preempt(123_460, 12 * MS);
        vm.preempt(123_460, 1);
        vm.preempt(9_000_000, 25 * MS);
        vm.set_skew(vm.time(), 123_456);
    };
    let mut whole = process();
    upset(&mut whole);
    whole.run_until(150 * MS);
    assert!(whole.state.preemptions.is_empty());
    assert!((150 * MS..150 * MS + 20).contains(&whole.time()));
    let executed = whole.retired() * 10;
    assert!((102 * MS..104 * MS).contains(&executed), "{executed}");
    let mut cut = process();
    upset(&mut cut);
    for at in (MS..150 * MS).step_by(77_777) {
        cut.run_until(at);
        if at % 5 == 0 {
            cut = DeterministicVm::from_snapshot(&cut.snapshot()).unwrap();
        }
    }
    cut.run_until(150 * MS);
    assert_eq!(whole.state_hash(), cut.state_hash());
}

#[test]
fn an_idle_machine_is_not_preempted_until_it_runs() {
    let mut vm = machine(timer_guest());
    vm.run_until(MS);
    vm.preempt(0, 10 * MS);
    vm.run_until(50 * MS);
    assert_eq!(vm.state.preemptions.len(), 1, "it never leaves ring 0");
    vm.forget_preemptions();
    assert!(vm.state.preemptions.is_empty());
}

#[test]
fn where_exits_are_counted_a_preemption_is_at_once() {
    let mut vm = DeterministicVm::new(VmConfig {
        memory_size: 4 << 20,
        kernel: busy_guest().into(),
        cpu: CpuConfig {
            by_exits: true,
            ..CpuConfig::default()
        },
        ..VmConfig::default()
    })
    .unwrap();
    vm.run_until(MS);
    vm.preempt(1_000_000, 10 * MS);
    assert_eq!(vm.time(), 11 * MS);
}

#[test]
fn a_stall_lets_clocks_run_on_while_nothing_executes() {
    let mut vm = machine(timer_guest());
    vm.run_until(10 * MS);
    let (before, count) = (vm.retired(), small::word(&vm.ram, RESULTS));
    vm.stall_until(200 * MS);
    vm.stall_until(110 * MS);
    assert_eq!(vm.run_until(109 * MS), Stop::Time);
    assert_eq!(vm.retired(), before);
    assert_eq!((vm.time(), vm.local_time()), (110 * MS, 110 * MS));
    vm.run_until(120 * MS);
    // The interrupts that were missed are one, as on a real controller.
    let missed = small::word(&vm.ram, RESULTS) - count;
    assert!((10..=12).contains(&missed), "{missed}");
}

#[test]
fn a_slow_cpu_does_less_and_its_clocks_run_as_ever() {
    let run = |step: usize| {
        let mut vm = machine(busy_guest());
        vm.set_speed(100_000);
        for at in (0..3 * MS).step_by(step) {
            vm.run_until(at);
        }
        vm.run_until(3 * MS);
        assert!((3 * MS..3 * MS + 100).contains(&vm.local_time()));
        assert_eq!(vm.retired(), 30_000);
        vm.set_speed(1_000_000);
        vm.run_until(4 * MS);
        assert!((129_900..130_100).contains(&vm.retired()));
        vm.state_hash()
    };
    assert_eq!(run(4_000_000), run(777));
}

#[test]
fn a_flipped_bit_changes_code_that_was_running() {
    // 20: inc eax; jmp 20b. Flipped: inc ecx.
    let mut vm = machine(tiny_kernel(&[0xFF, 0xC0, 0xEB, 0xFC]));
    vm.run_until(MS);
    let rip = vm.cpu.rip();
    let snapshot = vm.snapshot();
    let hash = vm.state_hash();
    vm.flip_bit((rip & !3) + 1, 0).unwrap();
    assert_ne!(vm.state_hash(), hash);
    let eax = vm.cpu.gpr(0);
    vm.run_until(2 * MS);
    assert!(vm.cpu.gpr(0) - eax < 2 && vm.cpu.gpr(1) > 40_000);
    vm.restore(&snapshot).unwrap();
    vm.run_until(2 * MS);
    assert!(vm.cpu.gpr(0) > eax + 40_000);
    assert!(vm.flip_bit(small::SIZE, 0).is_err());
}

#[test]
fn interrupts_without_a_device_reach_the_guest() {
    let mut vm = machine(timer_guest());
    vm.run_until(10 * MS + MS / 2);
    let count = small::word(&vm.ram, RESULTS);
    vm.interrupt(0);
    vm.interrupt(16);
    vm.run_until(10 * MS + MS / 2 + 1_000);
    assert_eq!(small::word(&vm.ram, RESULTS), count + 1);
    // The guest has a gate for vector 0x20 only, and one would not do for 0x27.
    vm.spurious();
    assert_eq!(vm.run_until(20 * MS), Stop::Off);
}

#[test]
fn an_nmi_wakes_a_process_and_survives_a_fork() {
    let mut vm = process();
    let nmi = assemble!("inc qword ptr [0x190808]", "iretq");
    vm.ram.write(small::HANDLERS + 0x20, nmi).unwrap();
    vm.run_until(5 * MS);
    vm.nmi();
    vm.nmi();
    let snapshot = vm.snapshot();
    let Cpu::Soft(cpu) = &vm.cpu else {
        unreachable!("the default engine is the software CPU")
    };
    assert!(cpu.state().nmi_pending && cpu.state().nmi_blocked);
    vm.run_until(6 * MS);
    assert_eq!(small::word(&vm.ram, small::DATA + 0x808), 2);
    let mut fork = DeterministicVm::from_snapshot(&snapshot).unwrap();
    fork.run_until(6 * MS);
    assert_eq!(fork.state_hash(), vm.state_hash());
}
