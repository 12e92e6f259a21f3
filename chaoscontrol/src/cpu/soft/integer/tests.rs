//! What a comparison with a host cannot show: faults in the midst, and exact counts.

use crate::cpu::soft::SoftCpu;
use crate::cpu::soft::bits::{DF, TF};
use crate::cpu::soft::testing::*;
use crate::cpu::{CpuConfig, Exit, Ram, Vcpu};

const RAX: usize = 0;
const RCX: usize = 1;
const RDX: usize = 2;
const RBX: usize = 3;
const RSP: usize = 4;
const RSI: usize = 6;
const RDI: usize = 7;
/// A page of its own, two pages behind `DATA`.
const FAR: u64 = DATA + 0x2000;

/// A CPU about to run `code` in ring 3, the page behind `DATA` not mapped if `hole`.
fn machine(code: &[u8], hole: bool) -> (SoftCpu, Ram) {
    let (mut cpu, ram) = cpu(code, 3);
    if hole {
        set_word(&ram, PT + ((DATA + 0x1000) >> 12) * 8, 0);
        cpu.flush_caches();
    }
    (cpu, ram)
}

#[test]
fn a_repeated_move_is_one_instruction() {
    // rep movsb; jmp $
    let (mut cpu, ram) = machine(&[0xF3, 0xA4, 0xEB, 0xFE], false);
    ram.write(DATA, &[0x5A; 0x1800]).unwrap();
    cpu.set_gpr(RSI, DATA);
    cpu.set_gpr(RDI, FAR + 3);
    cpu.set_gpr(RCX, 0x1800);
    assert_eq!(cpu.run(1, false), Exit::Budget);
    assert_eq!((cpu.gpr(RCX), cpu.state().rip), (0, CODE + 2));
    assert_eq!((cpu.gpr(RSI), cpu.gpr(RDI)), (DATA + 0x1800, FAR + 0x1803));
    let mut bytes = [0; 0x1802];
    ram.read(FAR + 2, &mut bytes).unwrap();
    assert_eq!(
        (bytes[0], bytes[1], bytes[0x1800], bytes[0x1801]),
        (0, 0x5A, 0x5A, 0)
    );
}

/// A string instruction of three slices and a bit.
const LONG: u64 = (3 << 20) + 5;

/// A CPU about to run `code` on four MiB of data at RSI, to or with those behind.
fn about_to_repeat(code: &[u8], backwards: bool) -> (SoftCpu, Ram) {
    let (mut cpu, ram) = machine(code, false);
    let bytes: Vec<u8> = (0..LONG).map(|n| (n % 251) as u8).collect();
    let at = 0x40_0000;
    if code[1] == 0xA4 {
        ram.write(at, &bytes).unwrap();
    }
    let first = if backwards { LONG - 1 } else { 0 };
    let mut s = cpu.state().clone();
    (s.gpr[RSI], s.gpr[RDI]) = (at + first, at + (4 << 20) + first);
    s.rflags |= if backwards { DF } else { 0 };
    cpu.set_state(s);
    (cpu, ram)
}

#[test]
fn a_long_string_instruction_is_cut_into_slices_that_a_guest_cannot_notice() {
    // Repeated: stosb, movsb, movsb backwards, lodsb, scasb, cmpsb.
    for (opcode, backwards) in [
        (0xAA, false),
        (0xA4, false),
        (0xA4, true),
        (0xAC, false),
        (0xAE, false),
        (0xA6, false),
    ] {
        let code = [0xF3, opcode, 0xEB, 0xFE];
        // Several instructions, each too short to be cut, do the same.
        let (mut short, short_ram) = about_to_repeat(&code, backwards);
        let mut left = LONG;
        while left > 0 {
            let mut s = short.state().clone();
            (s.rip, s.gpr[RCX]) = (CODE, left.min(999_983));
            left -= s.gpr[RCX];
            short.set_state(s);
            let limit = short.retired() + 1;
            assert_eq!(short.run(limit, false), Exit::Budget);
        }
        let (mut cpu, ram) = about_to_repeat(&code, backwards);
        cpu.set_gpr(RCX, LONG);
        for left in [3 << 20, 2 << 20, 1 << 20] {
            assert_eq!(cpu.run(1, false), Exit::Repeats);
            let s = cpu.state().clone();
            assert_eq!((s.retired, s.rip, s.gpr[RCX]), (0, CODE, left));
            // It goes on in another CPU, which has this state and nothing else.
            cpu = SoftCpu::new(ram.clone(), CpuConfig::default());
            cpu.set_state(s);
        }
        assert_eq!(cpu.run(1, false), Exit::Budget);
        assert_eq!((cpu.retired(), cpu.gpr(RCX)), (1, 0));
        let mut expected = short.state().clone();
        expected.retired = 1;
        assert_eq!(*cpu.state(), expected, "{opcode:x}");
        let bytes = [ram, short_ram].map(|ram| {
            let mut bytes = vec![0; SIZE as usize];
            ram.read(0, &mut bytes).unwrap();
            bytes
        });
        assert!(bytes[0] == bytes[1], "{opcode:x}");
    }
}

