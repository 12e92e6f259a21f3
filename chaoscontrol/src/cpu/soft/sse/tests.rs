//! Every SSE and MMX instruction against the host, and every code of these sets lowered.

use std::arch::asm;
use std::collections::BTreeMap;
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use iced_x86::{
    Code, CpuidFeature, Decoder, DecoderOptions, EncodingKind, Instruction, Mnemonic, OpKind,
};

use crate::cpu::soft::flags::STATUS;
use crate::cpu::soft::op::{Flow, Handler, Op};
use crate::cpu::soft::state::CpuState;
use crate::cpu::soft::testing::host_cpu;
use crate::cpu::soft::{SoftCpu, testing};

/// Where `Registers::memory` is.
const MEMORY_OFFSET: u8 = 64;
use crate::cpu::soft::{integer, mmx};
use crate::cpu::{Exit, Ram, Vcpu};

/// Whether `code` belongs to the SSE or MMX handlers.
fn ours(code: Code) -> bool {
    use CpuidFeature::*;
    code.encoding() == EncodingKind::Legacy
        && !matches!(code.mnemonic(), Mnemonic::Fisttp)
        && code
            .cpuid_features()
            .iter()
            .any(|f| matches!(f, MMX | SSE | SSE2 | SSE3 | SSSE3 | SSE4_1 | SSE4_2))
}

fn op(i: &Instruction) -> Op {
    Op::new(i, 0, |_, _| Flow::Trap)
}

fn lower(i: &Instruction, op: &mut Op) -> Option<Handler> {
    super::lower(i, op)
        .or_else(|| mmx::lower(i, op))
        .or_else(|| integer::lower(i, op))
}

#[test]
fn every_code_is_lowered() {
    let missing: Vec<Code> = Code::values()
        .filter(|&code| ours(code))
        .filter(|&code| {
            let kinds = [OpKind::Register, OpKind::Memory];
            let mut forms = kinds.iter().flat_map(|&a| kinds.map(|b| (a, b)));
            !forms.any(|(a, b)| {
                let mut i = Instruction::default();
                i.set_code(code);
                i.set_op0_kind(a);
                i.set_op1_kind(b);
                lower(&i, &mut op(&i)).is_some()
            })
        })
        .collect();
    assert_eq!(missing, []);
}

/// What a test case may touch. R8 points here, RDI to `memory`.
#[repr(C, align(16))]
#[derive(Clone, Debug, PartialEq)]
struct Registers {
    xmm: [u128; 4],
    memory: [u128; 2],
    mm: [u64; 4],
    gpr: [u64; 3],
    flags: u64,
    mxcsr: u32,
    host_mxcsr: u32,
}

/// Where an instruction that raises SIGFPE goes on, and whether one did.
static RESUME: AtomicU64 = AtomicU64::new(0);
static RAISED: AtomicBool = AtomicBool::new(false);

extern "C" fn on_sigfpe(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    RAISED.store(true, Ordering::Relaxed);
    // SAFETY: the kernel hands a valid context of this thread to an SA_SIGINFO handler.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    context.uc_mcontext.gregs[libc::REG_RIP as usize] = RESUME.load(Ordering::Relaxed) as i64;
}

/// Executable memory of the host.
struct Page(
    *mut u8,
    #[allow(dead_code, reason = "held")] MutexGuard<'static, ()>,
);

