//! Every encoding that `soft` executes, found by decoding all opcodes.

use std::collections::BTreeMap;

use iced_x86::{Code, ConstantOffsets, Decoder, Instruction, OpKind};

use super::random::Random;
use crate::cpu::soft::core::Core;
use crate::cpu::soft::op::{Flow, Op};
use crate::cpu::soft::translate::DECODER_OPTIONS;
use crate::cpu::soft::{integer, mmx, sse, system, x87};

/// Encodings kept of one code, of each operand form.
const KEPT: usize = 12;

/// The fixed part of an encoding.
#[derive(Clone, Debug)]
pub struct Template {
    prefix: Option<u8>,
    wide: bool,
    opcode: Vec<u8>,
    modrm: Option<u8>,
    code: Code,
}

/// An instruction with its bytes.
#[derive(Clone, Debug)]
pub struct Encoded {
    pub bytes: Vec<u8>,
    pub instruction: Instruction,
    pub offsets: ConstantOffsets,
}

/// Decodes one instruction that lies at `ip`, as `soft` does.
pub fn decode(bytes: &[u8], ip: u64) -> Option<Encoded> {
    let mut decoder = Decoder::with_ip(64, bytes, ip, DECODER_OPTIONS);
    let instruction = decoder.decode();
    if instruction.is_invalid() {
        return None;
    }
    Some(Encoded {
        bytes: bytes[..instruction.len()].to_vec(),
        instruction,
        offsets: decoder.get_constant_offsets(&instruction),
    })
}

fn nothing(_: &mut Core, _: &Op) -> Flow {
    Flow::Next
}

/// Whether `soft` executes `i`.
pub fn executes(i: &Instruction) -> bool {
    let mut op = Op::new(i, 0, nothing);
    integer::lower(i, &mut op).is_some()
        || system::lower(i, &mut op).is_some()
        || sse::lower(i, &mut op).is_some()
        || mmx::lower(i, &mut op).is_some()
        || x87::lower(i, &mut op).is_some()
}

/// Whether `i` has a memory operand with a ModRM byte (or an absolute address).
pub fn has_memory(i: &Instruction) -> bool {
    (0..i.op_count()).any(|n| i.op_kind(n) == OpKind::Memory)
}

impl Template {
    fn head(&self, rex: u8) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.prefix.into_iter().collect();
        if rex != 0 || self.wide {
            bytes.push(0x40 | (self.wide as u8) << 3 | rex);
        }
        bytes.extend_from_slice(&self.opcode);
        bytes
    }

    /// A random instruction of this kind, to lie at `ip`.
    pub fn instantiate(&self, random: &mut Random, ip: u64) -> Option<Encoded> {
        let rex = if random.one_in(2) {
            (random.next() & 7) as u8 | if random.one_in(2) { 0x40 } else { 0 }
        } else {
            0
        };
        let mut prefixes = Vec::new();
        if random.one_in(24) {
            prefixes.push(*random.pick(&[0x67, 0x67, 0x67, 0x3E, 0x2E, 0xF0, 0xF0, 0xF0]));
        }
        let mut bytes = prefixes.clone();
        bytes.extend(self.head(rex));
        if let Some(modrm) = self.modrm {
            // Some codes own the whole byte, others only a part.
            let free = *random.pick(&[0, 0x07, 0x3F, 0x3F]);
            let mode = if modrm < 0xC0 && free != 0 {
                (random.below(3) as u8) << 6
            } else {
                modrm & 0xC0
            };
            let modrm = mode | modrm & 0x3F & !free | random.next() as u8 & free;
            bytes.push(modrm);
        }
        for _ in 0..12 {
            const EDGES: [u8; 6] = [0, 1, 2, 0x7F, 0x80, 0xFF];
            bytes.push(if random.one_in(3) {
                *random.pick(&EDGES)
            } else {
                random.next() as u8
            });
        }
        bytes.truncate(15);
        decode(&bytes, ip).filter(|e| e.instruction.code() == self.code && executes(&e.instruction))
    }

    /// One of its instructions.
    pub fn sample(&self) -> Option<Instruction> {
        self.parse(&[0; 11]).map(|e| e.instruction)
    }

    fn parse(&self, tail: &[u8]) -> Option<Encoded> {
        let mut bytes = self.head(0);
        bytes.extend(self.modrm);
        bytes.extend_from_slice(tail);
        decode(&bytes, 0)
    }
}