#[test]
fn a_long_string_instruction_is_cut_also_in_the_shadow_of_sti_and_while_stepping() {
    for shadow in [false, true] {
        let (mut cpu, _) = about_to_repeat(&[0xF3, 0xAA, 0xEB, 0xFE], false);
        let mut s = cpu.state().clone();
        s.gpr[RCX] = (1 << 20) + 1;
        s.shadow = shadow;
        s.rflags |= if shadow { 0 } else { TF };
        cpu.set_state(s);
        assert_eq!(cpu.run(1, false), Exit::Repeats);
        assert_eq!((cpu.retired(), cpu.gpr(RCX)), (0, 1 << 20));
        assert_eq!(cpu.state().shadow, shadow);
        let exit = cpu.run(1, false);
        assert_eq!((exit, cpu.retired()), (Exit::Budget, 1));
        assert!(!cpu.state().shadow);
        // The debug exception comes once, behind it.
        assert_eq!(cpu.state().rip == HANDLERS + 16, !shadow);
    }
}

#[test]
fn a_move_onto_itself_repeats_the_first_bytes() {
    // rep movsb; jmp $
    let (mut cpu, ram) = machine(&[0xF3, 0xA4, 0xEB, 0xFE], false);
    ram.write(DATA, b"abc").unwrap();
    cpu.set_gpr(RSI, DATA);
    cpu.set_gpr(RDI, DATA + 3);
    cpu.set_gpr(RCX, 9);
    cpu.run(1, false);
    let mut bytes = [0; 12];
    ram.read(DATA, &mut bytes).unwrap();
    assert_eq!(&bytes, b"abcabcabcabc");
}

#[test]
fn a_fault_in_a_repeated_store_resumes_where_it_stopped() {
    // rep stosq; jmp $
    let (mut cpu, ram) = machine(&[0xF3, 0x48, 0xAB, 0xEB, 0xFE], true);
    cpu.set_gpr(RAX, 7);
    cpu.set_gpr(RDI, DATA + 0xFF0);
    cpu.set_gpr(RCX, 4);
    assert_eq!(vector_hit(&mut cpu), Some(14));
    assert_eq!((cpu.gpr(RCX), cpu.gpr(RDI)), (2, DATA + 0x1000));
    assert_eq!(
        word(&ram, cpu.gpr(RSP) + 8),
        CODE,
        "the fault names the instruction"
    );
    assert_eq!(cpu.state().cr2, DATA + 0x1000);
    assert_eq!(
        (word(&ram, DATA + 0xFF8), word(&ram, DATA + 0x1000)),
        (7, 0)
    );
}

#[test]
fn a_comparison_that_faults_leaves_the_flags() {
    // xor eax, eax; repe scasb
    let (mut cpu, _) = machine(&[0x31, 0xC0, 0xF3, 0xAE], true);
    cpu.set_gpr(RDI, DATA + 0xFFE);
    cpu.set_gpr(RCX, 9);
    let zero_and_even = 0x44;
    assert_eq!(vector_hit(&mut cpu), Some(14));
    assert_eq!(cpu.gpr(RCX), 7);
    assert_eq!(cpu.state().rflags & 0x8D5, zero_and_even);
}

