//! One test case: some instructions, aimed at the arena, and the state they start from.

use iced_x86::{Code, FlowControl, InstructionInfoFactory, Mnemonic, OpAccess, Register};

use super::excluded;
use super::random::Random;
use super::state::{self, Registers};
use super::templates::{Encoded, Template, decode, has_memory};
use super::{ARENA, ARENA_SIZE, CODE, EXIT, jump_to};

/// Instructions and state.
#[derive(Clone, Debug)]
pub struct Case {
    pub codes: Vec<Code>,
    pub bytes: Vec<u8>,
    /// Where the bytes lie.
    pub start: u64,
    /// Where they end: the first goes on behind the last instruction.
    pub exits: [u64; 2],
    pub registers: Registers,
    pub arena: Vec<u8>,
    /// Flags, as `iced_x86::RflagsBits`, that are undefined at the end.
    pub undefined: u32,
    /// Flags that are undefined after any of the instructions.
    pub undefined_before: u32,
    /// Some operand is so large that only the page of a fault is certain.
    pub is_coarse: bool,
    /// Parts of the arena (offset, length) that are not compared.
    pub ignored: Vec<(usize, usize)>,
    /// General-purpose registers whose start values are chosen, or lost.
    fixed: u16,
    written: u16,
}

pub(super) const RAX: usize = 0;
pub(super) const RCX: usize = 1;
pub(super) const RDX: usize = 2;
pub(super) const RBX: usize = 3;
pub(super) const RSP: usize = 4;
pub(super) const RBP: usize = 5;
pub(super) const RSI: usize = 6;
pub(super) const RDI: usize = 7;

pub(super) fn gpr(r: Register) -> Option<usize> {
    (r.is_gpr() && r != Register::None).then(|| r.full_register().number())
}

pub(super) const END: u64 = ARENA + ARENA_SIZE as u64;

impl Case {
    /// A case without instructions yet.
    pub fn new(random: &mut Random, arena: &[u8]) -> Case {
        let start = CODE + random.below(0xF00);
        Case {
            codes: Vec::new(),
            bytes: Vec::new(),
            start,
            exits: [0; 2],
            registers: Registers::random(random),
            arena: arena.to_vec(),
            undefined: 0,
            undefined_before: 0,
            is_coarse: false,
            ignored: Vec::new(),
            fixed: 0,
            written: 0,
        }
    }