impl Page {
    fn new() -> Page {
        let turn = host_cpu();
        // SAFETY: a fresh anonymous mapping of one page.
        let page = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                4096,
                libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(page, libc::MAP_FAILED);
        // SAFETY: the handler only touches atomics and its own context.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_sigfpe as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            assert_eq!(
                libc::sigaction(libc::SIGFPE, &action, std::ptr::null_mut()),
                0
            );
        }
        Page(page.cast(), turn)
    }

    /// Runs `code`; says whether it raised a floating-point exception.
    fn run(&self, code: &[u8], r: &mut Registers) -> bool {
        RESUME.store(self.0 as u64 + code.len() as u64, Ordering::Relaxed);
        RAISED.store(false, Ordering::Relaxed);
        // SAFETY: `code` and a RET fit into the page; the instruction touches nothing but
        // the registers declared here, and `r` is read and written in its own bounds.
        unsafe {
            std::ptr::copy_nonoverlapping(code.as_ptr(), self.0, code.len());
            self.0.add(code.len()).write(0xC3);
            asm!(
                "movups xmm0, [r8]", "movups xmm1, [r8+16]", "movups xmm2, [r8+32]", "movups xmm3, [r8+48]",
                "movq mm0, [r8+96]", "movq mm1, [r8+104]", "movq mm2, [r8+112]", "movq mm3, [r8+120]",
                "mov rax, [r8+128]", "mov rcx, [r8+136]", "mov rdx, [r8+144]",
                "stmxcsr [r8+164]", "ldmxcsr [r8+160]",
                "push qword ptr [r8+152]", "popfq",
                "lea rdi, [r8+64]",
                "call r9",
                "pushfq", "pop qword ptr [r8+152]",
                "stmxcsr [r8+160]", "ldmxcsr [r8+164]",
                "movups [r8], xmm0", "movups [r8+16], xmm1", "movups [r8+32], xmm2", "movups [r8+48], xmm3",
                "movq [r8+96], mm0", "movq [r8+104], mm1", "movq [r8+112], mm2", "movq [r8+120], mm3",
                "mov [r8+128], rax", "mov [r8+136], rcx", "mov [r8+144], rdx",
                "emms",
                in("r8") r as *mut Registers, in("r9") self.0,
                out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
                out("rax") _, out("rcx") _, out("rdx") _, out("rdi") _,
                out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
                out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
            );
        }
        r.host_mxcsr = 0;
        r.flags &= STATUS;
        RAISED.load(Ordering::Relaxed)
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// A value whose lanes are often special as integers, singles or doubles.
    fn quad(&mut self) -> u64 {
        let sign = self.below(2);
        match self.below(9) {
            0 => self.next(),
            8 => self.next() & 0x0303_0303_0303_0303,
            1 => self.below(20),
            2 => self.next() & self.next() & self.next() & 0x7F7F_7F7F_7F7F_7F7F,
            3 => {
                let near = self.below(5) as i64 - 2;
                let at = [
                    0,
                    1u64 << 52,
                    0x7FF << 52,
                    1 << 51,
                    0x3FF << 52,
                    0x43E << 52,
                    0x41E << 52,
                ][self.below(7) as usize];
                at.wrapping_add(near as u64) | sign << 63
            }
            4 => ((self.below(2000) as f64 - 1000.0) / 8.0).to_bits(),
            5 => {
                (self.below(2) << 63)
                    | (self.below(0x800) << 52)
                    | self.next() >> 12 >> self.below(52)
            }
            _ => {
                let mut single = || {
                    let pool = [
                        0,
                        1,
                        0x80_0000,
                        0x7F_FFFF,
                        0x7F80_0000,
                        0x7FC0_0000,
                        0x7F80_0001,
                        0x3F80_0000,
                        0x4F00_0000,
                        0x5F00_0000,
                        0x7F7F_FFFF,
                        0x0080_0001,
                    ];
                    let value = match self.below(3) {
                        0 => pool[self.below(12) as usize],
                        1 => ((self.below(2000) as f32 - 1000.0) / 8.0).to_bits(),
                        _ => self.next() as u32 & 0x7FFF_FFFF,
                    };
                    (value | (self.below(2) as u32) << 31) as u64
                };
                single() | single() << 32
            }
        }
    }

    fn registers(&mut self) -> Registers {
        let mut r = Registers {
            xmm: [0; 4],
            memory: [0; 2],
            mm: [0; 4],
            gpr: [0; 3],
            flags: STATUS & self.next(),
            mxcsr: self.next() as u32 & 0xE07F | 0x1F80,
            host_mxcsr: 0,
        };
        if self.below(2) == 0 {
            r.mxcsr &= !0x3F;
        }
        if self.below(2) == 0 {
            r.mxcsr &= self.next() as u32 | 0xFFFF_E07F;
        }
        r.xmm = r
            .xmm
            .map(|_| self.quad() as u128 | (self.quad() as u128) << 64);
        r.memory = r
            .memory
            .map(|_| self.quad() as u128 | (self.quad() as u128) << 64);
        r.mm = r.mm.map(|_| self.quad());
        r.gpr = r.gpr.map(|_| self.quad());
        if self.below(4) == 0 {
            r.xmm[2] = r.xmm[1];
        }
        r
    }
}

/// Encodings of our codes with registers or `memory`, and an immediate byte at the end.
fn encodings() -> BTreeMap<Code, Vec<Vec<u8>>> {
    const REGISTERS: [&[u8]; 7] = [
        &[0xCA],
        &[0xC2],
        &[0xD1],
        &[0xDA],
        &[0xE2],
        &[0xF2],
        &[0xFA],
    ];
    const MEMORY: &[u8] = &[0x48, MEMORY_OFFSET];
    let mut found: BTreeMap<Code, Vec<Vec<u8>>> = BTreeMap::new();
    let mut add = |parts: &[&[u8]]| {
        let mut bytes = parts.concat();
        bytes.resize(15, 0);
        let i = decode(&bytes);
        let kinds = [
            OpKind::Register,
            OpKind::Immediate8,
            OpKind::Memory,
            OpKind::MemorySegRDI,
        ];
        if ours(i.code()) && (0..i.op_count()).all(|n| kinds.contains(&i.op_kind(n))) {
            bytes.truncate(i.len());
            found.entry(i.code()).or_default().push(bytes);
        }
    };
    for prefix in [&[][..], &[0x66], &[0xF2], &[0xF3]] {
        for map in [&[0x0F][..], &[0x0F, 0x38], &[0x0F, 0x3A]] {
            for opcode in 0..=255u8 {
                for (n, modrm) in REGISTERS.into_iter().enumerate() {
                    // The others name registers that are not compared.
                    if n < 3 || (0x71..=0x73).contains(&opcode) {
                        add(&[prefix, map, &[opcode], modrm]);
                        add(&[prefix, &[0x48], map, &[opcode], modrm]);
                    }
                }
                add(&[prefix, &[0x41], map, &[opcode], MEMORY]);
                add(&[prefix, &[0x49], map, &[opcode], MEMORY]);
            }
        }
    }
    found
}

