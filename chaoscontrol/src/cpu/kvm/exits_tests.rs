//! A CPU at its exits: what it asks for and in what order, and what is left of an instruction
//! under way when the state is replaced. The software CPU, which counts exits here, is the model.

use super::probe::probe;
use super::testing::or_not_run;
use super::{KvmCpu, open};
use crate::cpu::bits::{CR0_WP, EFER_NXE, IF};
use crate::cpu::paging::A;
use crate::cpu::ram::{DIRTY, STALE};
use crate::cpu::soft::testing::{self, DATA, HANDLERS, PD, PT, assemble, set_word, word};
use crate::cpu::state::CpuState;
use crate::cpu::{Cpu, CpuConfig, Engine, Exit, Ram, Vcpu};

/// Both engines before `code`, after a `change` of the state; `None` on a host without KVM.
fn both(code: &[u8], change: impl Fn(&mut CpuState)) -> Option<[(Cpu, Ram); 2]> {
    or_not_run(open())?;
    Some([Engine::Soft, Engine::Kvm].map(|engine| {
        let (mut state, ram) = testing::state(code, 0);
        change(&mut state);
        let config = CpuConfig {
            by_exits: true,
            ..CpuConfig::default()
        };
        let mut cpu = Cpu::new(engine, ram.clone(), config).unwrap();
        cpu.set_state(state);
        (cpu, ram)
    }))
}

/// All that comes up to HLT or the guest's death, and how many exits were completed before;
/// the n-th of them is answered with n in each byte.
fn exits(cpu: &mut impl Vcpu) -> Vec<String> {
    let mut seen = Vec::new();
    while seen.len() < 100 {
        let exit = cpu.run(u64::MAX, false);
        seen.push(format!("{exit:x?} {}", cpu.count()));
        match exit {
            Exit::Budget => {
                assert_eq!(cpu.finish(), None);
                seen.push(format!("{:#x}", cpu.gpr(0)));
            }
            _ if exit.is_io() => cpu.complete(0x0101_0101_0101_0101 * seen.len() as u64),
            _ => break,
        }
    }
    seen
}

#[test]
fn instructions_ask_for_the_same_on_both_engines() {
    let guests = [
        // Strings of bytes, and of words into memory.
        assemble!(
            "mov esi, 0x100000",
            "mov edi, 0x190001",
            "mov ecx, 3",
            "mov edx, 0x61",
            "rep outsb",
            "mov ecx, 3",
            "rep insw",
            "hlt",
        ),
        // A device's registers in parts, and one that is read and written.
        assemble!(
            "mov ebx, 0x2000000",
            "mov rax, [rbx + 3]",
            "mov [rbx + 5], rax",
            "add [rbx + 2], rax",
            "hlt",
        ),
        // Registers that are withheld: some are answered, one is asked for, two are missing.
        assemble!(
            "mov ecx, 0x1B",
            "rdmsr",
            "or eax, 0x800",
            "wrmsr",
            "mov ecx, 0x10",
            "rdmsr",
            "mov ecx, 0x12345678",
            "rdmsr",
        ),
        assemble!("mov ecx, 0x12345678", "wrmsr"),
    ];
    for code in guests {
        let Some(engines) = both(code, |s| s.gpr[0] = 7) else {
            return;
        };
        let [soft, kvm] = engines.map(|(mut cpu, ram)| {
            let seen = exits(&mut cpu);
            let missing = cpu.missing().clone();
            let s = cpu.state();
            let data = [0, 8, 16].map(|at| word(&ram, DATA + at));
            (seen, missing, s.rip, s.gpr, s.apic_base, s.halted, data)
        });
        assert_eq!(soft, kvm);
    }
}

/// Whether this host's KVM tells of interrupt windows; one that emulates may not.
fn windows() -> Result<(), String> {
    let probe = probe().map_err(|e| e.to_string())?;
    let trouble = probe.trouble.into_iter();
    let mut trouble = trouble.filter(|t| t.what == "an interrupt window");
    trouble
        .next()
        .map_or(Ok(()), |t| Err(format!("{} {}", t.what, t.why)))
}

/// Whoever waits for interrupts to be allowed is told before the guest's next exit.
#[test]
fn a_window_opens_where_the_guest_allows_interrupts() {
    if or_not_run(windows()).is_none() {
        return;
    }
    let code = assemble!("sti", "nop", "nop", "cli", "mov [0x2000000], eax", "hlt");
    for engine in [Engine::Soft, Engine::Kvm] {
        let Some(mut engines) = both(code, |s| s.rflags &= !IF) else {
            return;
        };
        let (cpu, _) = &mut engines[usize::from(engine == Engine::Kvm)];
        assert!(!cpu.interruptible());
        assert_eq!(cpu.run(u64::MAX, true), Exit::InterruptWindow, "{engine:?}");
        assert!(cpu.interruptible());
        let store = cpu.run(u64::MAX, false);
        assert!(
            matches!(store, Exit::MmioWrite { .. }),
            "{engine:?}: {store:x?}"
        );
    }
}

