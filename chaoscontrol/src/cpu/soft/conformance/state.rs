//! What a program sees of a CPU in ring 3, in one shape for the host and for `soft`,
//! and random instances of it with a taste for the edges.

use super::random::Random;
use super::{ARENA, ARENA_SIZE};
use crate::cpu::soft::state::CpuState;

/// Registers; memory stands beside them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registers {
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8..R15.
    pub gpr: [u64; 16],
    /// RFLAGS: the status flags and DF.
    pub rflags: u64,
    /// XMM0..XMM15.
    pub xmm: [u128; 16],
    pub mxcsr: u32,
    /// ST0..ST7, in stack order, 80 bits each.
    pub st: [u128; 8],
    /// x87 control word.
    pub control: u16,
    /// x87 status word with TOP.
    pub status: u16,
    /// One bit per physical x87 register: valid.
    pub valid: u8,
}

const ST_MASK: u128 = (1 << 80) - 1;

impl Registers {
    /// As FXRSTOR wants it.
    pub fn to_fxsave(&self) -> [u8; 512] {
        let mut image = [0; 512];
        image[0..2].copy_from_slice(&self.control.to_le_bytes());
        image[2..4].copy_from_slice(&self.status.to_le_bytes());
        image[4] = self.valid;
        image[24..28].copy_from_slice(&self.mxcsr.to_le_bytes());
        image[28..32].copy_from_slice(&0xFFFFu32.to_le_bytes());
        for (i, st) in self.st.iter().enumerate() {
            image[32 + 16 * i..][..16].copy_from_slice(&st.to_le_bytes());
        }
        for (i, xmm) in self.xmm.iter().enumerate() {
            image[160 + 16 * i..][..16].copy_from_slice(&xmm.to_le_bytes());
        }
        image
    }

    /// From general-purpose registers and what FXSAVE wrote.
    pub fn from_fxsave(gpr: [u64; 16], rflags: u64, image: &[u8]) -> Registers {
        let wide = |at: usize| u128::from_le_bytes(image[at..at + 16].try_into().unwrap());
        let word = |at: usize| u16::from_le_bytes([image[at], image[at + 1]]);
        Registers {
            gpr,
            rflags,
            xmm: std::array::from_fn(|i| wide(160 + 16 * i)),
            mxcsr: u32::from_le_bytes(image[24..28].try_into().unwrap()),
            st: std::array::from_fn(|i| wide(32 + 16 * i) & ST_MASK),
            control: word(0),
            status: word(2),
            valid: image[4],
        }
    }

    /// Those of `soft`.
    pub fn of(s: &CpuState) -> Registers {
        Registers {
            gpr: std::array::from_fn(|i| s.gpr[i]),
            rflags: s.rflags,
            xmm: s.xmm,
            mxcsr: s.mxcsr,
            st: std::array::from_fn(|i| s.fpu.regs[(i + s.fpu.top as usize) & 7]),
            control: s.fpu.control,
            status: s.fpu.status | (s.fpu.top as u16) << 11,
            valid: s.fpu.valid,
        }
    }

    /// Makes them those of `soft`.
    pub fn put_into(&self, s: &mut CpuState) {
        s.gpr[..16].copy_from_slice(&self.gpr);
        s.rflags = self.rflags;
        s.xmm = self.xmm;
        s.mxcsr = self.mxcsr;
        s.fpu.control = self.control;
        s.fpu.status = self.status & !0x3800;
        s.fpu.top = (self.status >> 11 & 7) as u8;
        s.fpu.valid = self.valid;
        for (i, st) in self.st.iter().enumerate() {
            s.fpu.regs[(i + s.fpu.top as usize) & 7] = *st;
        }
    }

