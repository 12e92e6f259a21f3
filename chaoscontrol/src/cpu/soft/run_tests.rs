use super::testing::*;
use crate::cpu::{Exit, Vcpu};

#[test]
fn a_limit_is_exact() {
    // mov eax, 5; add eax, 7; jmp $
    let (mut cpu, _) = cpu(&[0xB8, 5, 0, 0, 0, 0x83, 0xC0, 7, 0xEB, 0xFE], 3);
    assert_eq!(cpu.run(1, false), Exit::Budget);
    assert_eq!((cpu.gpr(0), cpu.state().rip), (5, CODE + 5));
    assert_eq!(cpu.run(2, false), Exit::Budget);
    assert_eq!((cpu.gpr(0), cpu.state().rip), (12, CODE + 8));
    assert_eq!(cpu.run(100, false), Exit::Budget);
    assert_eq!((cpu.retired(), cpu.state().rip), (100, CODE + 8));
}

#[test]
fn stores_and_loads_go_through_the_tables() {
    // mov [0x190FFC], rax (crosses a page); mov rbx, [0x190FFC]; jmp $
    let code = [
        0x48, 0x89, 0x04, 0x25, 0xFC, 0x0F, 0x19, 0, 0x48, 0x8B, 0x1C, 0x25, 0xFC, 0x0F, 0x19, 0,
        0xEB, 0xFE,
    ];
    let (mut cpu, ram) = cpu(&code, 3);
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