/// An instruction with more than one exit is not left for an interrupt or the limit.
#[test]
fn no_interrupt_comes_amid_an_instruction() {
    let code = assemble!("add [0x2000000], eax", "nop", "hlt");
    for window in [true, false] {
        let (mut state, ram) = testing::state(code, 0);
        state.rflags |= IF;
        let Some(mut cpu) = or_not_run(KvmCpu::new(ram)) else {
            return;
        };
        cpu.set_state(state);
        let read = cpu.run(u64::MAX, false);
        assert!(matches!(read, Exit::MmioRead { .. }), "{read:x?}");
        cpu.complete(5);
        let limit = if window { u64::MAX } else { cpu.count() };
        let write = cpu.run(limit, window);
        assert!(
            matches!(write, Exit::MmioWrite { value: 5, .. }),
            "{write:x?}"
        );
        cpu.complete(0);
        assert_eq!(cpu.run(u64::MAX, false), Exit::Halt);
    }
}

/// A fault that is still to come goes with the state.
#[test]
fn state_is_read_before_the_fault_of_a_missing_register() {
    let code = assemble!("mov ecx, 0x12345678", "rdmsr");
    let (state, ram) = testing::state(code, 0);
    let Some(mut cpu) = or_not_run(KvmCpu::new(ram.clone())) else {
        return;
    };
    cpu.set_state(state);
    assert_eq!(
        (cpu.run(u64::MAX, false), cpu.finish()),
        (Exit::Budget, None)
    );
    let between = cpu.state();
    assert_eq!(cpu.error(), None);
    let mut other = KvmCpu::new(ram).unwrap();
    other.set_state(between.clone());
    assert_eq!(other.state(), between);
    for cpu in [cpu, other].each_mut() {
        assert_eq!(cpu.run(u64::MAX, false), Exit::Halt);
        assert_eq!((cpu.rip(), cpu.count()), (HANDLERS + 13 * 16 + 1, 2));
    }
}

/// Brings a CPU into the middle of something.
type Amid = fn(&mut KvmCpu);

#[test]
fn a_state_that_is_set_is_all_there_is() {
    let port = assemble!("in eax, 0x60", "out 0x61, eax", "hlt");
    let device = assemble!("mov rax, [0x2000003]", "out 0x61, eax", "hlt");
    let both_ways = assemble!("add [0x2000000], eax", "out 0x61, eax", "hlt");
    let withheld = assemble!("mov ecx, 0x1B", "rdmsr", "out 0x61, eax", "hlt");
    let asked: Amid = |cpu| assert_ne!(cpu.run(u64::MAX, false), Exit::Failed);
    let answered: Amid = |cpu| {
        assert_ne!(cpu.run(u64::MAX, false), Exit::Failed);
        cpu.complete(0x55);
    };
    let gone_on: Amid = |cpu| {
        assert!(cpu.run(u64::MAX, false).is_io());
        cpu.complete(0x55);
        assert!(!cpu.interruptible());
    };
    let changed: Amid = |cpu| {
        assert!(cpu.run(u64::MAX, false).is_io());
        cpu.complete(0x55);
        assert_eq!(cpu.finish(), None);
        cpu.set_gpr(0, 0x66);
    };
    let refused: Amid = |cpu| {
        let cr4 = !0;
        cpu.set_state(CpuState {
            cr4,
            ..testing::state(&[], 0).0
        });
        assert_eq!(cpu.run(u64::MAX, false), Exit::Failed);
        assert!(cpu.error().is_some());
    };
    for (what, code, amid) in [
        ("a port is read", port, asked),
        ("a port was read", port, answered),
        ("a device is read", device, asked),
        ("half of an access is done", device, answered),
        ("what was read is written", both_ways, gone_on),
        ("a withheld register is read", withheld, asked),
        ("registers were changed", port, changed),
        ("another state was refused", port, refused),
    ] {
        let (mut state, ram) = testing::state(code, 0);
        (state.gpr[0], state.exits) = (0x33, 100);
        state.rflags |= IF;
        let Some(mut new) = or_not_run(KvmCpu::new(ram.clone())) else {
            return;
        };
        new.set_state(state.clone());
        let mut cpu = KvmCpu::new(ram).unwrap();
        cpu.set_state(state.clone());
        amid(&mut cpu);
        cpu.set_state(state.clone());
        assert_eq!(cpu.gpr(0), 0x33, "{what}");
        assert_eq!(cpu.state(), state, "{what}");
        assert_eq!(exits(&mut cpu), exits(&mut new), "{what}");
    }
}

