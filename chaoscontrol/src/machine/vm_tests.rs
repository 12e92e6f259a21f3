//! Whole machines with tiny guests: time, cuts, snapshots and forks.

use chaoscontrol_guest::protocol::VERSION;

use super::boot::layout::PDPT;
use super::testing::{RESULTS, busy_guest, timer_guest, tiny_kernel};
use super::{DeterministicVm, Off, OutputKind, Stop, Until, VmConfig};

const MS: u64 = 1_000_000;

fn machine(kernel: Vec<u8>) -> DeterministicVm {
    let config = VmConfig {
        memory_size: 4 << 20,
        kernel: kernel.into(),
        ..VmConfig::default()
    };
    DeterministicVm::new(config).unwrap()
}

fn result(vm: &DeterministicVm) -> u32 {
    let mut bytes = [0; 4];
    vm.ram.read(RESULTS, &mut bytes).unwrap();
    u32::from_le_bytes(bytes)
}

#[test]
fn two_runs_are_equal_however_they_are_cut() {
    for guest in [busy_guest(), timer_guest()] {
        let mut whole = machine(guest.clone());
        assert_eq!(whole.run_until(20 * MS), Stop::Time);
        let mut cut = machine(guest);
        let mut at = 0;
        for step in (1..).map(|i| i * 7919 % 300_007) {
            at = (at + step).min(20 * MS);
            cut.run_until(at);
            if at == 20 * MS {
                break;
            }
        }
        assert_eq!(whole.time(), cut.time());
        assert_eq!(whole.take_outputs(), cut.take_outputs());
        assert_eq!(whole.state_hash(), cut.state_hash());
    }
}

#[test]
fn an_idle_guest_wakes_at_each_tick() {
    let mut vm = machine(timer_guest());
    vm.run_until(1000 * MS + MS / 2);
    assert_eq!(result(&vm), 1000);
    assert!(vm.retired() < 10_000);
    vm.set_skew(vm.time(), 500_000);
    vm.run_until(3000 * MS);
    assert!((3998..4001).contains(&result(&vm)), "{}", result(&vm));
}

#[test]
fn forks_and_restores_end_like_the_original() {
    for guest in [busy_guest(), timer_guest()] {
        let mut vm = machine(guest);
        vm.run_until(3 * MS + 77);
        let snapshot = vm.snapshot();
        let before = vm.state_hash();
        vm.run_until(9 * MS);
        let after = vm.state_hash();
        assert_ne!(before, after);
        let mut fork = DeterministicVm::from_snapshot(&snapshot).unwrap();
        assert_eq!(fork.state_hash(), before);
        fork.run_until(9 * MS);
        assert_eq!(fork.state_hash(), after);
        vm.restore(&snapshot).unwrap();
        assert_eq!(vm.state_hash(), before);
        vm.run_until(5 * MS);
        let inner = vm.snapshot();
        vm.run_until(9 * MS);
        assert_eq!(vm.state_hash(), after);
        fork.restore(&inner).unwrap();
        fork.run_until(9 * MS);
        assert_eq!(fork.state_hash(), after);
    }
}

#[test]
fn runs_stop_where_they_are_told_to() {
    let mut vm = machine(busy_guest());
    let until = |until: Until<'_>, vm: &mut DeterministicVm| vm.run(&until);
    let instructions = Until {
        instructions: Some(1234),
        ..Until::default()
    };
    assert_eq!(until(instructions, &mut vm), Stop::Instructions);
    assert_eq!(vm.retired(), 1234);
    let exits = Until {
        exits: Some(10),
        ..Until::default()
    };
    let before = vm.exits();
    assert_eq!(until(exits, &mut vm), Stop::Exits);
    assert_eq!(vm.exits(), before + 10);
    let serial = Until {
        serial: Some(&[b'a'; 1000]),
        time: Some(10 * MS),
        ..Until::default()
    };
    assert_eq!(until(serial, &mut vm), Stop::Serial);
    let mut sleeper = machine(timer_guest());
    let halt = Until {
        halt: true,
        ..Until::default()
    };
    assert_eq!(until(halt, &mut sleeper), Stop::Halt);
}

