use std::sync::Arc;

use super::bits::IF;
use super::blocks::Blocks;
use super::code::CodeStore;
use super::coverage::{REGION, REGIONS};
use super::testing::*;
use super::{CpuState, SoftCpu};
use crate::cpu::ram::PAGE_SIZE;
use crate::cpu::{Exit, Ram, Vcpu};

#[test]
fn a_limit_is_exact() {
    let code = assemble!("mov eax, 5", "add eax, 7", "20: jmp 20b");
    let (mut cpu, _) = cpu(code, 3);
    assert_eq!(cpu.run(1, false), Exit::Budget);
    assert_eq!((cpu.gpr(0), cpu.state().rip), (5, CODE + 5));
    assert_eq!(cpu.run(2, false), Exit::Budget);
    assert_eq!((cpu.gpr(0), cpu.state().rip), (12, CODE + 8));
    assert_eq!(cpu.run(100, false), Exit::Budget);
    assert_eq!((cpu.retired(), cpu.state().rip), (100, CODE + 8));
}

#[test]
fn stores_and_loads_go_through_the_tables() {
    let code = assemble!("mov [0x190FFC], rax", "mov rbx, [0x190FFC]", "20: jmp 20b");
    let (mut cpu, ram) = cpu(code, 3);
    cpu.set_gpr(0, 0x1122_3344_5566_7788);
    assert_eq!(cpu.run(10, false), Exit::Budget);
    assert_eq!(cpu.gpr(3), 0x1122_3344_5566_7788);
    assert_eq!(word(&ram, DATA + 0xFFC), 0x1122_3344_5566_7788);
    assert_eq!(
        word(&ram, PT + 0x190 * 8) & 0x60,
        0x60,
        "accessed and dirty"
    );
}

#[test]
fn code_that_changes_itself_runs_as_changed() {
    // The immediate of the instruction right behind the store is what counts.
    let code = assemble!(
        "mov ecx, 3",
        "20:",
        "mov byte ptr [rip + 21f + 1], cl",
        "21:",
        "mov eax, 0x11111100",
        "add ebx, eax",
        "dec ecx",
        "jnz 20b",
        "hlt",
    );
    let (mut cpu, _) = cpu(code, 0);
    assert_eq!(cpu.run(1000, false), Exit::Halt);
    assert_eq!(cpu.gpr(3) as u32, 0x3333_3306);
}

#[test]
fn a_full_store_of_code_is_left_unnoticed() {
    let code = assemble!(
        "mov ecx, 50",
        "20:",
        "call 21f",
        "jz 22f",
        "jmp 20b",
        "21:",
        "add eax, ecx",
        "dec ecx",
        "ret",
        "22:",
        "hlt",
    );
    let (mut cpu, _) = cpu(code, 0);
    cpu.blocks = Blocks::new(CodeStore::with_room(2));
    let small = Arc::clone(cpu.blocks.code());
    assert_eq!(cpu.run(1000, false), Exit::Halt);
    assert_eq!(cpu.gpr(0), 50 * 51 / 2);
    assert!(!Arc::ptr_eq(&small, cpu.blocks.code()));
}

#[test]
fn a_device_that_writes_code_is_seen() {
    let code = assemble!("20:", "mov eax, 1", "jmp 20b");
    let (mut cpu, ram) = cpu(code, 3);
    cpu.run(10, false);
    ram.write(CODE + 1, &[2]).unwrap();
    cpu.run(12, false);
    assert_eq!(cpu.gpr(0), 2);
}

#[test]
fn an_instruction_may_cross_pages() {
    let (mut cpu, ram) = cpu(&[], 3);
    // mov eax, 0x01020304, three bytes before the end of a page; jmp $
    ram.write(CODE + 0xFFD, &[0xB8, 4, 3, 2, 1, 0xEB, 0xFE])
        .unwrap();
    let mut state = cpu.state().clone();
    state.rip = CODE + 0xFFD;
    cpu.set_state(state.clone());
    cpu.run(5, false);
    assert_eq!((cpu.gpr(0), cpu.state().rip), (0x0102_0304, CODE + 0x1002));
    // Its second half is another's page now.
    ram.write(CODE + 0x1001, &[9]).unwrap();
    state.retired = 5;
    cpu.set_state(state.clone());
    cpu.run(6, false);
    assert_eq!(cpu.gpr(0), 0x0902_0304);
    // A fault on the second half names its address.
    set_word(&ram, PT + 0x101 * 8, 0);
    cpu.set_state(state);
    assert_eq!(vector_hit(&mut cpu), Some(14));
    assert_eq!(cpu.state().cr2, CODE + 0x1000);
    assert_eq!(
        word(&ram, KERNEL_STACK - 48),
        0x4 | 0x10,
        "a fetch from ring 3"
    );
}

