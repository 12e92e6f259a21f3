use crate::cpu::soft::testing::*;
use crate::cpu::{Exit, Vcpu};

#[test]
fn cpuid_answers_from_the_table() {
    let (mut cpu, _) = cpu(&[0x0F, 0xA2, 0xEB, 0xFE], 3);
    cpu.run(2, false);
    assert_eq!(cpu.gpr(3), 0x6874_7541);
}

#[test]
fn a_port_read_waits_for_its_answer() {
    // in eax, dx; hlt
    let (mut cpu, _) = cpu(&[0xED, 0xF4], 0);
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
