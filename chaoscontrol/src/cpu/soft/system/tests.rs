use crate::cpu::soft::bits::{AC, CR0_AM};
use crate::cpu::soft::testing::*;
use crate::cpu::{Exit, Vcpu};

#[test]
fn cpuid_answers_from_the_table() {
    let (mut cpu, _) = cpu(assemble!("cpuid", "hlt"), 0);
    assert_eq!(cpu.run(10, false), Exit::Halt);
    assert_eq!(cpu.gpr(3), 0x6874_7541);
}

#[test]
fn a_port_read_waits_for_its_answer() {
    let (mut cpu, _) = cpu(assemble!("in eax, dx", "hlt"), 0);
    cpu.set_gpr(2, 0x510);
    let port = Exit::PortIn {
        port: 0x510,
        size: 4,
    };
    assert_eq!(cpu.run(10, false), port);
    assert_eq!(cpu.retired(), 0);
    assert_eq!(cpu.run(10, false), port, "asks again");
    cpu.complete(0x1234_5678);
    assert_eq!((cpu.retired(), cpu.gpr(0)), (1, 0x1234_5678));
    assert_eq!(cpu.run(10, false), Exit::Halt);
}

#[test]
fn strings_of_ports_are_one_instruction() {
    let code = assemble!(
        "mov edx, 0x60",
        "mov edi, 0x190000",
        "mov ecx, 3",
        "rep insw",
        "hlt"
    );
    let (mut cpu, ram) = cpu(code, 0);
    for n in 0..3 {
        let port = Exit::PortIn {
            port: 0x60,
            size: 2,
        };
        assert_eq!(cpu.run(100, false), port);
        assert_eq!(cpu.retired(), 3);
        cpu.complete(0x100 + n);
    }
    assert_eq!((cpu.retired(), cpu.gpr(1), cpu.gpr(7)), (4, 0, DATA + 6));
    assert_eq!(word(&ram, DATA), 0x0102_0101_0100);
    assert_eq!(cpu.run(100, false), Exit::Halt);
}

#[test]
fn ring_3_reaches_the_ports_its_bitmap_clears() {
    let code = || assemble!("mov edx, 0x510", "out dx, eax", "20: jmp 20b");
    // No bitmap within the limit.
    let (mut cpu, ram) = cpu(code(), 3);
    set_word(&ram, TSS + 0x66, 0x2000);
    assert_eq!(vector_hit(&mut cpu), Some(13));
    for (bits, allowed) in [
        (0xFFFF_FFFFu64, false),
        (0xFFFF_FFF0, true),
        (0xFFFF_FFF8, false),
    ] {
        let (mut cpu, ram) = super::super::testing::cpu(code(), 3);
        ram.write(TSS + 0x66, &0x68u16.to_le_bytes()).unwrap();
        set_word(&ram, TSS + 0x68 + 0x510 / 8, bits);
        if allowed {
            let value = 0;
            let port = 0x510;
            assert_eq!(
                cpu.run(10, false),
                Exit::PortOut {
                    port,
                    size: 4,
                    value
                }
            );
            cpu.complete(0);
            assert_eq!(cpu.retired(), 2);
        } else {
            assert_eq!(vector_hit(&mut cpu), Some(13), "{bits:#x}");
        }
    }
}

#[test]
fn rdtsc_asks_for_the_time_unless_it_is_forbidden() {
    let (mut user, _) = cpu(assemble!("rdtsc", "20: jmp 20b"), 3);
    assert_eq!(user.run(10, false), Exit::ReadTsc);
    user.complete(0x1_0000_0002);
    assert_eq!((user.gpr(0), user.gpr(2)), (2, 1));
    let (mut denied, _) = cpu(assemble!("rdtsc"), 3);
    let mut state = denied.state().clone();
    state.cr4 |= 4;
    denied.set_state(state);
    assert_eq!(vector_hit(&mut denied), Some(13));
}

#[test]
fn ring_3_may_not_do_what_is_privileged() {
    for code in [
        assemble!("hlt"),
        assemble!("cli"),
        assemble!("mov rax, cr0"),
        assemble!("mov cr3, rax"),
        assemble!("rdmsr"),
        assemble!("wrmsr"),
        assemble!("lgdt [rsp]"),
        assemble!("invlpg [rsp]"),
        assemble!("swapgs"),
        assemble!("sysretq"),
        assemble!("in al, 0x60"),
        assemble!("wbinvd"),
        assemble!("mov dr7, rax"),
    ] {
        let (mut cpu, _) = cpu(code, 3);
        assert_eq!(vector_hit(&mut cpu), Some(13), "{code:x?}");
    }
}