#[test]
fn device_memory_is_reached_one_access_at_a_time() {
    let code = assemble!(
        "mov ebx, 0x2000000",
        "add dword ptr [rbx], 5",
        "mov [rbx+2], eax",
        "hlt"
    );
    let (mut cpu, _) = cpu(code, 0);
    cpu.set_gpr(0, 0xAABB_CCDD);
    let read = Exit::MmioRead {
        address: 0x200_0000,
        size: 4,
    };
    assert_eq!(cpu.run(100, false), read);
    assert_eq!((cpu.retired(), cpu.state().rip), (1, CODE + 5));
    cpu.complete(37);
    assert_eq!(cpu.retired(), 1, "the store is still to come");
    assert!(!cpu.interruptible());
    let write = |address, size, value| Exit::MmioWrite {
        address,
        size,
        value,
    };
    assert_eq!(cpu.run(100, false), write(0x200_0000, 4, 42));
    cpu.complete(0);
    assert_eq!(cpu.retired(), 2);
    assert_eq!(cpu.run(100, false), write(0x200_0002, 2, 0xCCDD));
    cpu.complete(0);
    assert_eq!(cpu.run(100, false), write(0x200_0004, 2, 0xAABB));
    cpu.complete(0);
    assert_eq!(cpu.run(100, false), Exit::Halt);
    assert_eq!(cpu.retired(), 4);
}

#[test]
fn a_string_instruction_on_device_memory_is_one_instruction() {
    let code = assemble!(
        "mov edi, 0x2000000",
        "mov ecx, 3",
        "mov eax, 7",
        "rep stosd",
        "hlt"
    );
    let (mut cpu, _) = cpu(code, 0);
    for n in 0..3 {
        let write = Exit::MmioWrite {
            address: 0x200_0000 + 4 * n,
            size: 4,
            value: 7,
        };
        assert_eq!(cpu.run(100, false), write);
        assert_eq!(cpu.retired(), 3);
        // A copy goes on as the original does.
        let state = cpu.state().clone();
        cpu.set_state(state);
        cpu.complete(0);
    }
    assert_eq!(cpu.retired(), 4);
    assert_eq!(cpu.run(100, false), Exit::Halt);
}

#[test]
fn a_string_instruction_resumes_behind_a_fault() {
    let code = assemble!(
        "mov edi, 0x190FF8",
        "mov ecx, 4",
        "rep stosd",
        "20: jmp 20b"
    );
    let (mut cpu, ram) = cpu(code, 3);
    set_word(&ram, PT + 0x191 * 8, 0);
    assert_eq!(vector_hit(&mut cpu), Some(14));
    assert_eq!((cpu.gpr(1), cpu.gpr(7)), (2, 0x19_1000));
    assert_eq!(
        word(&ram, KERNEL_STACK - 40),
        CODE + 10,
        "points at the instruction"
    );
    assert_eq!(cpu.retired(), 3, "two and the handler's HLT");
}

/// A program that touches much: memory, flags, strings, calls, faults that are handled,
/// page tables, its own code.
fn busy() -> (SoftCpu, Ram) {
    let code = assemble!(
        "mov r12d, 0x190000",
        "mov r13d, 200",
        "20:",
        "imul eax, r13d, 1103515245",
        "add eax, 12345",
        "mov [r12 + r13*8 + 0x7C5], rax",
        "lea rdi, [r12 + 0x900]",
        "mov rsi, r12",
        "mov ecx, 300",
        "rep movsb",
        "call 30f",
        "mov byte ptr [rip + 22f + 1], al",
        "22: mov bl, 0",
        "adc rdx, rbx",
        // Page 0x1A0 leads to 0x1A0 and 0x1A1 in turn.
        "mov r8d, r13d",
        "and r8d, 1",
        "add r8d, 0x1A0",
        "shl r8d, 12",
        "or r8d, 7",
        "mov [0x4000 + 0x1A0 * 8], r8",
        "add [0x1A0010], rdx",
        "ud2",
        "dec r13d",
        "jnz 20b",
        "hlt",
        "30:",
        "push rax",
        "xor rax, [rsp]",
        "pop rax",
        "shr eax, 7",
        "pushfq",
        "pop rbx",
        "ret",
    );
    let (cpu, ram) = cpu(code, 0);
    // #UD: step over it.
    let handler = assemble!("add qword ptr [rsp], 2", "iretq");
    ram.write(HANDLERS + 6 * 16, handler).unwrap();
    (cpu, ram)
}