/// Templates by code.
pub type Templates = BTreeMap<Code, Vec<Template>>;

fn opcodes() -> impl Iterator<Item = Vec<u8>> {
    let maps: [&[u8]; 4] = [&[], &[0x0F], &[0x0F, 0x38], &[0x0F, 0x3A]];
    maps.into_iter()
        .flat_map(|map| {
            (0..=255u8).map(move |opcode| {
                let mut bytes = map.to_vec();
                bytes.push(opcode);
                bytes
            })
        })
        .filter(|bytes| !is_prefix(bytes))
}

/// Bytes that do not end an opcode.
fn is_prefix(bytes: &[u8]) -> bool {
    matches!(
        bytes,
        [0x26 | 0x2E | 0x36 | 0x3E | 0x40..=0x4F | 0x64..=0x67 | 0xF0 | 0xF2 | 0xF3 | 0x0F]
            | [0x0F, 0x38 | 0x3A]
    )
}

/// Whether what follows the opcode is a ModRM byte.
fn takes_modrm(e: &Encoded, head: usize) -> bool {
    let at_head = |has: bool, at: usize| has && at == head;
    e.bytes.len() > head
        && !at_head(e.offsets.has_immediate(), e.offsets.immediate_offset())
        && !at_head(
            e.offsets.has_displacement(),
            e.offsets.displacement_offset(),
        )
}

/// Whether `e` is the same without the prefix or REX.W of `template`.
fn is_redundant(template: &Template, e: &Encoded) -> bool {
    let same = |other: Template| {
        other
            .parse(&[0; 11])
            .is_some_and(|o| o.instruction.code() == e.instruction.code())
    };
    let plain = Template {
        prefix: None,
        ..template.clone()
    };
    let narrow = Template {
        wide: false,
        ..template.clone()
    };
    let repeats =
        e.instruction.is_string_instruction() && matches!(template.prefix, Some(0xF2 | 0xF3));
    template.prefix.is_some() && !repeats && same(plain) || template.wide && same(narrow)
}

/// All of them.
pub fn all() -> Templates {
    let mut random = Random::new(0);
    let mut found: BTreeMap<(Code, bool), (u64, Vec<Template>)> = BTreeMap::new();
    for opcode in opcodes() {
        for prefix in [None, Some(0x66), Some(0xF3), Some(0xF2), Some(0x67)] {
            for wide in [false, true] {
                for modrm in 0..=255u8 {
                    let mut template = Template {
                        prefix,
                        wide,
                        opcode: opcode.clone(),
                        modrm: Some(modrm),
                        code: Code::INVALID,
                    };
                    let Some(e) = template.parse(&[0; 11]) else {
                        continue;
                    };
                    template.code = e.instruction.code();
                    let head = template.head(0).len();
                    if is_redundant(&template, &e) || !executes(&e.instruction) {
                        continue;
                    }
                    if !takes_modrm(&e, head) {
                        template.modrm = None;
                    }
                    let key = (template.code, has_memory(&e.instruction));
                    let (seen, kept) = found.entry(key).or_default();
                    *seen += 1;
                    if kept.len() < KEPT {
                        kept.push(template);
                    } else if random.below(*seen) < KEPT as u64 {
                        let at = random.below(KEPT as u64) as usize;
                        kept[at] = template;
                    }
                }
            }
        }
    }
    let mut templates = Templates::new();
    for ((code, _), (_, kept)) in found {
        templates.entry(code).or_default().extend(kept);
    }
    templates
}
