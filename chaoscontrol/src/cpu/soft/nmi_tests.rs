//! Non-maskable interrupts (SDM volume 3, 6.7): when they are taken, and what blocks them.

use super::SoftCpu;
use super::testing::*;
use crate::cpu::{Exit, Ram, Vcpu};

/// The handler of vector 2 counts in RBX and returns.
fn cpu_with_handler(code: &[u8], cpl: u8) -> (SoftCpu, Ram) {
    let (cpu, ram) = cpu(code, cpl);
    ram.write(HANDLERS + 0x20, assemble!("inc ebx", "nop", "iretq"))
        .unwrap();
    (cpu, ram)
}

fn rbx(cpu: &mut SoftCpu) -> u64 {
    cpu.gpr(3)
}

#[test]
fn an_nmi_is_taken_at_once_whatever_the_interrupt_flag_says() {
    let (mut cpu, ram) = cpu_with_handler(assemble!("20: inc eax", "jmp 20b"), 3);
    cpu.run(4, false);
    cpu.nmi();
    assert_eq!(cpu.retired(), 4);
    let s = cpu.state();
    assert_eq!((s.rip, s.cpl), (HANDLERS + 0x20, 0));
    assert!(s.nmi_blocked && !s.nmi_pending);
    assert_eq!(word(&ram, KERNEL_STACK - 40), CODE);
    assert_eq!(word(&ram, KERNEL_STACK - 24) & 1 << 9, 0, "IF was clear");
    cpu.run(7, false);
    let s = cpu.state();
    assert_eq!((s.rip, s.cpl, s.nmi_blocked), (CODE, 3, false));
}

#[test]
fn a_second_one_waits_for_iret_and_a_third_is_the_second() {
    let (mut cpu, _) = cpu_with_handler(assemble!("20: jmp 20b"), 0);
    cpu.nmi();
    cpu.run(1, false);
    cpu.nmi();
    cpu.nmi();
    assert_eq!((cpu.run(2, false), rbx(&mut cpu)), (Exit::Budget, 1));
    assert!(cpu.state().nmi_pending);
    // IRET is the third instruction of the handler: the next one enters it again.
    cpu.run(3, false);
    assert_eq!(cpu.state().rip, HANDLERS + 0x20);
    assert!(cpu.state().nmi_blocked && !cpu.state().nmi_pending);
    cpu.run(100, false);
    assert_eq!(rbx(&mut cpu), 2);
    assert!(!cpu.state().nmi_blocked);
}

#[test]
fn the_shadow_of_sti_puts_it_off_by_one_instruction() {
    let code = assemble!("sti", "inc eax", "20: jmp 20b");
    let (mut cpu, ram) = cpu_with_handler(code, 0);
    cpu.run(1, false);
    cpu.nmi();
    assert!(cpu.state().nmi_pending);
    cpu.run(100, false);
    assert_eq!((cpu.gpr(0), rbx(&mut cpu)), (1, 1));
    assert_eq!(word(&ram, STACK - 40), CODE + 3);
}

#[test]
fn it_ends_hlt_without_the_interrupt_flag() {
    let code = assemble!("hlt", "mov eax, 1", "20: jmp 20b");
    let (mut cpu, _) = cpu_with_handler(code, 0);
    assert_eq!(cpu.run(100, false), Exit::Halt);
    cpu.nmi();
    assert!(!cpu.halted());
    assert_eq!(cpu.run(100, false), Exit::Budget);
    assert_eq!((cpu.gpr(0), rbx(&mut cpu)), (1, 1));
}

#[test]
fn hlt_within_the_handler_goes_on_when_blocked() {
    let (mut cpu, ram) = cpu_with_handler(assemble!("20: jmp 20b"), 0);
    ram.write(HANDLERS + 0x20, assemble!("hlt")).unwrap();
    cpu.nmi();
    assert_eq!(cpu.run(100, false), Exit::Halt);
    cpu.nmi();
    assert!(cpu.halted() && cpu.state().nmi_pending);
    assert_eq!(cpu.run(100, false), Exit::Halt);
}

#[test]
fn any_iret_unblocks_even_one_that_faults() {
    let (mut cpu, ram) = cpu_with_handler(assemble!("20: jmp 20b"), 0);
    // The handler pulls a null code segment, which is #GP, whose handler halts.
    let handler = assemble!("mov qword ptr [rsp + 8], 0", "iretq");
    ram.write(HANDLERS + 0x20, handler).unwrap();
    cpu.nmi();
    cpu.nmi();
    assert!(cpu.state().nmi_pending);
    ram.write(HANDLERS + 13 * 16, assemble!("mov edx, 1", "hlt"))
        .unwrap();
    // The second comes before the first instruction of the #GP handler, and has begun.
    cpu.run(2, false);
    let begun = HANDLERS + 0x20..HANDLERS + 0x30;
    assert!(begun.contains(&cpu.state().rip));
    assert_eq!(cpu.gpr(2), 0);
    assert!(cpu.state().nmi_blocked && !cpu.state().nmi_pending);
}

#[test]
fn a_cut_makes_no_difference() {
    let code = assemble!(
        "sti",
        "inc eax",
        "push rax",
        "popfq",
        "20: inc eax",
        "jmp 20b"
    );
    let run = |slice: u64| {
        let (mut cpu, _) = cpu_with_handler(code, 0);
        for at in 1..=60 {
            if at % slice == 0 {
                cpu.run(at, false);
            }
            if matches!(at, 12 | 24 | 36) {
                cpu.nmi();
            }
        }
        cpu.state().clone()
    };
    assert_eq!(run(12), run(1));
    assert_eq!(run(12), run(3));
    assert_eq!(run(12).gpr[3], 3);
}