fn memory(ram: &Ram) -> u64 {
    let mut hash = xxhash_rust::xxh3::Xxh3::new();
    let mut page = [0; PAGE_SIZE as usize];
    for pfn in 0..ram.pages() {
        ram.read(pfn * PAGE_SIZE, &mut page).unwrap();
        hash.update(&page);
    }
    hash.digest()
}

/// Runs to the end in steps that `cut` chooses, `between` doing what it likes.
fn outcome(
    mut cut: impl FnMut(u64) -> u64,
    mut between: impl FnMut(&mut SoftCpu),
) -> (CpuState, u64) {
    let (mut cpu, ram) = busy();
    loop {
        let limit = cpu.retired() + cut(cpu.retired());
        match cpu.run(limit, false) {
            Exit::Budget => assert_eq!(cpu.retired(), limit),
            Exit::Halt => return (cpu.state().clone(), memory(&ram)),
            other => panic!("{other:?} at {:#x}", cpu.state().rip),
        }
        between(&mut cpu);
    }
}

#[test]
fn cuts_and_flushes_at_any_instruction_change_nothing() {
    let whole = outcome(|_| 1 << 40, |_| {});
    assert!(whole.0.retired > 5000, "{}", whole.0.retired);
    assert_eq!(whole, outcome(|_| 1, |_| {}), "single steps");
    let mut random = 1u64;
    let mut next = move |_| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        1 + (random >> 59)
    };
    assert_eq!(
        whole,
        outcome(&mut next, SoftCpu::flush_caches),
        "cold caches"
    );
    let reload = |cpu: &mut SoftCpu| {
        let state = cpu.state().clone();
        cpu.set_state(state);
    };
    assert_eq!(whole, outcome(&mut next, reload), "restored");
    let snapshot = |cpu: &mut SoftCpu| cpu.forget_writes();
    assert_eq!(whole, outcome(&mut next, snapshot), "dirty marks cleared");
}

#[test]
fn an_interrupt_comes_before_the_instruction_it_is_offered_at() {
    let code = assemble!("inc eax", "sti", "inc eax", "inc eax", "20: jmp 20b");
    let (mut cpu, ram) = cpu(code, 0);
    assert_eq!(cpu.run(100, true), Exit::InterruptWindow);
    // STI shadows one instruction.
    assert_eq!((cpu.retired(), cpu.gpr(0)), (3, 2));
    assert!(cpu.interruptible());
    cpu.inject(0x30);
    assert_eq!(cpu.retired(), 3);
    assert_eq!(cpu.state().rip, HANDLERS + 0x300);
    assert_eq!(word(&ram, STACK - 40), CODE + 5);
    assert_eq!(word(&ram, STACK - 24) & IF, IF);
    assert!(!cpu.interruptible());
}

#[test]
fn a_cut_in_the_shadow_keeps_it() {
    let code = assemble!("sti", "nop", "20: jmp 20b");
    let (mut cpu, _) = cpu(code, 0);
    cpu.run(1, false);
    assert!(!cpu.interruptible() && cpu.state().shadow);
    assert_eq!(cpu.run(9, true), Exit::InterruptWindow);
    assert_eq!(cpu.retired(), 2);
}

#[test]
fn hlt_waits_for_an_interrupt() {
    let code = assemble!("sti", "hlt", "mov eax, 1", "20: jmp 20b");
    let (mut cpu, ram) = cpu(code, 0);
    ram.write(HANDLERS + 0x300, assemble!("iretq")).unwrap();
    assert_eq!(cpu.run(100, false), Exit::Halt);
    assert_eq!((cpu.retired(), cpu.halted()), (2, true));
    assert_eq!(cpu.run(100, false), Exit::Halt);
    assert!(cpu.interruptible());
    cpu.inject(0x30);
    cpu.run(5, false);
    assert_eq!(cpu.gpr(0), 1);
}

#[test]
fn what_is_missing_is_named() {
    // vaddps ymm0, ymm0, ymm0
    let (mut cpu, _) = cpu(&[0xC5, 0xFC, 0x58, 0xC0], 3);
    assert_eq!(vector_hit(&mut cpu), Some(6));
    let name = cpu.missing().keys().next().unwrap();
    assert!(name.contains("Vaddps"), "{name}");
}

#[test]
fn branches_count_by_their_place() {
    let code = assemble!("mov ecx, 5", "20: dec ecx", "jnz 20b", "hlt");
    let (mut cpu, _) = cpu(code, 0);
    let mut counters: Box<[u8]> = vec![0; REGION * REGIONS].into();
    cpu.swap_counters(&mut counters);
    cpu.run(100, false);
    cpu.swap_counters(&mut counters);
    let mut hits: Vec<u8> = counters.iter().copied().filter(|&n| n != 0).collect();
    hits.sort();
    assert_eq!(hits, [1, 4]);
}
