//! Tests: single x87 instructions on the host and in `soft`, from equal random states.

use iced_x86::{Code, Decoder, DecoderOptions, Instruction};

use super::super::conformance::host::Host;
use super::super::conformance::state::Registers;
use super::super::conformance::{ARENA, ARENA_SIZE, End};
use super::super::core::Core;
use super::super::flags::STATUS;
use super::super::op::{Flow, Handler, Op};
use super::super::state::CpuState;
use super::super::testing;
use crate::cpu::CpuConfig;

/// Ready-made operands: one of each class, in both signs by chance.
const CORNERS: [u128; 16] = [
    0,
    1,
    0x0000_7FFF_FFFF_FFFF_FFFF,
    0x0000_8000_0000_0000_0000,
    0x0001_8000_0000_0000_0000,
    0x0001_0000_0000_0000_0001,
    0x3FFF_8000_0000_0000_0000,
    0x3FFE_8000_0000_0000_0000,
    0x4000_8000_0000_0000_0000,
    0x4005_0000_0000_0000_0000,
    0x7FFE_FFFF_FFFF_FFFF_FFFF,
    0x7FFF_8000_0000_0000_0000,
    0x7FFF_0000_0000_0000_0000,
    0x7FFF_8000_0000_0000_0001,
    0x7FFF_C000_0000_0000_0000,
    0x403D_FFFF_FFFF_FFFF_FFFF,
];

/// A small generator with a fixed seed (SplitMix64).
struct Random(pub u64);

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

    /// A number of any class, small exponents preferred.
    fn number(&mut self) -> u128 {
        let sign = (self.below(2) as u128) << 79;
        let mantissa = (self.next() | 1 << 63) as u128;
        sign | match self.below(8) {
            0 | 1 => CORNERS[self.below(16) as usize],
            2 => (self.below(0x8000) as u128) << 64 | mantissa,
            3 => (self.below(80) as u128) << 64 | mantissa,
            4 => (0x3FFF + self.below(70) as u128) << 64 | mantissa & !0xFFFF_FFFF,
            _ => (0x3FF0 + self.below(0x60) as u128) << 64 | mantissa,
        }
    }

    fn state(&mut self) -> CpuState {
        let mut s = CpuState::default();
        for r in &mut s.fpu.regs {
            *r = self.number();
        }
        let masks = if self.below(2) == 0 {
            0x3F
        } else {
            self.below(64) as u16
        };
        let precision = [0, 2, 3, 3][self.below(4) as usize] << 8;
        let control = masks | precision | (self.below(4) as u16) << 10;
        s.fpu.set_control(control);
        let status = self.next() as u16 & (0x7FC0 | masks);
        s.fpu.set_status_word(status & !0x80);
        s.fpu.valid = match self.below(3) {
            0 => 0xFF,
            1 => self.next() as u8,
            // ST(0) to ST(3).
            _ => 0x0Fu8.rotate_left(s.fpu.top as u32),
        };
        s.rflags = 0x202 | self.next() & 0x45;
        s
    }
}

/// Executes `bytes`, whose memory operand is `[rdx]`, on the host, and updates `s` and `memory`.
fn native(host: &mut Host, bytes: &[u8], s: &mut CpuState, memory: &mut [u8; 16]) {
    let mut registers = Registers::of(s);
    registers.gpr[2] = ARENA;
    let mut arena = vec![0; ARENA_SIZE];
    arena[..16].copy_from_slice(memory);
    let outcome = host.execute(bytes, &registers, &mut arena);
    assert_eq!(outcome.end, End::Landed(1), "{bytes:x?} of {registers:x?}");
    outcome.registers.put_into(s);
    memory.copy_from_slice(&arena[..16]);
}

fn decode(bytes: &[u8]) -> Instruction {
    Decoder::with_ip(64, bytes, 0, DecoderOptions::NONE).decode()
}

fn lower(i: &Instruction) -> Option<(Handler, Op)> {
    let mut op = Op::new(i, 0, |_, _| Flow::Trap);
    super::lower(i, &mut op).map(|run| (run, op))
}

/// Executes `bytes` in `soft`.
fn soft(bytes: &[u8], core: &mut Core) -> Flow {
    let i = decode(bytes);
    let (run, op) = lower(&i).unwrap_or_else(|| panic!("{:?}", i.code()));
    run(core, &op)
}

/// The encodings of all x87 instructions, with registers or with `[rdx]` as memory operand.
fn encodings() -> impl Iterator<Item = [u8; 2]> {
    (0xD8..=0xDF).flat_map(|escape| {
        let modrm = (0x02..0x40).step_by(8).chain(0xC0..=0xFF);
        modrm.map(move |modrm| [escape, modrm])
    })
}

/// Whether the host has to agree: not about images in memory with their pointers, about AX,
/// and about what is computed better here.
fn comparable(code: Code) -> bool {
    use Code::*;
    !matches!(
        code,
        INVALID
            | Frstpm
            | Fldenv_m28byte
            | Fnstenv_m28byte
            | Frstor_m108byte
            | Fnsave_m108byte
            | Fnstsw_AX
            | Fnstdw_AX
            | Fnstsg_AX
            // Incomplete ones differ; the others stand in `conformance`.
            | Fprem
            | Fprem1
            | F2xm1
            | Fyl2x
            | Fyl2xp1
            | Fptan
            | Fpatan
            | Fsincos
            | Fsin
            | Fcos
    )
}