    /// Registers with interesting values.
    pub fn random(random: &mut Random) -> Registers {
        let mut gpr = std::array::from_fn(|_| integer(random));
        gpr[4] = stack(random);
        let top = random.below(8) as u16;
        let kind = random.below(6);
        let (status, control) = x87_words(random);
        Registers {
            gpr,
            rflags: 0x202 | random.next() & 0x8D5 | if random.one_in(8) { 0x400 } else { 0 },
            xmm: std::array::from_fn(|_| vector(random, kind)),
            mxcsr: mxcsr(random),
            st: std::array::from_fn(|_| extended(random)),
            control,
            status: status | top << 11,
            valid: match random.below(4) {
                0 => random.next() as u8,
                1 => !(1 << random.below(8)),
                _ => 0xFF,
            },
        }
    }
}

/// A stack pointer in the middle of the arena.
pub fn stack(random: &mut Random) -> u64 {
    let sp = ARENA + ARENA_SIZE as u64 / 4 + random.below(ARENA_SIZE as u64 / 2);
    if random.one_in(4) { sp } else { sp & !7 }
}

/// An integer near an edge, or any.
pub fn integer(random: &mut Random) -> u64 {
    const EDGES: [u64; 16] = [
        0,
        1,
        2,
        !0,
        0x7F,
        0x80,
        0xFF,
        0x7FFF,
        0x8000,
        0xFFFF,
        0x7FFF_FFFF,
        0x8000_0000,
        0xFFFF_FFFF,
        0x7FFF_FFFF_FFFF_FFFF,
        0x8000_0000_0000_0000,
        0x1_0000_0000,
    ];
    match random.below(8) {
        0 | 1 => EDGES[random.below(16) as usize],
        2 => EDGES[random.below(16) as usize]
            .wrapping_add(random.below(5))
            .wrapping_sub(2),
        3 => random.below(256),
        4 => random.next() >> random.below(64),
        5 => !(random.next() >> random.below(64)),
        _ => random.next(),
    }
}

fn single(random: &mut Random) -> u32 {
    const EDGES: [u32; 20] = [
        0,
        1,
        0x007F_FFFF,
        0x0080_0000,
        0x0080_0001,
        0x3F80_0000,
        0x3F80_0001,
        0x3F7F_FFFF,
        0x4000_0000,
        0x3F00_0000,
        0x4B00_0000,
        0x4B80_0000,
        0x4F00_0000,
        0x4EFF_FFFF,
        0x5F00_0000,
        0x7F7F_FFFF,
        0x7F80_0000,
        0x7F80_0001,
        0x7FC0_0000,
        0x7FFF_FFFF,
    ];
    let sign = (random.next() as u32) << 31;
    match random.below(6) {
        0 | 1 => sign | EDGES[random.below(20) as usize],
        // Near 1, so that sums cancel and conversions are in range.
        2 | 3 => {
            sign | (0x3F80_0000 + ((random.below(40) as u32).wrapping_sub(8) << 23))
                ^ random.next() as u32 & 0x7F_FFFF
        }
        4 => sign | random.next() as u32 & 0x7F_FFFF,
        _ => random.next() as u32,
    }
}

fn double(random: &mut Random) -> u64 {
    const EDGES: [u64; 20] = [
        0,
        1,
        0x000F_FFFF_FFFF_FFFF,
        0x0010_0000_0000_0000,
        0x3FF0_0000_0000_0000,
        0x3FF0_0000_0000_0001,
        0x3FEF_FFFF_FFFF_FFFF,
        0x4000_0000_0000_0000,
        0x3FE0_0000_0000_0000,
        0x41DF_FFFF_FFC0_0000,
        0x41E0_0000_0000_0000,
        0x43E0_0000_0000_0000,
        0x43DF_FFFF_FFFF_FFFF,
        0x4330_0000_0000_0000,
        0x36A0_0000_0000_0000,
        0x47EF_FFFF_E000_0000,
        0x7FEF_FFFF_FFFF_FFFF,
        0x7FF0_0000_0000_0000,
        0x7FF0_0000_0000_0001,
        0x7FF8_0000_0000_0000,
    ];
    let sign = random.next() << 63;
    match random.below(6) {
        0 | 1 => sign | EDGES[random.below(20) as usize],
        2 | 3 => {
            let exponent = 0x3FF + random.below(80) - 10;
            sign | exponent << 52 | random.next() >> 12
        }
        4 => sign | random.next() >> 12,
        _ => random.next(),
    }
}