#[test]
fn the_dead_stay_dead_and_a_masked_nmi_wakes_nobody() {
    let code = assemble!("out 0x61, al", "hlt");
    let Some(engines) = both(code, |s| (s.shutdown, s.rflags) = (true, IF | 2)) else {
        return;
    };
    for (mut cpu, _) in engines {
        assert!(!cpu.interruptible());
        assert_eq!(cpu.run(u64::MAX, false), Exit::Shutdown);
        assert_eq!(cpu.run(u64::MAX, true), Exit::Shutdown);
    }
    for masked in [true, false] {
        let asleep = |s: &mut CpuState| (s.halted, s.nmi_blocked) = (true, masked);
        for (mut cpu, _) in both(code, asleep).into_iter().flatten() {
            assert_eq!(cpu.finish(), None);
            cpu.nmi();
            assert_eq!(cpu.halted(), masked);
        }
    }
}

/// Page tables that have changed with the state, as a restore changes them.
#[test]
fn translations_are_forgotten_with_the_state() {
    let code = assemble!("mov eax, [0x190000]", "out 0x61, eax", "hlt");
    let (state, ram) = testing::state(code, 0);
    let Some(mut cpu) = or_not_run(KvmCpu::new(ram.clone())) else {
        return;
    };
    for page in [DATA, DATA + 0x1000] {
        set_word(&ram, page, page);
        set_word(&ram, PT + (DATA >> 12) * 8, page | 7);
        cpu.set_state(state.clone());
        let Exit::PortOut { value, .. } = cpu.run(u64::MAX, false) else {
            panic!("it writes to a port");
        };
        assert_eq!(u64::from(value), page);
    }
}

/// Who may read and write a page whose entry has these bits.
struct Rights {
    ring: u8,
    cr0: u64,
    efer: u64,
    entry: u64,
    reads: bool,
    writes: bool,
}

#[test]
fn virtual_memory_has_the_rights_of_who_runs() {
    const READ_ONLY: u64 = 1;
    const WRITABLE: u64 = 3;
    const USER: u64 = 4;
    const NX: u64 = 1 << 63;
    /// Where a large page begins; the one before has a table of its own.
    const PAGE: u64 = 2 << 20;
    const ENTRY: u64 = PD + 8;
    let rights = |ring, cr0, efer, entry, reads, writes| Rights {
        ring,
        cr0,
        efer,
        entry,
        reads,
        writes,
    };
    for row in [
        rights(0, CR0_WP, EFER_NXE, WRITABLE, true, true),
        rights(0, CR0_WP, EFER_NXE, READ_ONLY, true, false),
        rights(0, 0, EFER_NXE, READ_ONLY, true, true),
        rights(0, CR0_WP, EFER_NXE, WRITABLE | NX, true, true),
        rights(0, CR0_WP, 0, WRITABLE | NX, false, false),
        rights(0, CR0_WP, EFER_NXE, 0, false, false),
        rights(3, CR0_WP, EFER_NXE, WRITABLE, false, false),
        rights(3, 0, EFER_NXE, READ_ONLY | USER, true, false),
        rights(3, CR0_WP, EFER_NXE, WRITABLE | USER, true, true),
    ] {
        let (mut state, ram) = testing::state(&[], row.ring);
        state.cr0 = state.cr0 & !CR0_WP | row.cr0;
        state.efer = state.efer & !EFER_NXE | row.efer;
        set_word(&ram, ENTRY, PAGE | 0x80 | row.entry);
        let Some(mut cpu) = or_not_run(KvmCpu::new(ram.clone())) else {
            return;
        };
        cpu.set_state(state);
        ram.marks().clear(PD >> 12, DIRTY | STALE);
        let what = format!("ring {}, {:#x}", row.ring, row.entry);
        let at = PAGE - 4;
        assert_eq!(cpu.read_virtual(at, &mut [0; 8]), row.reads, "{what}");
        assert_eq!(word(&ram, ENTRY), PAGE | 0x80 | row.entry, "{what}");
        assert_eq!(cpu.write_virtual(at, &[0x77; 8]), row.writes, "{what}");
        // All or nothing; and the tables say it, and memory's marks that they were written.
        let half = if row.writes { 0x7777_7777 } else { 0 };
        assert_eq!(word(&ram, PAGE - 8) >> 32, half, "{what}");
        assert_eq!(word(&ram, PAGE), half, "{what}");
        let used = word(&ram, ENTRY) & A != 0;
        assert_eq!(used, row.writes, "{what}");
        let marked = ram.marks().get(PD >> 12) & DIRTY != 0;
        assert_eq!(marked, row.writes, "{what}");
    }
}