/// What memory holds: numbers in one of the formats.
fn operand(random: &mut Random, code: Code) -> [u8; 16] {
    let x = random.number();
    let single = (x >> 62) as u32 & 0xFF80_0000 | x as u32 >> 9;
    let double = (x >> 68) as u64 & 0xFFF << 52 | x as u64 >> 12;
    let decimal = (0..18).fold(x & 1 << 79, |sum, i| {
        sum | (random.below(10) as u128) << (4 * i)
    });
    let value = match random.below(5) {
        _ if code == Code::Fbld_m80bcd => decimal,
        0 => single as u128,
        1 => double as u128,
        2 => (x as u64 >> random.below(64)) as u128,
        _ => x,
    };
    value.to_le_bytes()
}

#[test]
fn soft_agrees_with_the_host() {
    const CASES: u32 = 400;
    let mut processor = Host::new();
    let mut random = Random(1);
    let (cpu, ram) = testing::cpu(&[], 3);
    let base = cpu.state().clone();
    let mut core = Core::new(ram.clone(), CpuConfig::default());
    for bytes in encodings() {
        let code = decode(&bytes).code();
        for _ in 0..if comparable(code) { CASES } else { 0 } {
            let before = random.state();
            let memory = operand(&mut random, code);
            let (mut host, mut host_memory) = (before.clone(), memory);
            native(&mut processor, &bytes, &mut host, &mut host_memory);

            core.s = CpuState {
                fpu: before.fpu.clone(),
                ..base.clone()
            };
            core.s.gpr[2] = testing::DATA;
            core.set_status(before.rflags);
            ram.write(testing::DATA, &memory).unwrap();
            assert_eq!(soft(&bytes, &mut core), Flow::Next);
            let mut soft_memory = [0; 16];
            ram.read(testing::DATA, &mut soft_memory).unwrap();

            let soft = (core.s.fpu.clone(), core.flags() & STATUS, soft_memory);
            let host = (host.fpu, host.rflags & STATUS, host_memory);
            let [soft, host] = [soft, host].map(|(mut fpu, flags, memory)| {
                (fpu.ip, fpu.dp, fpu.opcode) = (0, 0, 0);
                (fpu, flags, memory)
            });
            assert_eq!(soft, host, "{code:?} from {before:x?} with {memory:x?}");
        }
    }
}

#[test]
fn transcendentals_are_close_to_the_host() {
    // Intel's and AMD's instructions are good to about an ulp, for angles near zero.
    let mut processor = Host::new();
    let mut random = Random(2);
    let (cpu, ram) = testing::cpu(&[], 3);
    let base = cpu.state().clone();
    let mut core = Core::new(ram, CpuConfig::default());
    for opcode in [0xF0, 0xF1, 0xF2, 0xF3, 0xF9, 0xFB, 0xFE, 0xFF] {
        let bytes = [0xD9, opcode];
        for _ in 0..500 {
            let mut before = base.clone();
            before.fpu.valid = 3;
            let mantissa = |random: &mut Random| (random.next() | 1 << 63) as u128;
            let sign = (random.below(2) as u128) << 79;
            let exponent = 0x3FFD - random.below(20) as u128;
            before.fpu.regs[0] = exponent << 64 | mantissa(&mut random);
            before.fpu.regs[1] = sign | 0x4000 << 64 | mantissa(&mut random);
            let mut host = before.clone();
            native(&mut processor, &bytes, &mut host, &mut [0; 16]);
            core.s = before.clone();
            assert_eq!(soft(&bytes, &mut core), Flow::Next);
            for (ours, theirs) in core.s.fpu.regs.iter().zip(host.fpu.regs) {
                assert!(
                    ours.abs_diff(theirs) <= 2,
                    "{bytes:x?}: {ours:x} {theirs:x} of {before:x?}"
                );
            }
            assert_eq!(
                (core.s.fpu.top, core.s.fpu.valid),
                (host.fpu.top, host.fpu.valid)
            );
        }
    }
}

#[test]
fn whatever_decodes_is_lowered() {
    let mut codes = std::collections::BTreeSet::new();
    let prefixes: [&[u8]; 3] = [&[], &[0x66], &[0x48]];
    for prefix in prefixes {
        let others = [[0x9B, 0], [0x0F, 0xAE]].into_iter();
        for bytes in encodings().chain(others) {
            for third in [0x02, 0x0A] {
                let i = decode(&[prefix, &bytes, &[third]].concat());
                if i.code() != Code::INVALID {
                    assert!(lower(&i).is_some(), "{:?}", i.code());
                    codes.insert(i.code());
                }
            }
        }
    }
    // All that iced has for 64-bit mode and processors since the 80387.
    assert_eq!(codes.len(), 153);
}
