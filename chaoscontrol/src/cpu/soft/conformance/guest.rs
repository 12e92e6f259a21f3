//! Runs the same code in `soft`, in ring 3, at the same addresses.

use super::state::Registers;
use super::{ARENA, ARENA_SIZE, CODE, CODE_SIZE, End, Outcome};
use crate::cpu::soft::SoftCpu;
use crate::cpu::soft::state::{CpuState, seg};
use crate::cpu::soft::testing::{self, HANDLERS, PD, PT, set_word, word};
use crate::cpu::{Exit, Ram, Vcpu};

/// Page tables of the 2 MiB around code and arena.
const CODE_TABLE: u64 = 0x3_0000;
const ARENA_TABLE: u64 = 0x3_1000;
const PAGE: u64 = 4096;
/// Says that the machine is dead, or the code led astray.
const NO_VECTOR: u8 = 0xFF;
const PRESENT: u64 = 1;
const WRITABLE: u64 = 2;
const USER: u64 = 4;
const NO_EXECUTE: u64 = 1 << 63;

/// Index into a page table of the page of `address`.
fn entry(address: u64) -> u64 {
    address / PAGE % 512
}

/// The software CPU and its memory.
pub struct Guest {
    cpu: SoftCpu,
    ram: Ram,
    /// As the machine is before anything ran.
    initial: CpuState,
}

impl Guest {
    pub fn new() -> Guest {
        let (cpu, ram) = testing::cpu(&[], 3);
        for n in 0..512 {
            set_word(&ram, PT + n * 8, n << 12 | PRESENT | WRITABLE);
        }
        for n in 1..512 {
            set_word(&ram, PD + n * 8, 0);
        }
        let open = PRESENT | WRITABLE | USER;
        for (base, size, table, bits) in [
            (CODE, CODE_SIZE, CODE_TABLE, 0),
            (ARENA, ARENA_SIZE, ARENA_TABLE, NO_EXECUTE),
        ] {
            set_word(&ram, PD + (base >> 21) * 8, table | open);
            for at in (base..base + size as u64).step_by(PAGE as usize) {
                set_word(&ram, table + entry(at) * 8, at | open | bits);
            }
        }
        let mut initial = cpu.state().clone();
        // The selectors that Linux gives a program, for those who look at them.
        for (segment, selector) in [(seg::CS, 0x33), (seg::SS, 0x2B)] {
            initial.segs[segment].selector = selector;
        }
        Guest { cpu, ram, initial }
    }

    fn load(&mut self, before: &Registers, start: u64) {
        let mut s = self.initial.clone();
        before.put_into(&mut s);
        s.rip = start;
        self.cpu.set_state(s);
    }

    fn registers(&self) -> Registers {
        Registers::of(self.cpu.state())
    }

    /// Runs `code`, put at `start`: `count` instructions of which at most the last branches,
    /// to one of `exits` or an exception; `arena` becomes what it left there.
    pub fn run(
        &mut self,
        code: &[u8],
        start: u64,
        exits: [u64; 2],
        count: u64,
        before: &Registers,
        arena: &mut [u8],
    ) -> Outcome {
        self.ram.write(start, code).unwrap();
        self.ram.write(ARENA, arena).unwrap();
        self.load(before, start);
        let outcome = self.finish(exits, count);
        self.ram.read(ARENA, arena).unwrap();
        outcome
    }

    fn finish(&mut self, exits: [u64; 2], count: u64) -> Outcome {
        let exit = self.cpu.run(self.cpu.retired() + count, false);
        let s = self.cpu.state();
        let landed = exits.iter().position(|&exit| exit == s.rip);
        match (exit, landed) {
            (Exit::Budget | Exit::Halt, _) if s.cpl == 0 => self.fault(),
            (Exit::Budget, Some(landed)) => Outcome::landed(self.registers(), landed as u8 + 1),
            _ => Outcome::fault(self.registers(), NO_VECTOR, 0, 0, s.rip),
        }
    }

    /// What the exception's handler finds on its stack.
    fn fault(&mut self) -> Outcome {
        if !self.cpu.halted() {
            self.cpu.run(self.cpu.retired() + 1, false);
        }
        let vector = (self.cpu.state().rip - HANDLERS - 1) / 16;
        let has_error = matches!(vector, 8 | 10..=14 | 17 | 21);
        let mut frame = self.cpu.gpr(4);
        let error = if has_error { word(&self.ram, frame) } else { 0 };
        frame += if has_error { 8 } else { 0 };
        let mut registers = self.registers();
        registers.rflags = word(&self.ram, frame + 16);
        registers.gpr[4] = word(&self.ram, frame + 24);
        let address = self.cpu.state().cr2;
        Outcome::fault(
            registers,
            vector as u8,
            error,
            address,
            word(&self.ram, frame),
        )
    }
}

impl Outcome {
    /// Whether `soft` came to no end that a host could come to.
    pub fn is_astray(&self) -> bool {
        matches!(self.end, End::Fault { vector, .. } if vector == NO_VECTOR)
    }

    /// Whether the host may see this too: it does unless something else lies where `soft`
    /// has no page.
    pub fn is_safe(&self, guard: u64) -> bool {
        match self.end {
            End::Fault {
                vector: 14,
                address,
                ..
            } => (ARENA - guard..ARENA + ARENA_SIZE as u64 + guard).contains(&address),
            _ => true,
        }
    }
}
