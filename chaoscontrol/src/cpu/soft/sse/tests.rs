//! Every SSE and MMX instruction against the host, and every code of these sets lowered.

use std::collections::BTreeMap;

use iced_x86::{
    Code, CpuidFeature, Decoder, DecoderOptions, EncodingKind, Instruction, Mnemonic, OpKind,
};

use crate::cpu::soft::conformance::excluded::same_vectors;
use crate::cpu::soft::conformance::host::Host;
use crate::cpu::soft::conformance::{ARENA, ARENA_SIZE, End, state};
use crate::cpu::soft::flags::STATUS;
use crate::cpu::soft::op::{Flow, Handler, Op};
use crate::cpu::soft::state::CpuState;
use crate::cpu::soft::{SoftCpu, integer, mmx, testing};
use crate::cpu::{Exit, Ram, Vcpu};

/// Where `Registers::memory` is in the data.
const MEMORY_OFFSET: u8 = 64;

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

/// What a test case may touch. R8 points to the data, RDI to `memory` in it.
#[derive(Clone, Debug, PartialEq)]
struct Registers {
    xmm: [u128; 4],
    memory: [u128; 2],
    mm: [u64; 4],
    gpr: [u64; 3],
    flags: u64,
    mxcsr: u32,
}

impl Registers {
    fn put_into(&self, all: &mut state::Registers) {
        all.xmm[..4].copy_from_slice(&self.xmm);
        all.gpr[..3].copy_from_slice(&self.gpr);
        all.rflags = 0x202 | self.flags;
        all.mxcsr = self.mxcsr;
        // As MMX leaves the stack.
        (all.control, all.status, all.valid) = (0x37F, 0, 0xFF);
        all.st = [0xFFFF << 64; 8];
        for (st, mm) in all.st.iter_mut().zip(self.mm) {
            *st |= u128::from(mm);
        }
    }

    fn take_from(&mut self, all: &state::Registers) {
        self.xmm.copy_from_slice(&all.xmm[..4]);
        self.gpr.copy_from_slice(&all.gpr[..3]);
        self.flags = all.rflags & STATUS;
        self.mxcsr = all.mxcsr;
        self.mm = std::array::from_fn(|n| all.st[n] as u64);
    }
}

/// Runs `code` on the host; says whether it raised a floating-point exception.
fn native(host: &mut Host, code: &[u8], r: &mut Registers) -> bool {
    let mut all = state::Registers::of(&CpuState::default());
    r.put_into(&mut all);
    (all.gpr[7], all.gpr[8]) = (ARENA + u64::from(MEMORY_OFFSET), ARENA);
    let mut arena = vec![0; ARENA_SIZE];
    let memory = MEMORY_OFFSET as usize;
    for (n, value) in r.memory.iter().enumerate() {
        arena[memory + 16 * n..][..16].copy_from_slice(&value.to_le_bytes());
    }
    let outcome = host.execute(code, &all, &mut arena);
    r.take_from(&outcome.registers);
    for (n, value) in r.memory.iter_mut().enumerate() {
        let bytes = arena[memory + 16 * n..][..16].try_into().unwrap();
        *value = u128::from_le_bytes(bytes);
    }
    outcome.end != End::Landed(1)
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
    let mut all = state::Registers::of(&s);
    r.put_into(&mut all);
    all.gpr[7] = testing::DATA + MEMORY_OFFSET as u64;
    all.gpr[8] = testing::DATA;
    all.put_into(&mut s);
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
    r.take_from(&state::Registers::of(s));
    for (n, value) in (0..).zip(&mut r.memory) {
        let mut bytes = [0; 16];
        let at = testing::DATA + MEMORY_OFFSET as u64 + 16 * n;
        ram.read(at, &mut bytes).unwrap();
        *value = u128::from_le_bytes(bytes);
    }
    s.rip != testing::CODE + code.len() as u64
}

#[test]
fn instructions_agree_with_the_host() {
    let mut host = Host::new();
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
            let raised = native(&mut host, &bytes, &mut on_host);
            let mut on_soft = before.clone();
            let trapped = soft(&mut machine, &start, &bytes, &mut on_soft);
            if raised && on_host.mxcsr & 0x18 & !(on_host.mxcsr >> 7) != 0 {
                // Precision beside an unmasked overflow or underflow is not exact (see `float`).
                on_soft.mxcsr |= 0x20;
                on_host.mxcsr |= 0x20;
            }
            for (soft, host) in on_soft.xmm.iter_mut().zip(on_host.xmm) {
                if same_vectors(code, *soft, host) {
                    *soft = host;
                }
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