    pub(super) fn ip(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// Chooses the start value of a register; `false` if that is too late.
    pub(super) fn set(&mut self, register: usize, value: u64) -> bool {
        let bit = 1 << register;
        if (self.fixed | self.written) & bit != 0 {
            return false;
        }
        self.fixed |= bit;
        self.registers.gpr[register] = value;
        true
    }

    /// The value of a register here, if it is known; it then stays as it is.
    pub(super) fn known(&mut self, register: usize) -> Option<u64> {
        if self.written & 1 << register != 0 {
            return None;
        }
        self.fixed |= 1 << register;
        Some(self.registers.gpr[register])
    }

    pub(super) fn put(&mut self, address: u64, bytes: &[u8]) {
        let at = address.wrapping_sub(ARENA) as usize;
        if at < ARENA_SIZE && at + bytes.len() <= ARENA_SIZE {
            self.arena[at..at + bytes.len()].copy_from_slice(bytes);
        }
    }

    pub(super) fn at(&self, address: u64) -> [u8; 16] {
        let at = address.wrapping_sub(ARENA) as usize;
        let mut bytes = [0; 16];
        if at < ARENA_SIZE - 16 {
            bytes.copy_from_slice(&self.arena[at..at + 16]);
        }
        bytes
    }

    pub(super) fn qword(&self, address: u64) -> u64 {
        u64::from_le_bytes(self.at(address)[..8].try_into().unwrap())
    }

    /// Adds an instruction of `template`, one of `length`. On `false` the case is as good
    /// as before, but for start values that nobody needs.
    pub fn push(&mut self, random: &mut Random, template: &Template, length: usize) -> bool {
        let alone = length == 1;
        let last = self.codes.len() + 1 == length;
        let ip = self.ip();
        let Some(mut e) = template.instantiate(random, ip) else {
            return false;
        };
        let i = &e.instruction;
        if i.memory_segment() == Register::FS || i.memory_segment() == Register::GS {
            return false;
        }
        if excluded::form(i) {
            return false;
        }
        let branches = i.flow_control() == FlowControl::ConditionalBranch;
        let fits = alone || last && branches || !excluded::stands_alone(i);
        if !fits || i.rflags_read() & self.undefined != 0 {
            return false;
        }
        let shifts_by_cl = i.op_count() > 1 && i.op_register(i.op_count() - 1) == Register::CL;
        let saved = (self.fixed, self.registers.gpr);
        let aimed = if has_memory(i) && !matches!(i.mnemonic(), Mnemonic::Lea | Mnemonic::Xlatb) {
            self.aim(random, &mut e)
        } else {
            Some(0)
        };
        let ok = match aimed {
            Some(address) => self.prepare(random, &mut e, address),
            None => false,
        };
        if !ok {
            (self.fixed, self.registers.gpr) = saved;
            return false;
        }
        let Some(e) = decode(&e.bytes, ip) else {
            return false;
        };
        if shifts_by_cl {
            self.known(RCX);
        }
        self.note(&e);
        self.codes.push(e.instruction.code());
        self.bytes.extend_from_slice(&e.bytes);
        true
    }

    /// An address for an operand of `size` bytes.
    fn target(&self, random: &mut Random, size: u64) -> u64 {
        if random.one_in(100) {
            // Across an end.
            return match random.below(2) {
                0 => END.wrapping_sub(random.below(size + 1)),
                _ => ARENA.wrapping_sub(random.below(size + 1)),
            };
        }
        let address = ARENA + random.below(ARENA_SIZE as u64 - size + 1);
        match random.below(16) {
            // Across the pages in the middle.
            0 => ARENA + 4096 - random.below(size + 1),
            1 => address,
            _ if size >= 16 => address & !15,
            2..=6 => address,
            _ => address & !7,
        }
    }

    /// Leads the memory operand into the arena, and answers its address.
    fn aim(&mut self, random: &mut Random, e: &mut Encoded) -> Option<u64> {
        let i = e.instruction;
        let size = (i.memory_size().size() as u64).max(1);
        let address = self.target(random, size);
        let displacement = i.memory_displacement64();
        let wide = i.memory_base().size() == 8 || i.memory_index().size() == 8;
        let upper = |random: &mut Random, v: u64| {
            if wide {
                v
            } else {
                v as u32 as u64 | random.next() << 32
            }
        };
        let scale = i.memory_index_scale() as u64;
        let index = gpr(i.memory_index());
        match (i.memory_base(), gpr(i.memory_base())) {
            (Register::RIP | Register::EIP, _) => {
                let next = i.next_ip();
                e.patch_displacement(address.wrapping_sub(next))?;
            }
            (_, Some(RSP)) => {
                let sp = self.known(RSP)?;
                let offset = match index {
                    Some(_) => return None,
                    None => address.wrapping_sub(sp),
                };
                if e.offsets.displacement_size() == 4 {
                    e.patch_displacement(offset)?;
                } else {
                    return Some(sp.wrapping_add(displacement));
                }
            }
            (_, Some(base)) if index == Some(base) => {
                let value = random.below(1 << 20);
                if e.offsets.displacement_size() != 4 || !self.set(base, value) {
                    return None;
                }
                e.patch_displacement(address.wrapping_sub(value.wrapping_mul(1 + scale)))?;
            }
            (_, Some(base)) => {
                let offset = match index {
                    Some(index) => self.known(index)?.wrapping_mul(scale),
                    None => 0,
                };
                let value = address.wrapping_sub(displacement).wrapping_sub(offset);
                let value = upper(random, value);
                if !self.set(base, value) {
                    return None;
                }
            }
            (_, None) => {
                let offset = match index {
                    Some(index) => {
                        let value = random.below(1 << 20);
                        if !self.set(index, value) {
                            return None;
                        }
                        value * scale
                    }
                    None => 0,
                };
                e.patch_displacement(address.wrapping_sub(offset))?;
            }
        }
        Some(address)
    }

    /// Notes what an instruction leaves behind for those that follow.
    fn note(&mut self, e: &Encoded) {
        let i = &e.instruction;
        let written = self.written;
        let mut factory = InstructionInfoFactory::new();
        for used in factory.info(i).used_registers() {
            let writes = !matches!(used.access(), OpAccess::Read | OpAccess::CondRead);
            if let Some(r) = gpr(used.register())
                && writes
                && !(r == RSP && i.is_stack_instruction())
            {
                self.written |= 1 << r;
            }
        }
        let rcx = (written & 1 << RCX == 0).then(|| self.registers.gpr[RCX]);
        let (certain, undefined) = excluded::flags(i, rcx);
        self.undefined = self.undefined & !certain | undefined;
        self.undefined_before |= undefined;
        if i.is_string_instruction() {
            // A fault in its midst leaves the flags as they were, or as far as it came.
            self.undefined_before |= i.rflags_modified();
        }
        self.is_coarse |= has_memory(i) && !matches!(i.memory_size().size(), 0..=10 | 16);
    }

    /// Puts the exits behind the instructions.
    pub fn finish(&mut self) {
        let end = self.ip();
        self.exits = [end, end + 7];
        self.bytes
            .extend([jump_to(EXIT), jump_to(EXIT + 8)].concat());
    }
}

impl Encoded {
    /// Replaces the displacement; `None` if the value does not fit.
    fn patch_displacement(&mut self, value: u64) -> Option<()> {
        let size = self.offsets.displacement_size();
        let fits = match size {
            8 => true,
            4 => value as i32 as u64 == value || value < 1 << 31,
            _ => false,
        };
        if !fits {
            return None;
        }
        let at = self.offsets.displacement_offset();
        self.bytes[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
        Some(())
    }
}

/// Registers that a failure report names.
pub const NAMES: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15",
];

/// A pool of memory contents, so that cases need not make their own.
pub fn arenas(random: &mut Random) -> Vec<Vec<u8>> {
    (0..64).map(|_| state::arena(random)).collect()
}
