//! Whatever a guest does ends in an exit: no panic, no access out of bounds, no hang.

use super::testing::*;
use crate::cpu::{Exit, Vcpu};

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let z = (self.0 ^ self.0 >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z ^ z >> 32
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// Addresses of RAM, of devices, of nothing, and edges.
    fn value(&mut self) -> u64 {
        match self.below(6) {
            0 => self.next(),
            1 => DATA + self.below(0x2000),
            2 => self.below(SIZE),
            3 => SIZE + self.below(0x10_0000),
            4 => self.below(300).wrapping_sub(150),
            _ => 0x8000_0000_0000u64.wrapping_sub(self.below(16)),
        }
    }
}

fn one_guest(seed: u64) {
    let mut random = Random(seed);
    let code: Vec<u8> = (0..3000).map(|_| random.next() as u8).collect();
    let ring = if random.below(3) == 0 { 3 } else { 0 };
    let (mut cpu, ram) = cpu(&code, ring);
    let mut state = cpu.state().clone();
    for register in &mut state.gpr[..16] {
        *register = random.value();
    }
    state.gpr[4] = if random.below(4) == 0 {
        random.value()
    } else {
        STACK
    };
    state.rflags = 2 | random.next() & 0x3F_7FD5;
    state.mxcsr = random.next() as u32 & 0xFFFF;
    state.fpu.control = random.next() as u16 & 0x1F7F | 0x40;
    state.fpu.status = random.next() as u16 & 0xC7FF;
    state.fpu.valid = random.next() as u8;
    for register in &mut state.fpu.regs {
        *register = u128::from(random.next()) << 16 | u128::from(random.next() & 0xFFFF);
    }
    cpu.set_state(state);
    // Handlers that return, so that a guest gets on after a fault; some tables are torn.
    for vector in 0..64 {
        ram.write(
            HANDLERS + 16 * vector,
            assemble!("add qword ptr [rsp], 1", "iretq"),
        )
        .unwrap();
    }
    for _ in 0..random.below(4) {
        let table = [PML4, PDPT, PD, PT, GDT, IDT, TSS][random.below(7) as usize];
        set_word(&ram, table + random.below(64) * 8, random.next());
    }
    let mut exits = 0;
    while cpu.retired() < 600 && exits < 600 {
        exits += 1;
        match cpu.run(cpu.retired() + 1 + random.below(64), random.below(2) == 0) {
            Exit::Budget => {}
            Exit::InterruptWindow => cpu.inject(random.below(256) as u8),
            Exit::Halt if cpu.interruptible() => cpu.inject(32 + random.below(32) as u8),
            Exit::Halt | Exit::Shutdown => break,
            _ => {
                let value = random.next();
                cpu.complete(value);
            }
        }
        match random.below(16) {
            0 => cpu.flush_caches(),
            1 => ram
                .write(CODE + random.below(3000), &[random.next() as u8])
                .unwrap(),
            2 => {
                let mut bytes = [0; 40];
                cpu.read_virtual(random.value(), &mut bytes);
                cpu.write_virtual(random.value(), &bytes);
            }
            _ => {}
        }
    }
}

#[test]
fn anything_a_guest_does_ends() {
    let count = std::env::var("CHAOS_FUZZ_CASES").map_or(400, |n| n.parse().unwrap_or(400));
    let first = std::env::var("CHAOS_FUZZ_SEED").map_or(1, |n| n.parse().unwrap_or(1));
    for seed in first..first + count {
        let result = std::panic::catch_unwind(|| one_guest(seed));
        assert!(
            result.is_ok(),
            "repeat with CHAOS_FUZZ_SEED={seed} CHAOS_FUZZ_CASES=1"
        );
    }
}