#[test]
fn a_dead_guest_is_off_and_says_why() {
    let mut halted = machine(tiny_kernel(&[0xFA, 0xF4])); // cli; hlt
    assert_eq!(halted.run_until(MS), Stop::Off);
    assert_eq!(halted.off(), Some(&Off::Halted));
    let mut reset = machine(tiny_kernel(&[0x0F, 0x0B])); // ud2 without an IDT
    assert_eq!(reset.run_until(MS), Stop::Off);
    assert_eq!(reset.off(), Some(&Off::Reset));
    let mut code = Vec::new();
    for byte in b"Kernel panic - not syncing: x\n" {
        code.extend([0xB0, *byte, 0x66, 0xBA, 0xF8, 0x03, 0xEE]);
    }
    code.extend([0x0F, 0x0B]);
    let mut panicked = machine(tiny_kernel(&code));
    assert_eq!(panicked.run_until(MS), Stop::Off);
    let text = "Kernel panic - not syncing: x";
    assert_eq!(panicked.off(), Some(&Off::Panic(text.into())));
    let lines = panicked.take_outputs();
    assert_eq!(lines[0].kind, OutputKind::Serial(text.into()));
}

/// A guest whose 511 GiB from 1 GiB on are all the same page of 2 MiB, and that runs `code`.
fn repetitive(code: &[u8]) -> DeterministicVm {
    let vm = machine(tiny_kernel(code));
    let table = 0xC000u64;
    for n in 0..512 {
        let put = |at: u64, entry: u64| vm.ram.write(at + 8 * n, &entry.to_le_bytes()).unwrap();
        put(table, RESULTS | 0x83);
        if n > 0 {
            put(PDPT, table | 3);
        }
    }
    vm
}

#[test]
fn a_string_instruction_without_end_turns_the_machine_off() {
    let stosb = |count: u64| {
        // mov edi, 0x4000_0000; mov rcx, count; rep stosb; hlt
        let mut code = vec![0xBF, 0, 0, 0, 0x40, 0x48, 0xB9];
        code.extend(count.to_le_bytes());
        code.extend([0xF3, 0xAA, 0xF4]);
        repetitive(&code)
    };
    let mut endless = stosb(1 << 38);
    assert_eq!(endless.run_until(MS), Stop::Off);
    assert_eq!(endless.off(), Some(&Off::EndlessString));
    assert_eq!(endless.retired(), 2);
    // As long as the largest memory: slow, and what it asked for.
    let mut long = stosb(3 << 30);
    assert_eq!(long.run_until(MS), Stop::Off);
    assert_eq!(long.off(), Some(&Off::Halted));
    assert_eq!(long.retired(), 4);
}

#[test]
fn the_sdk_port_answers_and_hands_on() {
    // mov rdi, message; mov esi, 1; mov eax, VERSION; mov dx, 0x510; out dx, eax; mov [RESULTS], eax; hlt
    let mut code = vec![0x48, 0xC7, 0xC7, 0x40, 0x00, 0x10, 0x00, 0xBE, 1, 0, 0, 0];
    code.push(0xB8);
    code.extend(VERSION.to_le_bytes());
    code.extend([0x66, 0xBA, 0x10, 0x05, 0xEF]);
    code.extend([0x89, 0x04, 0x25, 0, 0, 0x20, 0, 0xF4]);
    code.resize(0x40, 0x90);
    let with = |message: u8| {
        let mut code = code.clone();
        code.push(message);
        let mut vm = machine(tiny_kernel(&code));
        vm.set_status(3);
        vm.run_until(MS);
        vm
    };
    assert_eq!(result(&with(5)), 3, "status");
    assert_ne!(result(&with(6)), result(&with(5)), "a random number");
    assert_eq!(result(&with(6)), result(&with(6)));
    assert_eq!(result(&with(0xEE)), 0xFFFF_FFFE, "malformed");
    let outputs = with(4).take_outputs();
    assert_eq!(outputs.len(), 1);
    assert_eq!(outputs[0].kind, OutputKind::Message(vec![4]));
    assert_eq!(outputs[0].time, 40);
}