#[test]
fn a_division_that_does_not_fit_faults_and_changes_nothing() {
    // div rbx
    let (mut cpu, ram) = machine(&[0x48, 0xF7, 0xF3], false);
    cpu.set_gpr(RAX, 5);
    cpu.set_gpr(RDX, 3);
    cpu.set_gpr(RBX, 3);
    assert_eq!(vector_hit(&mut cpu), Some(0));
    assert_eq!((cpu.gpr(RAX), cpu.gpr(RDX)), (5, 3));
    assert_eq!(word(&ram, cpu.gpr(RSP)), CODE);
}

#[test]
fn the_most_negative_number_over_minus_one_faults() {
    // idiv rbx
    let (mut cpu, _) = machine(&[0x48, 0xF7, 0xFB], false);
    cpu.set_gpr(RAX, 1 << 63);
    cpu.set_gpr(RDX, !0);
    cpu.set_gpr(RBX, !0);
    assert_eq!(vector_hit(&mut cpu), Some(0));
}

#[test]
fn sixteen_bytes_are_exchanged_only_when_aligned() {
    // lock cmpxchg16b [rdi]; hlt faults in ring 3
    let code = [0xF0, 0x48, 0x0F, 0xC7, 0x0F, 0xF4];
    let (mut cpu, ram) = machine(&code, false);
    cpu.set_gpr(RDI, DATA + 8);
    assert_eq!(vector_hit(&mut cpu), Some(13));
    assert_eq!(word(&ram, cpu.gpr(RSP) + 8), CODE);
    let (mut cpu, ram) = machine(&code, false);
    cpu.set_gpr(RDI, DATA);
    cpu.set_gpr(RBX, 1);
    cpu.set_gpr(RCX, 2);
    cpu.run(1, false);
    assert_eq!((word(&ram, DATA), word(&ram, DATA + 8)), (1, 2));
    assert_ne!(cpu.state().rflags & 0x40, 0);
}

#[test]
fn a_bit_string_reaches_before_its_base() {
    // bts [rdi], rax
    let (mut cpu, ram) = machine(&[0x48, 0x0F, 0xAB, 0x07], false);
    cpu.set_gpr(RDI, DATA + 16);
    cpu.set_gpr(RAX, -65i64 as u64);
    cpu.run(1, false);
    assert_eq!(word(&ram, DATA), 1 << 63);
}

#[test]
fn zero_counters_of_newer_cpus_are_bit_scans() {
    // mov eax, 8; tzcnt ecx, eax; lzcnt edx, eax; xor ebx, ebx; tzcnt edi, ebx
    let code = [
        0xB8, 8, 0, 0, 0, 0xF3, 0x0F, 0xBC, 0xC8, 0xF3, 0x0F, 0xBD, 0xD0, 0x31, 0xDB, 0xF3, 0x0F,
        0xBC, 0xFB,
    ];
    let (mut cpu, _) = machine(&code, false);
    cpu.set_gpr(RDI, 77);
    assert_eq!(cpu.run(5, false), Exit::Budget);
    assert_eq!((cpu.gpr(RCX), cpu.gpr(RDX), cpu.gpr(RDI)), (3, 3, 77));
    assert_ne!(cpu.state().rflags & 0x40, 0, "ZF: the source was zero");
}

#[test]
fn a_jump_out_of_the_address_space_faults_at_the_jump() {
    // jmp rax
    let (mut cpu, ram) = machine(&[0xFF, 0xE0], false);
    cpu.set_gpr(RAX, 1 << 47);
    assert_eq!(vector_hit(&mut cpu), Some(13));
    assert_eq!(word(&ram, cpu.gpr(RSP) + 8), CODE);
}

#[test]
fn a_call_that_cannot_push_changes_nothing() {
    // call +0
    let (mut cpu, ram) = machine(&[0xE8, 0, 0, 0, 0], true);
    cpu.set_gpr(RSP, DATA + 0x1004);
    assert_eq!(vector_hit(&mut cpu), Some(14));
    assert_eq!(word(&ram, cpu.gpr(RSP) + 8), CODE);
    assert_eq!(word(&ram, cpu.gpr(RSP) + 32), DATA + 0x1004);
}

