//! Images of the x87 and SSE state in memory: FXSAVE and FXRSTOR (SDM volume 1, 10.5),
//! FNSAVE, FRSTOR, FNSTENV and FLDENV (8.1.10) with their 32-bit and 16-bit formats.

use iced_x86::{Code, Instruction};

use super::super::core::Core;
use super::super::mem::Blocked;
use super::super::op::{Flow, Handler, Op};
use super::super::state::{CpuState, Fpu};
use super::registers::EXCEPTIONS;
use super::{access, blocked, unavailable};

/// Bytes of the FXSAVE area that the processor writes; the other 96 are the software's.
const FXSAVE: usize = 416;
/// MXCSR bits that exist.
const MXCSR_MASK: u32 = 0xFFFF;
/// General protection.
const GP: u8 = 13;

pub(super) fn lower(i: &Instruction) -> Option<Handler> {
    Some(match i.code() {
        Code::Fxsave_m512byte => fxsave::<false>,
        Code::Fxsave64_m512byte => fxsave::<true>,
        Code::Fxrstor_m512byte => fxrstor::<false>,
        Code::Fxrstor64_m512byte => fxrstor::<true>,
        Code::Fnstenv_m28byte => fnstenv::<4>,
        Code::Fnstenv_m14byte => fnstenv::<2>,
        Code::Fldenv_m28byte => fldenv::<4>,
        Code::Fldenv_m14byte => fldenv::<2>,
        Code::Fnsave_m108byte => fnsave::<4>,
        Code::Fnsave_m94byte => fnsave::<2>,
        Code::Frstor_m108byte => frstor::<4>,
        Code::Frstor_m94byte => frstor::<2>,
        _ => return None,
    })
}

/// The address of an FXSAVE area, or #GP if it is not aligned.
fn area(core: &mut Core, op: &Op) -> Result<u64, Flow> {
    if let Some(trap) = unavailable(core) {
        return Err(trap);
    }
    let address = op.address(core);
    if address & 15 == 0 {
        Ok(address)
    } else {
        Err(core.raise(GP, Some(0)))
    }
}

fn fxsave<const W: bool>(core: &mut Core, op: &Op) -> Flow {
    let address = match area(core, op) {
        Ok(address) => address,
        Err(trap) => return trap,
    };
    let image = fxsave_image(&core.s, W);
    access!(core.store_bytes(address, &image));
    Flow::Next
}

fn fxrstor<const W: bool>(core: &mut Core, op: &Op) -> Flow {
    let address = match area(core, op) {
        Ok(address) => address,
        Err(trap) => return trap,
    };
    let mut image = [0; FXSAVE];
    access!(core.load_bytes(address, &mut image));
    if !fxrstor_image(&mut core.s, &image, W) {
        return core.raise(GP, Some(0));
    }
    Flow::Next
}

fn fnstenv<const N: usize>(core: &mut Core, op: &Op) -> Flow {
    if let Some(trap) = unavailable(core) {
        return trap;
    }
    let (image, length) = environment(&core.s.fpu, N);
    access!(core.store_bytes(op.address(core), &image[..length]));
    let masked = core.s.fpu.control | EXCEPTIONS;
    core.s.fpu.set_control(masked);
    Flow::Next
}

fn fldenv<const N: usize>(core: &mut Core, op: &Op) -> Flow {
    if let Some(trap) = blocked(core) {
        return trap;
    }
    let mut image = [0; 28];
    access!(core.load_bytes(op.address(core), &mut image[..7 * N]));
    set_environment(&mut core.s.fpu, &image, N);
    Flow::Next
}

fn fnsave<const N: usize>(core: &mut Core, op: &Op) -> Flow {
    if let Some(trap) = unavailable(core) {
        return trap;
    }
    let fpu = &core.s.fpu;
    let mut image = [0; 108];
    let (head, length) = environment(fpu, N);
    image[..length].copy_from_slice(&head[..length]);
    for i in 0..8 {
        let bits = fpu.regs[fpu.physical(i as u8)].to_le_bytes();
        image[length + 10 * i..][..10].copy_from_slice(&bits[..10]);
    }
    access!(core.store_bytes(op.address(core), &image[..length + 80]));
    core.s.fpu.init();
    Flow::Next
}

fn frstor<const N: usize>(core: &mut Core, op: &Op) -> Flow {
    if let Some(trap) = blocked(core) {
        return trap;
    }
    let mut image = [0; 108];
    access!(core.load_bytes(op.address(core), &mut image[..7 * N + 80]));
    let fpu = &mut core.s.fpu;
    set_environment(fpu, &image, N);
    for i in 0..8 {
        fpu.regs[fpu.physical(i as u8)] = field(&image, 7 * N + 10 * i, 10);
    }
    Flow::Next
}

/// The little-endian value of `length` bytes at `at`.
fn field(image: &[u8], at: usize, length: usize) -> u128 {
    let mut bytes = [0; 16];
    bytes[..length].copy_from_slice(&image[at..at + length]);
    u128::from_le_bytes(bytes)
}