/// A vector of one of several kinds of elements.
fn vector(random: &mut Random, kind: u64) -> u128 {
    let pair = |low: u64, high: u64| (high as u128) << 64 | low as u128;
    match kind {
        0 | 1 => {
            let mut lanes = || single(random) as u64 | (single(random) as u64) << 32;
            pair(lanes(), lanes())
        }
        2 | 3 => pair(double(random), double(random)),
        4 => pair(integer(random), integer(random)),
        _ => {
            const BYTES: [u8; 8] = [0, 1, 0x7F, 0x80, 0xFF, 0x20, 0x41, 0xFE];
            u128::from_le_bytes(std::array::from_fn(|_| match random.below(3) {
                0 => random.next() as u8,
                _ => BYTES[random.below(8) as usize],
            }))
        }
    }
}

/// A value of an x87 register.
pub fn extended(random: &mut Random) -> u128 {
    let sign = (random.next() as u128 & 1) << 79;
    let value = |exponent: u64, mantissa: u64| (exponent as u128) << 64 | mantissa as u128;
    const TOP: u64 = 1 << 63;
    sign | match random.below(16) {
        0 => value(0, 0),
        1 => value(0x3FFF, TOP),
        2 => value(0x7FFF, TOP),
        3 => value(0x7FFF, TOP | random.next()),
        4 => value(0x7FFF, TOP | 1 << 62 | random.next()),
        5 => value(0, random.next() >> 1),
        // Unnormals, pseudo-denormals, pseudo-infinities and -NaNs.
        6 if random.one_in(2) => value(random.below(0x8000), random.next()),
        6 => value(0, TOP | random.next()),
        7 => value(random.below(0x8000), TOP | random.next()),
        8 => value(0x7FFE, !0),
        9 => value(1, TOP),
        10 => value(
            0x3FFF + random.below(64),
            TOP | random.next() << random.below(64),
        ),
        11 => value(0x3FFF + random.below(70), TOP),
        // Values that come from doubles and singles round without error.
        12 => value(0x3FFF + random.below(40) - 20, TOP | random.next() & !0x7FF),
        13 => value(
            0x3FFF + random.below(40) - 20,
            TOP | random.next() & !0xFF_FFFF_FFFF,
        ),
        _ => value(0x3FFF + random.below(40) - 20, TOP | random.next()),
    }
}

/// Rounding, FTZ and DAZ at random, sticky flags, and rarely an exception unmasked.
fn mxcsr(random: &mut Random) -> u32 {
    let bits = random.next() as u32;
    let mut mxcsr = 0x1F80 | bits & 0x6000;
    if random.one_in(2) {
        mxcsr |= bits & 0x3F;
    }
    if random.one_in(2) {
        mxcsr |= bits & 0x8040;
    }
    if random.one_in(32) {
        mxcsr &= !(0x80 << random.below(6)) & !0x3F;
    }
    mxcsr
}

/// x87 status without TOP, and control, consistent with each other.
fn x87_words(random: &mut Random) -> (u16, u16) {
    let bits = random.next();
    let precision = [0x300, 0x300, 0x200, 0x000][random.below(4) as usize];
    let control = 0x7F | bits as u16 & 0xC00 | precision;
    let status = (bits >> 16) as u16 & 0x4700;
    if random.one_in(24) {
        return (status, control & !(1 << random.below(6)));
    }
    let sticky = if random.one_in(2) {
        (bits >> 32) as u16 & 0x3F
    } else {
        0
    };
    (status | sticky, control)
}

/// Memory whose words look like integers, floats and strings.
pub fn arena(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ARENA_SIZE);
    while bytes.len() < ARENA_SIZE {
        let kind = random.below(8);
        for _ in 0..4 {
            match kind {
                6 => {
                    bytes.extend_from_slice(&extended(random).to_le_bytes());
                }
                kind => {
                    let kind = kind.min(5);
                    bytes.extend_from_slice(&vector(random, kind).to_le_bytes());
                }
            }
        }
    }
    bytes.truncate(ARENA_SIZE);
    bytes
}
