//! One test case: some instructions, aimed at the arena, and the state they start from.

use iced_x86::{Code, FlowControl, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register};

use super::excluded;
use super::random::Random;
use super::state::{self, Registers};
use super::templates::{Encoded, Template, decode, has_memory};
use super::{ARENA, ARENA_SIZE, CODE, EXIT};

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

const RAX: usize = 0;
const RCX: usize = 1;
const RDX: usize = 2;
const RBX: usize = 3;
const RSP: usize = 4;
const RBP: usize = 5;
const RSI: usize = 6;
const RDI: usize = 7;

fn gpr(r: Register) -> Option<usize> {
    (r.is_gpr() && r != Register::None).then(|| r.full_register().number())
}

const END: u64 = ARENA + ARENA_SIZE as u64;

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

    fn ip(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// Chooses the start value of a register; `false` if that is too late.
    fn set(&mut self, register: usize, value: u64) -> bool {
        let bit = 1 << register;
        if (self.fixed | self.written) & bit != 0 {
            return false;
        }
        self.fixed |= bit;
        self.registers.gpr[register] = value;
        true
    }

    /// The value of a register here, if it is known; it then stays as it is.
    fn known(&mut self, register: usize) -> Option<u64> {
        if self.written & 1 << register != 0 {
            return None;
        }
        self.fixed |= 1 << register;
        Some(self.registers.gpr[register])
    }

    fn put(&mut self, address: u64, bytes: &[u8]) {
        let at = address.wrapping_sub(ARENA) as usize;
        if at < ARENA_SIZE && at + bytes.len() <= ARENA_SIZE {
            self.arena[at..at + bytes.len()].copy_from_slice(bytes);
        }
    }

    fn at(&self, address: u64) -> [u8; 16] {
        let at = address.wrapping_sub(ARENA) as usize;
        let mut bytes = [0; 16];
        if at < ARENA_SIZE - 16 {
            bytes.copy_from_slice(&self.arena[at..at + 16]);
        }
        bytes
    }

    fn qword(&self, address: u64) -> u64 {
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

    /// Start values for whatever the instruction uses besides its memory operand.
    fn prepare(&mut self, random: &mut Random, e: &mut Encoded, address: u64) -> bool {
        use Mnemonic as M;
        let i = e.instruction;
        if i.is_string_instruction() {
            return self.prepare_string(random, e);
        }
        let mid = ARENA + ARENA_SIZE as u64 / 4 + (random.below(ARENA_SIZE as u64 / 2) & !7);
        match i.mnemonic() {
            M::Bt | M::Bts | M::Btr | M::Btc
                if has_memory(&i) && i.op_kind(1) == OpKind::Register =>
            {
                let low = -((address - ARENA.min(address)) as i64) * 8;
                let high = (END.saturating_sub(address + 8)) as i64 * 8;
                let span = (high - low).max(1) as u64;
                let bits = low + random.below(span) as i64;
                let bits = match i.op1_register().size() {
                    2 => bits.clamp(-0x8000, 0x7FFF) as u16 as u64 | random.next() << 16,
                    4 => bits as u32 as u64 | random.next() << 32,
                    _ => bits as u64,
                };
                gpr(i.op1_register()).is_some_and(|r| self.set(r, bits))
            }
            M::Cvtps2pi | M::Cvttps2pi | M::Cvtpd2pi | M::Cvttpd2pi | M::Cvtpi2ps | M::Cvtpi2pd => {
                // Whether #XM comes before the x87 registers become MMX registers differs.
                self.registers.mxcsr |= 0x1F80;
                true
            }
            M::Maskmovq | M::Maskmovdqu => self.set(RDI, mid + random.below(16)),
            M::Xlatb => self.set(RBX, mid),
            M::Leave => self.set(RBP, mid),
            M::Enter => {
                let at = e.offsets.immediate_offset();
                e.bytes[at + 1] &= 1;
                self.set(RBP, mid)
            }
            M::Shld | M::Shrd if i.op0_register().size() == 2 || i.memory_size().size() == 2 => {
                // Beyond the width the result is undefined.
                if i.op2_kind() == OpKind::Register {
                    let n = random.below(16);
                    self.set(RCX, n | random.next() & !0x1F)
                } else {
                    let at = e.offsets.immediate_offset();
                    e.bytes[at] &= 0xEF;
                    true
                }
            }
            M::Div | M::Idiv => {
                if !random.one_in(12) {
                    let sign = i.mnemonic() == M::Idiv && random.one_in(2);
                    let high = if sign { !0 } else { random.below(3) };
                    let low = self.registers.gpr[RAX];
                    if i.code() == Code::Div_rm8 || i.code() == Code::Idiv_rm8 {
                        self.set(RAX, low & !0xFF00 | high << 8 & 0xFF00);
                    } else {
                        self.set(RDX, high);
                    }
                }
                true
            }
            M::Loop | M::Loope | M::Loopne | M::Jrcxz | M::Jecxz => {
                let few = random.below(3)
                    | if random.one_in(3) {
                        random.next() << 32
                    } else {
                        0
                    };
                if random.one_in(2) {
                    self.set(RCX, few);
                }
                self.prepare_branch(e, address)
            }
            M::Cmpxchg if random.one_in(2) => {
                let value = match gpr(i.op0_register()) {
                    Some(r) if !has_memory(&i) => self.registers.gpr[r],
                    _ => self.qword(address),
                };
                self.set(RAX, value);
                true
            }
            M::Cmpxchg8b if random.one_in(2) => {
                let old = self.qword(address);
                self.set(RAX, old as u32 as u64 | random.next() << 32);
                self.set(RDX, old >> 32 | random.next() << 32);
                true
            }
            M::Cmpxchg16b if random.one_in(2) => {
                let old = self.at(address);
                self.set(RAX, u64::from_le_bytes(old[..8].try_into().unwrap()));
                self.set(RDX, u64::from_le_bytes(old[8..].try_into().unwrap()));
                true
            }
            M::Pcmpestri | M::Pcmpestrm | M::Pcmpestri64 | M::Pcmpestrm64 => {
                for r in [RAX, RDX] {
                    let length = random.below(40).wrapping_sub(20);
                    if !random.one_in(6) {
                        self.set(r, length);
                    }
                }
                true
            }
            _ => self.prepare_memory(random, e, address),
        }
    }

    /// Memory contents that some instructions want.
    fn prepare_memory(&mut self, random: &mut Random, e: &mut Encoded, address: u64) -> bool {
        use Mnemonic as M;
        let i = e.instruction;
        let other = Registers::random(random);
        match i.mnemonic() {
            M::Ldmxcsr if !random.one_in(30) => {
                self.put(address, &other.mxcsr.to_le_bytes());
            }
            M::Fldcw => self.put(address, &other.control.to_le_bytes()),
            M::Fldenv | M::Frstor => {
                let narrow = matches!(i.code(), Code::Fldenv_m14byte | Code::Frstor_m94byte);
                let step = if narrow { 2 } else { 4 };
                self.put(address, &other.control.to_le_bytes());
                self.put(address + step, &other.status.to_le_bytes());
            }
            M::Fxrstor | M::Fxrstor64 => self.put(address, &other.to_fxsave()),
            M::Popf | M::Popfq => {
                let Some(sp) = self.known(RSP) else {
                    return false;
                };
                self.put(sp, &(0x202 | random.next() & 0xCD5).to_le_bytes());
            }
            M::Fnstenv | M::Fstenv | M::Fnsave | M::Fsave => {
                // FIP, FOP and FDP.
                let narrow = matches!(i.memory_size().size(), 14 | 94);
                let (from, len) = if narrow { (6, 8) } else { (12, 16) };
                self.ignore(address + from, len);
                if !narrow {
                    for reserved in [2, 6, 10] {
                        self.ignore(address + reserved, 2);
                    }
                }
            }
            M::Fxsave | M::Fxsave64 => {
                self.ignore(address + 5, 19);
                self.ignore(address + 28, 4);
                self.ignore(address + 416, 96);
                // The upper bits of x87 registers.
                for st in 0..8 {
                    self.ignore(address + 42 + 16 * st, 6);
                }
            }
            _ if i.flow_control() != FlowControl::Next => {
                return self.prepare_branch(e, address);
            }
            _ => {}
        }
        true
    }

    fn ignore(&mut self, address: u64, len: usize) {
        self.ignored
            .push((address.wrapping_sub(ARENA) as usize, len));
    }

    fn prepare_string(&mut self, random: &mut Random, e: &mut Encoded) -> bool {
        let i = e.instruction;
        let size = i.memory_size().size() as u64;
        let repeated = i.has_rep_prefix() || i.has_repne_prefix();
        let count = match random.below(8) {
            _ if !repeated => 1,
            0 => 0,
            1 => random.below(ARENA_SIZE as u64 / 2 / size),
            _ => random.below(24),
        };
        let narrow = (0..i.op_count())
            .any(|n| matches!(i.op_kind(n), OpKind::MemorySegESI | OpKind::MemoryESEDI));
        let upper = if narrow { random.next() << 32 } else { 0 };
        let span = (count * size).max(size);
        let down = self.registers.rflags & 0x400 != 0;
        let place = |random: &mut Random| {
            let mut at = ARENA + random.below(ARENA_SIZE as u64 - span + 1);
            if down {
                at += span - size;
            }
            // Now and then across the end.
            if random.one_in(60) {
                at = if down { ARENA + 8 } else { END - 8 };
            }
            at | upper
        };
        let from = place(random);
        let mut to = place(random);
        if random.one_in(4) {
            to = from.wrapping_add(random.below(5) * size);
            if to + span > END || down {
                to = from;
            }
        }
        let ok = self.set(RSI, from) && self.set(RDI, to);
        ok && (!repeated || self.set(RCX, count | upper))
    }

    /// Branches lead to one of the exits.
    fn prepare_branch(&mut self, e: &mut Encoded, address: u64) -> bool {
        let i = e.instruction;
        let next = self.ip() + e.bytes.len() as u64;
        // What follows the case's last instruction are two jumps of 7 bytes.
        let taken = next + 7;
        match i.flow_control() {
            FlowControl::Return => {
                let Some(sp) = self.known(RSP) else {
                    return false;
                };
                self.put(sp, &taken.to_le_bytes());
                true
            }
            FlowControl::IndirectBranch | FlowControl::IndirectCall => {
                if has_memory(&i) {
                    self.put(address, &taken.to_le_bytes());
                    true
                } else {
                    gpr(i.op0_register()).is_some_and(|r| r != RSP && self.set(r, taken))
                }
            }
            FlowControl::ConditionalBranch
            | FlowControl::UnconditionalBranch
            | FlowControl::Call
                if i.op0_kind() == OpKind::NearBranch64 =>
            {
                let at = e.offsets.immediate_offset();
                let size = e.offsets.immediate_size();
                e.bytes[at..at + size].copy_from_slice(&7u64.to_le_bytes()[..size]);
                true
            }
            _ => true,
        }
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
        for exit in [EXIT, EXIT + 8] {
            self.bytes.extend_from_slice(&[0xFF, 0x24, 0x25]);
            self.bytes.extend_from_slice(&(exit as u32).to_le_bytes());
        }
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
