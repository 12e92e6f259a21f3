//! A small machine for unit tests: identity-mapped memory that ring 3 may use, a GDT,
//! a TSS, and an IDT whose gate for vector v leads to a HLT at `HANDLERS + 16 * v`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::SoftCpu;
use super::bits::*;
use super::state::{CpuState, Segment, TableRegister, seg};
use crate::cpu::{CpuConfig, Exit, Ram, Vcpu};

/// Held by tests that run guest code on the host: they take over the signals of the whole
/// process, so they take turns.
static HOST_CPU: Mutex<()> = Mutex::new(());

/// Waits for the host's CPU to be free for one test.
pub fn host_cpu() -> MutexGuard<'static, ()> {
    HOST_CPU.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes of memory.
pub const SIZE: u64 = 16 << 20;
/// First level of the page tables; PDPT, page directory and one page table follow.
pub const PML4: u64 = 0x1000;
/// Page directory pointer table.
pub const PDPT: u64 = 0x2000;
/// Page directory: 2 MiB pages, but for the first, which has a table.
pub const PD: u64 = 0x3000;
/// Page table of the first 2 MiB.
pub const PT: u64 = 0x4000;
/// GDT: null, kernel code (8), kernel data (0x10), user data (0x1B), user code (0x23), TSS (0x28).
pub const GDT: u64 = 0x5000;
/// IDT.
pub const IDT: u64 = 0x6000;
/// TSS.
pub const TSS: u64 = 0x7000;
/// Stubs the gates lead to.
pub const HANDLERS: u64 = 0x8000;
/// Top of the ring 0 stack that the TSS names.
pub const KERNEL_STACK: u64 = 0x2_0000;
/// Top of the stack of IST 1.
pub const IST1: u64 = 0x2_8000;
/// Where code is put.
pub const CODE: u64 = 0x10_0000;
/// Top of the running code's stack.
pub const STACK: u64 = 0x18_0000;
/// Data to play with, a page of its own.
pub const DATA: u64 = 0x19_0000;

fn put(ram: &Ram, at: u64, value: u64) {
    ram.write(at, &value.to_le_bytes()).unwrap();
}

/// Sets gate `vector`: `kind` 0xE (interrupt) or 0xF (trap), privilege, stack.
pub fn gate(ram: &Ram, vector: u64, target: u64, kind: u64, dpl: u64, ist: u64) {
    let low = target & 0xFFFF
        | 8 << 16
        | ist << 32
        | (0x80 | dpl << 5 | kind) << 40
        | (target >> 16 & 0xFFFF) << 48;
    put(ram, IDT + vector * 16, low);
    put(ram, IDT + vector * 16 + 8, target >> 32);
}

/// A CPU about to run `code` in ring `cpl`, with interrupts off.
pub fn cpu(code: &[u8], cpl: u8) -> (SoftCpu, Ram) {
    let (state, ram) = state(code, cpl);
    let mut cpu = SoftCpu::new(ram.clone(), CpuConfig::default());
    cpu.set_state(state);
    (cpu, ram)
}

/// The state and the memory of such a CPU.
pub fn state(code: &[u8], cpl: u8) -> (CpuState, Ram) {
    let ram = Ram::new(SIZE).unwrap();
    put(&ram, PML4, PDPT | 7);
    put(&ram, PDPT, PD | 7);
    put(&ram, PD, PT | 7);
    for n in 1..512 {
        // Physical addresses beyond RAM are device memory.
        put(&ram, PD + n * 8, n << 21 | 0x87);
    }
    for n in 0..512 {
        put(&ram, PT + n * 8, n << 12 | 7);
    }
    for (n, descriptor) in [
        0,
        0x00AF_9B00_0000_FFFF,
        0x00CF_9300_0000_FFFF,
        0x00CF_F300_0000_FFFF,
        0x00AF_FB00_0000_FFFF,
        TSS << 16 | 0x89 << 40 | 0x1067,
        0,
    ]
    .into_iter()
    .enumerate()
    {
        put(&ram, GDT + n as u64 * 8, descriptor);
    }
    put(&ram, TSS + 4, KERNEL_STACK);
    put(&ram, TSS + 0x24, IST1);
    // No I/O bitmap.
    ram.write(TSS + 0x66, &[0xFF; 2]).unwrap();
    for vector in 0..64 {
        gate(&ram, vector, HANDLERS + 16 * vector, 0xE, 0, 0);
        ram.write(HANDLERS + 16 * vector, &[0xF4]).unwrap();
    }
    ram.write(CODE, code).unwrap();
    let mut s = CpuState {
        rip: CODE,
        cr0: CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG,
        cr3: PML4,
        cr4: CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT,
        efer: EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE,
        cpl,
        ..CpuState::default()
    };
    s.gpr[4] = STACK;
    s.gdtr = TableRegister {
        base: GDT,
        limit: 0x37,
    };
    s.idtr = TableRegister {
        base: IDT,
        limit: 0x3FF,
    };
    s.tr = Segment {
        base: TSS,
        limit: 0x1067,
        attributes: 0x8B,
        selector: 0x28,
    };
    let (cs, ss, dpl) = if cpl == 0 {
        (8, 0x10, 0)
    } else {
        (0x23, 0x1B, 0x60)
    };
    s.segs[seg::CS] = Segment {
        base: 0,
        limit: !0,
        attributes: 0xA09B | dpl,
        selector: cs,
    };
    s.segs[seg::SS] = Segment {
        base: 0,
        limit: !0,
        attributes: 0xC093 | dpl,
        selector: ss,
    };
    (s, ram)
}

/// Runs until HLT, and answers the vector whose handler it was, if it was one.
pub fn vector_hit(cpu: &mut SoftCpu) -> Option<u64> {
    assert_eq!(cpu.run(1_000_000, false), Exit::Halt);
    let at = cpu.state().rip.wrapping_sub(HANDLERS + 1);
    (at < 64 * 16).then_some(at / 16)
}

/// A quad word of memory.
pub fn word(ram: &Ram, at: u64) -> u64 {
    let mut bytes = [0; 8];
    ram.read(at, &mut bytes).unwrap();
    u64::from_le_bytes(bytes)
}

/// Stores a quad word from outside.
pub fn set_word(ram: &Ram, at: u64, value: u64) {
    put(ram, at, value);
}

/// The machine code of some lines of assembly; local labels below 90 are free.
macro_rules! assemble {
    ($($line:literal),* $(,)?) => {{
        let (start, end): (*const u8, *const u8);
        // SAFETY: jumps over the lines, which are data here, and takes two addresses.
        unsafe {
            core::arch::asm!(
                "jmp 91f", "90:", $($line,)* "91:",
                "lea {0}, [rip + 90b]", "lea {1}, [rip + 91b]",
                out(reg) start, out(reg) end, options(nomem, nostack)
            );
        }
        // SAFETY: both are in this function's code, which is never unmapped or written.
        unsafe { std::slice::from_raw_parts(start, end.offset_from(start) as usize) }
    }};
}
pub(crate) use assemble;