/// What FXSAVE writes; `wide` for FXSAVE64, whose instruction and data pointers have 64 bits.
pub(super) fn fxsave_image(s: &CpuState, wide: bool) -> [u8; FXSAVE] {
    let fpu = &s.fpu;
    let mut image = [0; FXSAVE];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    let pointer = if wide { 8 } else { 4 };
    put(0, &fpu.control.to_le_bytes());
    put(2, &fpu.status_word().to_le_bytes());
    put(4, &[fpu.valid]);
    put(6, &fpu.opcode.to_le_bytes());
    put(8, &fpu.ip.to_le_bytes()[..pointer]);
    put(16, &fpu.dp.to_le_bytes()[..pointer]);
    put(24, &s.mxcsr.to_le_bytes());
    put(28, &MXCSR_MASK.to_le_bytes());
    for i in 0..8 {
        let bits = fpu.regs[fpu.physical(i as u8)].to_le_bytes();
        put(32 + 16 * i, &bits[..10]);
    }
    for (i, xmm) in s.xmm.iter().enumerate() {
        put(160 + 16 * i, &xmm.to_le_bytes());
    }
    image
}

/// What FXRSTOR does with an image; false, and nothing done, if it sets reserved bits of MXCSR.
pub(super) fn fxrstor_image(s: &mut CpuState, image: &[u8; FXSAVE], wide: bool) -> bool {
    let mxcsr = field(image, 24, 4) as u32;
    if mxcsr & !MXCSR_MASK != 0 {
        return false;
    }
    let pointer = if wide { 8 } else { 4 };
    s.mxcsr = mxcsr;
    let fpu = &mut s.fpu;
    fpu.set_control(field(image, 0, 2) as u16);
    fpu.set_status_word(field(image, 2, 2) as u16);
    fpu.valid = image[4];
    fpu.opcode = field(image, 6, 2) as u16 & 0x7FF;
    fpu.ip = field(image, 8, pointer) as u64;
    fpu.dp = field(image, 16, pointer) as u64;
    for i in 0..8 {
        fpu.regs[fpu.physical(i as u8)] = field(image, 32 + 16 * i, 10);
    }
    for (i, xmm) in s.xmm.iter_mut().enumerate() {
        *xmm = field(image, 160 + 16 * i, 16);
    }
    true
}

/// The environment in slots of `n` bytes (4, or 2 with an operand-size prefix), and its length.
fn environment(fpu: &Fpu, n: usize) -> ([u8; 28], usize) {
    let opcode = (fpu.opcode as u32) << 16;
    // Unused upper halves read as ones.
    let word = |value: u16| value as u32 | 0xFFFF_0000;
    let slots = match n {
        4 => [
            word(fpu.control),
            word(fpu.status_word()),
            word(fpu.tags()),
            fpu.ip as u32,
            opcode,
            fpu.dp as u32,
            word(0),
        ],
        _ => [
            fpu.control as u32,
            fpu.status_word() as u32,
            fpu.tags() as u32,
            fpu.ip as u32,
            0,
            fpu.dp as u32,
            0,
        ],
    };
    let mut image = [0; 28];
    for (i, slot) in slots.iter().enumerate() {
        image[n * i..][..n].copy_from_slice(&slot.to_le_bytes()[..n]);
    }
    (image, 7 * n)
}

/// Takes an environment in slots of `n` bytes over.
fn set_environment(fpu: &mut Fpu, image: &[u8], n: usize) {
    let slot = |i: usize| field(image, n * i, n) as u32;
    fpu.set_control(slot(0) as u16);
    fpu.set_status_word(slot(1) as u16);
    fpu.set_tags(slot(2) as u16);
    fpu.ip = slot(3) as u64;
    fpu.opcode = (slot(4) >> 16) as u16 & 0x7FF;
    fpu.dp = slot(5) as u64;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> CpuState {
        let mut s = CpuState::default();
        for i in 0..8 {
            s.fpu.regs[i] = (0x3FFF << 64) | (0x8000 + i as u128);
        }
        for (i, xmm) in s.xmm.iter_mut().enumerate() {
            *xmm = u128::MAX / (i as u128 + 3);
        }
        s.mxcsr = 0x1FA0;
        s.fpu.set_control(0x027F);
        s.fpu.set_status_word(0x2921);
        s.fpu.valid = 0xA5;
        s.fpu.opcode = 0x123;
        s.fpu.ip = 0xFFFF_8000_1234_5678;
        s.fpu.dp = 0x7FFF_1234_5678;
        s
    }

    #[test]
    fn fxsave_and_fxrstor_are_inverse() {
        let s = sample();
        let image = fxsave_image(&s, true);
        assert_eq!(field(&image, 32, 10), s.fpu.regs[5], "ST(0) comes first");
        let mut t = CpuState::default();
        assert!(fxrstor_image(&mut t, &image, true));
        assert_eq!(t, s);
    }

    #[test]
    fn reserved_mxcsr_bits_are_refused() {
        let s = sample();
        let mut image = fxsave_image(&s, true);
        image[26] = 1;
        let mut t = CpuState::default();
        assert!(!fxrstor_image(&mut t, &image, true));
        assert_eq!(t, CpuState::default());
    }

    #[test]
    fn environments_keep_all_but_wide_pointers() {
        for n in [2, 4] {
            let fpu = sample().fpu;
            let (image, length) = environment(&fpu, n);
            assert_eq!(length, 7 * n);
            let mut other = Fpu {
                regs: fpu.regs,
                ..Fpu::default()
            };
            set_environment(&mut other, &image, n);
            assert_eq!(other.valid, fpu.valid);
            assert_eq!(other.status_word(), fpu.status_word());
            assert_eq!(other.control, fpu.control);
            assert_eq!(other.opcode, if n == 4 { fpu.opcode } else { 0 });
        }
    }
}