#[test]
fn syscall_and_sysret_change_rings() {
    let code = assemble!("syscall", "mov ebx, 1", "20: jmp 20b");
    let (mut cpu, ram) = cpu(code, 3);
    let mut state = cpu.state().clone();
    // SYSRET loads CS from 0x10 + 0x10 + 3 and SS from 0x10 + 8 + 3.
    state.star = 0x10 << 48 | 8 << 32;
    state.lstar = 0x11_0000;
    state.fmask = 0x200;
    state.rflags |= 0x200;
    cpu.set_state(state);
    ram.write(0x11_0000, assemble!("mov r8, rsp", "sysretq"))
        .unwrap();
    cpu.run(1, false);
    let s = cpu.state();
    assert_eq!((s.cpl, s.rip, s.gpr[1]), (0, 0x11_0000, CODE + 2));
    assert_eq!((s.rflags & 0x200, s.gpr[11] & 0x200), (0, 0x200));
    cpu.run(4, false);
    let s = cpu.state();
    assert_eq!(
        (s.cpl, s.segs[1].selector, s.segs[2].selector),
        (3, 0x23, 0x1B)
    );
    assert_eq!((s.gpr[3], s.gpr[8], s.rflags & 0x200), (1, STACK, 0x200));
}

#[test]
fn iret_goes_back_to_ring_3() {
    let code = assemble!(
        "push 0x1B",
        "push 0x180000",
        "push 0x202",
        "push 0x23",
        "lea rax, [rip + 20f]",
        "push rax",
        "iretq",
        "20: mov ebx, 5",
        "21: jmp 21b"
    );
    let (mut cpu, _) = cpu(code, 0);
    cpu.run(20, false);
    let s = cpu.state();
    assert_eq!(
        (s.cpl, s.gpr[3], s.gpr[4], s.rflags),
        (3, 5, 0x18_0000, 0x202)
    );
}

#[test]
fn model_specific_registers_are_denied_unless_listed() {
    let (mut known, _) = cpu(
        assemble!("mov ecx, 0xC0000102", "mov eax, 7", "wrmsr", "hlt"),
        0,
    );
    assert_eq!(known.run(10, false), Exit::Halt);
    assert_eq!(known.state().kernel_gs_base, 7);
    let (mut unknown, _) = cpu(assemble!("mov ecx, 0x48", "rdmsr"), 0);
    assert_eq!(vector_hit(&mut unknown), Some(13));
    assert!(unknown.missing().contains_key("RDMSR 0x48"));
}

#[test]
fn what_is_only_kept_or_refused_is_named() {
    let lacks = |code, cpl, cr0, name: &str| {
        let (mut cpu, ram) = cpu(code, cpl);
        // Selector 8 is a call gate instead of the kernel's code.
        set_word(&ram, GDT + 8, 0x0000_EC00_0008_0000);
        let mut s = cpu.state().clone();
        s.cr0 |= cr0;
        cpu.set_state(s);
        cpu.run(2, false);
        let names: Vec<&String> = cpu.missing().keys().collect();
        assert_eq!(names, [name]);
        cpu.state().clone()
    };
    let breakpoint = assemble!("mov eax, 0x401", "mov dr7, rax");
    let s = lacks(breakpoint, 0, 0, "MOV DR7 with a breakpoint");
    assert_eq!(s.dr[7], 0x401);
    let checks = assemble!("push 0x40202", "popfq");
    let s = lacks(checks, 3, CR0_AM, "POPFQ with alignment checks (AC)");
    assert_eq!(s.rflags & AC, AC);
    let gate = assemble!("mov word ptr [rsp - 8], 8", "jmp fword ptr [rsp - 12]");
    let name = "a far branch to a gate or to code of less than 64 bits";
    let s = lacks(gate, 3, 0, name);
    assert_eq!(s.retired, 1, "a fault");
}

#[test]
fn control_registers_refuse_what_does_not_exist() {
    for code in [
        assemble!("mov rax, cr4", "or eax, 0x100000", "mov cr4, rax"),
        assemble!("mov rax, cr0", "and eax, 0x7FFFFFFF", "mov cr0, rax"),
        assemble!(
            "mov ecx, 0xC0000080",
            "mov eax, 0x8000",
            "xor edx, edx",
            "wrmsr"
        ),
        assemble!("mov rax, 0x10000000000", "mov cr3, rax"),
    ] {
        let (mut cpu, _) = cpu(code, 0);
        assert_eq!(vector_hit(&mut cpu), Some(13), "{code:x?}");
    }
}

#[test]
fn selectors_can_be_asked_about() {
    let code = assemble!(
        "mov eax, 0x23",
        "lar ebx, eax",
        "lsl ecx, eax",
        "verr ax",
        "setz dl",
        "hlt"
    );
    let (mut cpu, _) = cpu(code, 0);
    assert_eq!(cpu.run(10, false), Exit::Halt);
    assert_eq!(
        (cpu.gpr(3), cpu.gpr(1), cpu.gpr(2)),
        (0x00A0_FB00, 0xFFFF_FFFF, 1)
    );
}