#[test]
fn a_repeated_store_reaches_a_device_one_by_one() {
    // rep stosd; jmp $
    let (mut cpu, _) = machine(&[0xF3, 0xAB, 0xEB, 0xFE], false);
    let device = SIZE + 0x1000;
    cpu.set_gpr(RAX, 9);
    cpu.set_gpr(RDI, device);
    cpu.set_gpr(RCX, 3);
    for n in 0..3 {
        let exit = cpu.run(1, false);
        assert_eq!(
            exit,
            Exit::MmioWrite {
                address: device + 4 * n,
                size: 4,
                value: 9
            }
        );
        assert_eq!(cpu.retired(), 0);
        cpu.complete(0);
    }
    assert_eq!(cpu.run(1, false), Exit::Budget);
    assert_eq!((cpu.retired(), cpu.gpr(RCX)), (1, 0));
}

#[test]
fn a_comparison_reads_a_device_one_by_one() {
    // repe scasb; jmp $
    let (mut cpu, _) = machine(&[0xF3, 0xAE, 0xEB, 0xFE], false);
    let device = SIZE + 0x1000;
    cpu.set_gpr(RDI, device);
    cpu.set_gpr(RCX, 5);
    for (n, value) in [0, 0, 1].into_iter().enumerate() {
        let exit = cpu.run(1, false);
        let address = device + n as u64;
        assert_eq!(exit, Exit::MmioRead { address, size: 1 });
        cpu.complete(value);
    }
    assert_eq!(cpu.run(1, false), Exit::Budget);
    assert_eq!((cpu.gpr(RCX), cpu.gpr(RDI)), (2, device + 3));
    assert_eq!(cpu.state().rflags & 0x41, 1, "0 is below 1");
}

#[test]
fn a_swap_of_sixteen_bits_clears_them() {
    // bswap ax
    let (mut cpu, _) = machine(&[0x66, 0x0F, 0xC8], false);
    cpu.set_gpr(RAX, 0x1122_3344_5566_7788);
    cpu.run(1, false);
    assert_eq!(cpu.gpr(RAX), 0x1122_3344_5566_0000);
}

#[test]
fn pause_with_a_register_is_an_exchange() {
    // pause; pause with REX.B: xchg r8d, eax
    let (mut cpu, _) = machine(&[0xF3, 0x90, 0xF3, 0x41, 0x90], false);
    cpu.set_gpr(RAX, 1);
    cpu.set_gpr(8, 2);
    cpu.run(2, false);
    assert_eq!((cpu.gpr(RAX), cpu.gpr(8)), (2, 1));
}

#[test]
fn undefined_flags_have_their_fixed_values() {
    // Behind mov ax, 0xD500; sahf; mov eax, 0: all but OF are set.
    for (code, expected) in [
        // div cl: unchanged
        (&[0xF6u8, 0xF1][..], 0xD5),
        // bt edx, 0: only CF
        (&[0x0F, 0xBA, 0xE2, 0x00], 0xD4),
        // bsf edx, ecx: only ZF
        (&[0x0F, 0xBC, 0xD1], 0x95),
        // and ecx, ecx: AF is 0, 3 has even parity
        (&[0x21, 0xC9], 0x04),
        // shl ecx, 2: 12 has even parity, AF is 0
        (&[0xC1, 0xE1, 0x02], 0x04),
        // mul cl: 3 * 0 is zero
        (&[0xF6, 0xE1], 0x44),
    ] {
        let mut bytes = vec![0x66, 0xB8, 0x00, 0xD5, 0x9E, 0xB8, 0, 0, 0, 0];
        bytes.extend_from_slice(code);
        let (mut cpu, _) = machine(&bytes, false);
        cpu.set_gpr(RCX, 3);
        assert_eq!(cpu.run(4, false), Exit::Budget);
        assert_eq!(cpu.state().rflags & 0x8D5, expected, "{code:x?}");
    }
}
