use super::testing::*;
use crate::cpu::{Exit, Vcpu};

/// Runs `code` in ring `cpl` to an exception with error code, and answers vector and code.
fn error_of(code: &[u8], cpl: u8, prepare: impl FnOnce(&crate::cpu::Ram)) -> (u64, u64) {
    let (mut cpu, ram) = cpu(code, cpl);
    prepare(&ram);
    let vector = vector_hit(&mut cpu).expect("an exception");
    (vector, word(&ram, cpu.gpr(4)))
}

#[test]
fn page_faults_say_what_was_wrong() {
    let load = || assemble!("mov eax, [0x190000]");
    let store = || assemble!("mov [0x190000], eax");
    let jump = || assemble!("mov eax, 0x190000", "jmp rax");
    let entry = |value: u64| move |ram: &crate::cpu::Ram| set_word(ram, PT + 0x190 * 8, value);
    let page = 0x19_0000u64;
    // Present 1, write 2, user 4, reserved 8, fetch 16.
    assert_eq!(error_of(load(), 0, entry(0)), (14, 0));
    assert_eq!(error_of(store(), 3, entry(0)), (14, 6));
    assert_eq!(error_of(jump(), 3, entry(0)), (14, 0x14));
    assert_eq!(error_of(load(), 3, entry(page | 3)), (14, 5));
    assert_eq!(error_of(store(), 3, entry(page | 5)), (14, 7));
    assert_eq!(error_of(store(), 0, entry(page | 5)), (14, 3), "CR0.WP");
    assert_eq!(error_of(jump(), 3, entry(page | 7 | 1 << 63)), (14, 0x15));
    assert_eq!(error_of(load(), 0, entry(page | 3 | 1 << 45)), (14, 9));
    assert_eq!(error_of(store(), 3, entry(page | 7 | 1 << 45)), (14, 0xF));
}

#[test]
fn large_pages_translate_and_check_their_reserved_bits() {
    let code = assemble!("mov rax, [0x40000123]", "mov [0x40000200], rax", "hlt");
    let (mut cpu, ram) = cpu(code, 0);
    // 1 GiB from physical 0.
    set_word(&ram, PDPT + 8, 0x83);
    set_word(&ram, 0x123, 77);
    assert_eq!(cpu.run(10, false), Exit::Halt);
    assert_eq!(word(&ram, 0x200), 77);
    assert_eq!(word(&ram, PDPT + 8), 0x83 | 0x60);
    let reserved = |ram: &crate::cpu::Ram| set_word(ram, PDPT + 8, 0x83 | 1 << 13);
    assert_eq!(error_of(code, 0, reserved), (14, 9));
}

#[test]
fn accessed_and_dirty_bits_follow_the_accesses() {
    let code = assemble!(
        "mov rax, [0x190000]",
        "mov rbx, [0x4C80]",
        "mov [0x190000], rax",
        "mov rcx, [0x4C80]",
        // The guest clears both; a store sets them again.
        "mov qword ptr [0x4C80], 0x190007",
        "mov [0x190000], rax",
        "mov rdx, [0x4C80]",
        "hlt",
    );
    let (mut cpu, _) = cpu(code, 0);
    assert_eq!(cpu.run(10, false), Exit::Halt);
    assert_eq!(cpu.gpr(3), 0x19_0027);
    assert_eq!(cpu.gpr(1), 0x19_0067);
    assert_eq!(cpu.gpr(2), 0x19_0067);
}

#[test]
fn a_changed_table_counts_at_once() {
    // No INVLPG: there is no TLB to see.
    let code = assemble!(
        "mov rax, [0x190000]",
        "mov qword ptr [0x4C80], 0",
        "mov rax, [0x190000]",
    );
    assert_eq!(error_of(code, 0, |_| {}), (14, 0));
}

#[test]
fn addresses_have_to_be_canonical() {
    let far = assemble!("mov rax, 0x800000000000", "mov [rax], rax");
    assert_eq!(error_of(far, 3, |_| {}), (13, 0));
    let stack = assemble!("mov rsp, 0x800000001000", "push rax");
    assert_eq!(error_of(stack, 3, |_| {}), (12, 0));
    let base = assemble!("mov rbp, 0x800000000000", "mov rax, [rbp]");
    assert_eq!(error_of(base, 3, |_| {}), (12, 0));
}

#[test]
fn a_frame_holds_where_it_came_from() {
    let code = assemble!("ud2");
    let (mut cpu, ram) = cpu(code, 3);
    assert_eq!(vector_hit(&mut cpu), Some(6));
    let s = cpu.state();
    assert_eq!((s.cpl, s.gpr[4]), (0, KERNEL_STACK - 40));
    let frame: Vec<u64> = (0..5)
        .map(|n| word(&ram, KERNEL_STACK - 40 + 8 * n))
        .collect();
    assert_eq!(frame, [CODE, 0x23, 0x1_0002, STACK, 0x1B], "RF is set");
}

