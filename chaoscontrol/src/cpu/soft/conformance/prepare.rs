//! What an instruction needs besides its memory operand, chosen so that it does something
//! worth a comparison, and nothing that vendors leave open (`excluded::MASKED`).

use iced_x86::{Code, FlowControl, Mnemonic, OpKind};

use super::case::{Case, END, RAX, RBP, RBX, RCX, RDI, RDX, RSI, RSP, gpr};
use super::random::Random;
use super::state::Registers;
use super::templates::{Encoded, has_memory};
use super::{ARENA, ARENA_SIZE};

impl Case {
    /// Start values for whatever the instruction uses besides its memory operand.
    pub(super) fn prepare(&mut self, random: &mut Random, e: &mut Encoded, address: u64) -> bool {
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
            M::Bsf | M::Bsr if i.op0_register().size() == 4 => {
                // Of zero, what becomes of the destination's upper half differs.
                if has_memory(&i) {
                    self.put(address, &(1u32 << random.below(32)).to_le_bytes());
                    return true;
                }
                let some = 1 << random.below(32) | self.registers.gpr[i.op1_register().number()];
                gpr(i.op1_register()).is_some_and(|r| self.set(r, some))
            }
            M::Fprem | M::Fprem1 => {
                self.close_exponents(random);
                true
            }
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

    /// Lets the exponents of ST(0) and ST(1) be so close that a remainder is complete: how
    /// far an incomplete one goes is the processor's choice.
    fn close_exponents(&mut self, random: &mut Random) {
        let exponent = |st: u128| (st >> 64 & 0x7FFF) as u64;
        let (dividend, divisor) = (
            exponent(self.registers.st[0]),
            exponent(self.registers.st[1]),
        );
        if dividend == 0x7FFF || divisor == 0x7FFF || dividend < divisor + 64 && divisor != 0 {
            return;
        }
        // Of a denormal divisor the exponent may be much less than it looks.
        let near = if divisor == 0 {
            0
        } else {
            divisor + random.below(64)
        };
        self.registers.st[0] &= !(0x7FFF << 64);
        self.registers.st[0] |= u128::from(near.min(0x7FFE)) << 64;
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
            M::Fbld => {
                // Of what are no decimal digits the value is undefined.
                let digits = (0..18).fold(0, |v: u128, _| v << 4 | u128::from(random.below(10)));
                let sign = u128::from(random.below(2)) << 79;
                self.put(address, &(digits | sign).to_le_bytes()[..10]);
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
                self.ignore_cut(address, i.memory_size().size());
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
            M::Fstp | M::Fbstp if i.memory_size().size() == 10 => self.ignore_cut(address, 10),
            M::Fxsave | M::Fxsave64 => {
                self.ignore_cut(address, 512);
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

    /// Ignores an operand that does not lie wholly in the arena: before the page fault, a
    /// processor may have stored a part of it.
    fn ignore_cut(&mut self, address: u64, len: usize) {
        if address < ARENA || address + len as u64 > END {
            self.ignore(address.max(ARENA), len);
        }
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
        // Whether no iteration at all clears the upper halves of pointers differs.
        let upper = if narrow && count > 0 {
            random.next() << 32
        } else {
            0
        };
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
}
