//! Decoding: from guest bytes to blocks of ops.

use iced_x86::{Decoder, DecoderError, DecoderOptions, FlowControl, Instruction};

use super::core::Core;
use super::coverage::PageName;
use super::missing;
use super::op::{Flow, Op};
use super::{bits, floating, integer, system};

/// How bytes are decoded: TZCNT, LZCNT and WBNOINVD are what older CPUs take them for.
/// PAUSE is a NOP like any other, so that with REX.B it becomes the XCHG that it is.
pub const DECODER_OPTIONS: u32 = DecoderOptions::NO_MPFX_0FBC
    | DecoderOptions::NO_MPFX_0FBD
    | DecoderOptions::NO_WBNOINVD
    | DecoderOptions::NO_PAUSE;

/// Most instructions in a block.
const MAX_OPS: usize = 64;

/// Bits of the mode that decoding depends on.
pub mod mode {
    /// Ring 3.
    pub const USER: u8 = 1;
    /// CR0.TS: floating point faults.
    pub const TASK_SWITCHED: u8 = 2;
    /// CR0.EM: there is no floating point.
    pub const EMULATE: u8 = 4;
    /// CR4.OSFXSR is clear: there is no SSE.
    pub const NO_SSE: u8 = 8;
    /// CR0.MP: WAIT looks at TS.
    pub const MONITOR: u8 = 16;
}

/// The current mode.
#[inline(always)]
pub fn mode_of(core: &Core) -> u8 {
    let cr0 = core.s.cr0;
    let mut mode = (cr0 as u8 & 8) >> 2 | cr0 as u8 & 4 | (cr0 as u8 & 2) << 3;
    if core.s.cr4 & bits::CR4_OSFXSR == 0 {
        mode |= mode::NO_SSE;
    }
    if core.s.cpl == 3 {
        mode |= mode::USER;
    }
    mode
}

/// Decodes a block from `bytes`, which begin at `offset` in their page and end with it
/// (or hold at least one whole instruction), into `ops`, and answers its length in
/// bytes: 0 if not even the first instruction ends within them.
pub fn decode(
    bytes: &[u8],
    offset: u64,
    mode: u8,
    name: Option<PageName>,
    max: usize,
    ops: &mut Vec<Op>,
) -> u16 {
    let mut decoder = Decoder::with_ip(64, bytes, offset, DECODER_OPTIONS);
    let mut end = 0;
    let mut i = Instruction::default();
    ops.clear();
    while ops.len() < max.min(MAX_OPS) && decoder.can_decode() {
        let start = decoder.position();
        decoder.decode_out(&mut i);
        if i.is_invalid() && decoder.last_error() == DecoderError::NoMoreBytes {
            break;
        }
        let (op, last) = lower(&i, &bytes[start..], start as u16, mode, name);
        #[cfg(test)]
        let op = super::conformance::sabotage::apply(op);
        ops.push(op);
        end = start + i.len();
        if last {
            break;
        }
    }
    end as u16
}

/// Makes an op of `i`, and says whether the block ends with it.
fn lower(i: &Instruction, bytes: &[u8], off: u16, mode: u8, name: Option<PageName>) -> (Op, bool) {
    let mut op = Op::new(i, off, undefined);
    let branches = i.flow_control() != FlowControl::Next;
    if branches && let Some(name) = name {
        op.edge = name.edge(i.ip());
    }
    if let Some(run) = integer::lower(i, &mut op) {
        op.run = run;
        return (op, branches);
    }
    if let Some(run) = system::lower(i, &mut op) {
        op.run = run;
        return (op, true);
    }
    if let Some(run) = floating::lower(i, &mut op, mode) {
        op.run = run;
        return (op, false);
    }
    op.run = undefined;
    let mut first = [0; 16];
    let count = bytes.len().min(i.len().max(1)).min(15);
    first[..count].copy_from_slice(&bytes[..count]);
    op.imm = u64::from_le_bytes(first[..8].try_into().unwrap_or_default());
    op.disp = i64::from_le_bytes(first[8..].try_into().unwrap_or_default());
    op.len = count as u8;
    (op, true)
}

/// An instruction this CPU does not have: #UD, and a line in the report.
fn undefined(core: &mut Core, op: &Op) -> Flow {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&op.imm.to_le_bytes());
    bytes[8..].copy_from_slice(&op.disp.to_le_bytes());
    let rip = core.s.gpr[super::state::BLOCK as usize].wrapping_add(u64::from(op.off));
    missing::record(&mut core.missing, &bytes[..op.len as usize], rip);
    core.raise(6, None)
}