#[test]
fn traps_point_behind_their_instruction() {
    let code = assemble!("int3");
    let (mut cpu, ram) = cpu(code, 3);
    gate(&ram, 3, HANDLERS + 48, 0xF, 3, 0);
    assert_eq!(vector_hit(&mut cpu), Some(3));
    assert_eq!(word(&ram, KERNEL_STACK - 40), CODE + 1);
}

#[test]
fn gates_are_for_those_they_admit() {
    // Vector 0x30 in the IDT, not a software interrupt of ring 3's.
    assert_eq!(error_of(assemble!("int 0x30"), 3, |_| {}), (13, 0x182));
    assert_eq!(error_of(assemble!("int 0x80"), 0, |_| {}), (13, 0x402));
}

#[test]
fn ist_switches_stacks_in_ring_0_too() {
    let (mut cpu, ram) = cpu(assemble!("ud2"), 0);
    gate(&ram, 6, HANDLERS + 96, 0xE, 0, 1);
    assert_eq!(vector_hit(&mut cpu), Some(6));
    assert_eq!(cpu.gpr(4), IST1 - 40);
    assert_eq!(word(&ram, IST1 - 16), STACK);
}

#[test]
fn a_fault_in_a_fault_doubles_and_triples() {
    let bad_stack = || assemble!("mov rsp, 0x700000000000", "ud2");
    let (mut cpu, ram) = cpu(bad_stack(), 0);
    gate(&ram, 8, HANDLERS + 128, 0xE, 0, 1);
    // #UD is benign: its page fault is delivered, whose own page fault doubles.
    assert_eq!(vector_hit(&mut cpu), Some(8));
    assert_eq!(word(&ram, IST1 - 48), 0, "error code");
    let (mut cpu, _) = super::testing::cpu(bad_stack(), 0);
    assert_eq!(cpu.run(100, false), Exit::Shutdown);
    assert_eq!(cpu.run(100, false), Exit::Shutdown);
}

#[test]
fn single_steps_trap_behind_each_instruction() {
    let code = assemble!("pushfq", "or qword ptr [rsp], 0x100", "popfq", "nop", "nop");
    let (mut cpu, ram) = cpu(code, 0);
    assert_eq!(vector_hit(&mut cpu), Some(1));
    assert_eq!(word(&ram, STACK - 40), CODE + code.len() as u64 - 1);
    assert_eq!(cpu.state().dr[6] & 1 << 14, 1 << 14);
}

#[test]
fn floating_point_can_be_switched_off() {
    let no_sse = assemble!(
        "mov rax, cr4",
        "and eax, 0xFFFFFDFF",
        "mov cr4, rax",
        "xorps xmm0, xmm0"
    );
    let (mut one, _) = cpu(no_sse, 0);
    assert_eq!(vector_hit(&mut one), Some(6));
    let switched = assemble!(
        "mov rax, cr0",
        "or eax, 8",
        "mov cr0, rax",
        "xorps xmm0, xmm0"
    );
    let (mut two, _) = cpu(switched, 0);
    assert_eq!(vector_hit(&mut two), Some(7));
}

#[test]
fn a_handler_that_cannot_be_fetched_takes_time() {
    let (mut cpu, ram) = cpu(assemble!("ud2"), 0);
    gate(&ram, 6, 0x7000_0000_0000, 0xE, 0, 1);
    gate(&ram, 14, 0x7000_0000_0000, 0xE, 0, 1);
    assert_eq!(cpu.run(1000, false), Exit::Budget);
    assert_eq!(cpu.retired(), 1000);
}

#[test]
fn address_spaces_take_turns() {
    // Two roots that differ in where 0x190000 leads; the second's table changes while the
    // first is in use.
    let code = assemble!(
        "mov r8d, 0x1000",
        "mov r9d, 0x30000",
        "mov rax, [0x190000]",
        "mov cr3, r9",
        "mov rbx, [0x190000]",
        "mov cr3, r8",
        "mov rcx, [0x190000]",
        "mov qword ptr [0x33C80], 0x193007",
        "mov rdx, [0x190000]",
        "mov cr3, r9",
        "mov rsi, [0x190000]",
        "hlt",
    );
    let (mut cpu, ram) = cpu(code, 0);
    for (at, value) in [
        (0x3_0000, 0x3_1007),
        (0x3_1000, 0x3_2007),
        (0x3_2000, 0x3_3007),
    ] {
        set_word(&ram, at, value);
    }
    for page in 0..512 {
        set_word(&ram, 0x3_3000 + page * 8, page << 12 | 7);
    }
    set_word(&ram, 0x3_3C80, 0x19_2007);
    for n in 0..4 {
        set_word(&ram, DATA + n * 0x1000, 10 + n);
    }
    assert_eq!(cpu.run(100, false), Exit::Halt);
    let seen = [0, 3, 1, 2, 6].map(|register| cpu.gpr(register));
    assert_eq!(seen, [10, 12, 10, 10, 13]);
}
