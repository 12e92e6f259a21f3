//! Directed tests: faults, MXCSR, the transition to MMX, and what hosts disagree about.

use crate::cpu::soft::bits::CR4_OSXMMEXCPT;
use crate::cpu::soft::testing::{self, DATA, set_word, vector_hit, word};
use crate::cpu::soft::{CpuState, SoftCpu};
use crate::cpu::{Exit, Ram, Vcpu};

/// The state after `code`, which may use RSI = DATA and starts as `set` says.
fn run(code: &[u8], set: impl FnOnce(&mut CpuState, &Ram)) -> (SoftCpu, Ram, Option<u64>) {
    let (mut cpu, ram) = testing::cpu(&[code, &[0xF4]].concat(), 0);
    let mut s = cpu.state().clone();
    s.gpr[6] = DATA;
    set(&mut s, &ram);
    cpu.set_state(s);
    let vector = vector_hit(&mut cpu);
    (cpu, ram, vector)
}

const MOVAPS_LOAD: &[u8] = &[0x0F, 0x28, 0x0E];
const DIVSS: &[u8] = &[0xF3, 0x0F, 0x5E, 0xCA];
const PADDB_MM: &[u8] = &[0x0F, 0xFC, 0xCA];

#[test]
fn aligned_operands_have_to_be_aligned() {
    assert_eq!(run(MOVAPS_LOAD, |_, _| ()).2, None);
    assert_eq!(run(MOVAPS_LOAD, |s, _| s.gpr[6] += 8).2, Some(13));
    let movups = &[0x0F, 0x10, 0x0E];
    assert_eq!(run(movups, |s, _| s.gpr[6] += 8).2, None);
}

#[test]
fn control_registers_switch_instructions_off() {
    assert_eq!(run(DIVSS, |s, _| s.cr0 |= 8).2, Some(7));
    assert_eq!(run(DIVSS, |s, _| s.cr0 |= 4).2, Some(6));
    assert_eq!(run(DIVSS, |s, _| s.cr4 &= !(1 << 9)).2, Some(6));
    assert_eq!(run(PADDB_MM, |s, _| s.cr4 &= !(1 << 9)).2, None);
    let movq2dq = &[0xF3, 0x0F, 0xD6, 0xCA];
    assert_eq!(run(movq2dq, |s, _| s.cr4 &= !(1 << 9)).2, Some(6));
}

#[test]
fn an_unmasked_division_by_zero_leaves_the_destination_alone() {
    let unmask = |s: &mut CpuState| {
        s.mxcsr = 0x1F80 & !(1 << 9);
        s.xmm[1] = 0x3F80_0000;
    };
    let (cpu, _, vector) = run(DIVSS, |s, _| unmask(s));
    assert_eq!(vector, Some(19));
    assert_eq!(cpu.state().xmm[1], 0x3F80_0000);
    assert_eq!(cpu.state().mxcsr & 0x3F, 4);
    let (.., vector) = run(DIVSS, |s, _| {
        unmask(s);
        s.cr4 &= !CR4_OSXMMEXCPT;
    });
    assert_eq!(vector, Some(6));
}

#[test]
fn mxcsr_takes_defined_bits_only() {
    let ldmxcsr = &[0x0F, 0xAE, 0x16];
    let (cpu, _, vector) = run(ldmxcsr, |_, ram| set_word(ram, DATA, 0xFFFF));
    assert_eq!((cpu.state().mxcsr, vector), (0xFFFF, None));
    let (cpu, _, vector) = run(ldmxcsr, |_, ram| set_word(ram, DATA, 0x1_1F80));
    assert_eq!((cpu.state().mxcsr, vector), (0x1F80, Some(13)));
    let (_, ram, _) = run(&[0x0F, 0xAE, 0x1E], |_, ram| set_word(ram, DATA, !0));
    assert_eq!(word(&ram, DATA), 0xFFFF_FFFF_0000_1F80);
}

#[test]
fn mmx_takes_the_x87_registers_over() {
    let (cpu, ..) = run(PADDB_MM, |s, _| {
        s.fpu.top = 3;
        s.fpu.regs[1] = 0x80;
        s.fpu.regs[2] = 0x81;
    });
    let fpu = &cpu.state().fpu;
    assert_eq!((fpu.top, fpu.valid), (0, 0xFF));
    assert_eq!(fpu.regs[1], 0xFFFF << 64 | 1);
    assert_eq!(fpu.regs[2], 0x81);
    let emms = [PADDB_MM, &[0x0F, 0x77]].concat();
    assert_eq!(run(&emms, |_, _| ()).0.state().fpu.valid, 0);
    assert_eq!(run(PADDB_MM, |s, _| s.fpu.status = 0x81).2, Some(16));
    // CVTPI2PD from memory is no use of MMX.
    let (cpu, _, vector) = run(&[0x66, 0x0F, 0x2A, 0x0E], |s, _| s.fpu.status = 0x81);
    assert_eq!((cpu.state().fpu.valid, vector), (0, None));
}

#[test]
fn masked_stores_touch_selected_bytes_only() {
    let maskmovdqu = &[0x66, 0x0F, 0xF7, 0xCA];
    let (_, ram, vector) = run(maskmovdqu, |s, _| {
        s.gpr[7] = DATA + 1;
        s.xmm[1] = 0x1111_1111_1111_1111_1111_1111_1111_1111;
        s.xmm[2] = 0x80_0080;
    });
    assert_eq!((word(&ram, DATA), vector), (0x1100_1100, None));
}

#[test]
fn approximations_are_the_rounded_quotients() {
    let one = |code: &[u8], x: u32| {
        let (mut cpu, ram) = testing::cpu(code, 0);
        let mut s = cpu.state().clone();
        s.xmm[2] = x as u128;
        let limit = s.retired + 1;
        cpu.set_state(s);
        assert_eq!(cpu.run(limit, false), Exit::Budget);
        assert_eq!(cpu.state().mxcsr, 0x1F80);
        drop(ram);
        cpu.state().xmm[1] as u32
    };
    let rcp = |x| one(&[0xF3, 0x0F, 0x53, 0xCA], x);
    let rsqrt = |x| one(&[0xF3, 0x0F, 0x52, 0xCA], x);
    for (x, reciprocal, root) in [
        (0x4040_0000, 0x3EAA_AAAB, 0x3F13_CD3A),
        (0x4080_0000, 0x3E80_0000, 0x3F00_0000),
        (0xC000_0000, 0xBF00_0000, 0xFFC0_0000),
        (0x0000_0000, 0x7F80_0000, 0x7F80_0000),
        (0x8000_0000, 0xFF80_0000, 0xFF80_0000),
        (0x8000_0001, 0xFF80_0000, 0xFF80_0000),
        (0x7F80_0000, 0x0000_0000, 0x0000_0000),
        (0xFF80_0000, 0x8000_0000, 0xFFC0_0000),
        (0x7F80_0001, 0x7FC0_0001, 0x7FC0_0001),
        (0xFF00_0000, 0x8000_0000, 0xFFC0_0000),
    ] {
        assert_eq!((rcp(x), rsqrt(x)), (reciprocal, root), "{x:#x}");
    }
}