fn decode(bytes: &[u8]) -> Instruction {
    Decoder::new(64, bytes, DecoderOptions::NONE).decode()
}

/// Whether the host's answer is not the one right answer.
fn incomparable(code: Code) -> bool {
    use Mnemonic::*;
    matches!(code.mnemonic(), Rcpps | Rcpss | Rsqrtps | Rsqrtss | Emms)
}

/// Runs `code` on the software CPU; says whether it raised a floating-point exception.
fn soft(machine: &mut (SoftCpu, Ram), start: &CpuState, code: &[u8], r: &mut Registers) -> bool {
    let (cpu, ram) = machine;
    let mut s = start.clone();
    s.rip = testing::CODE;
    s.rflags = r.flags;
    s.xmm[..4].copy_from_slice(&r.xmm);
    s.gpr[..3].copy_from_slice(&r.gpr);
    s.gpr[7] = testing::DATA + MEMORY_OFFSET as u64;
    s.gpr[8] = testing::DATA;
    s.fpu.regs = [0; 8];
    for (to, from) in s.fpu.regs.iter_mut().zip(r.mm) {
        *to = from as u128;
    }
    s.mxcsr = r.mxcsr;
    ram.write(testing::CODE, code).unwrap();
    for (n, value) in (0..).zip(r.memory) {
        let at = testing::DATA + MEMORY_OFFSET as u64 + 16 * n;
        ram.write(at, &value.to_le_bytes()).unwrap();
    }
    let limit = s.retired + 1;
    cpu.set_state(s);
    // An exception's handler begins with HLT.
    let exit = cpu.run(limit, false);
    assert!(matches!(exit, Exit::Budget | Exit::Halt), "{exit:?}");
    let s = cpu.state();
    r.xmm.copy_from_slice(&s.xmm[..4]);
    r.gpr.copy_from_slice(&s.gpr[..3]);
    r.mm = std::array::from_fn(|n| s.fpu.regs[n] as u64);
    r.mxcsr = s.mxcsr;
    for (n, value) in (0..).zip(&mut r.memory) {
        let mut bytes = [0; 16];
        let at = testing::DATA + MEMORY_OFFSET as u64 + 16 * n;
        ram.read(at, &mut bytes).unwrap();
        *value = u128::from_le_bytes(bytes);
    }
    r.flags = s.rflags & STATUS;
    s.rip != testing::CODE + code.len() as u64
}

#[test]
fn instructions_agree_with_the_host() {
    let page = Page::new();
    let mut random = Random(1);
    let mut machine = testing::cpu(&[], 0);
    let start = machine.0.state().clone();
    let mut failures: BTreeMap<Code, (u32, String)> = BTreeMap::new();
    let encodings = encodings();
    assert!(encodings.len() > 380, "{}", encodings.len());
    for (code, forms) in encodings {
        if incomparable(code) {
            continue;
        }
        for round in 0..400 {
            let mut bytes = forms[round % forms.len()].clone();
            let i = decode(&bytes);
            if i.op_kind(i.op_count().saturating_sub(1)) == OpKind::Immediate8 {
                let small = random.below(2) == 0;
                let imm = random.below(if small { 40 } else { 256 }) as u8;
                *bytes.last_mut().unwrap() = imm;
            }
            let before = random.registers();
            let mut on_host = before.clone();
            let raised = page.run(&bytes, &mut on_host);
            let mut on_soft = before.clone();
            let trapped = soft(&mut machine, &start, &bytes, &mut on_soft);
            if raised && on_host.mxcsr & 0x18 & !(on_host.mxcsr >> 7) != 0 {
                // Precision beside an unmasked overflow or underflow is not exact (see `float`).
                on_soft.mxcsr |= 0x20;
                on_host.mxcsr |= 0x20;
            }
            if on_soft != on_host || raised != trapped {
                let text = format!(
                    "{bytes:02x?}\nbefore {before:x?}\nhost   {on_host:x?}\nsoft   {on_soft:x?}"
                );
                failures.entry(code).or_insert((0, text)).0 += 1;
            }
        }
    }
    for (code, (count, text)) in &failures {
        println!("{code:?}: {count}\n{text}");
    }
    assert!(failures.is_empty());
}
