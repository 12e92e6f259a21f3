//! What differs between two outcomes of one case.

use iced_x86::Instruction;

use super::case::{Case, NAMES};
use super::excluded::{rflags_mask, same_vectors, status_mask, stores_mmx};
use super::templates::decode;
use super::{ARENA, End, Outcome};

/// RFLAGS that a program sees: the status flags and DF.
const FLAGS: u64 = 0xCD5;

/// One line for each difference; none if the outcomes agree.
pub fn differences(
    case: &Case,
    soft: &(Outcome, Vec<u8>),
    host: &(Outcome, Vec<u8>),
) -> Vec<String> {
    let mut lines = Vec::new();
    let (s, h) = (&soft.0.registers, &host.0.registers);
    // A fault may have come after any of the instructions.
    let undefined = match host.0.end {
        End::Landed(_) => case.undefined,
        End::Fault { .. } => case.undefined_before,
    };
    let coarse = |end: End| match end {
        End::Fault {
            vector,
            error,
            address,
            rip,
        } if case.is_coarse => End::Fault {
            vector,
            error,
            address: address & !0xFFF,
            rip,
        },
        end => end,
    };
    if coarse(soft.0.end) != coarse(host.0.end) {
        lines.push(format!(
            "end: soft {:x?}, host {:x?}",
            soft.0.end, host.0.end
        ));
    }
    for (i, name) in NAMES.iter().enumerate() {
        if s.gpr[i] != h.gpr[i] {
            lines.push(format!(
                "{name}: soft {:#x}, host {:#x}",
                s.gpr[i], h.gpr[i]
            ));
        }
    }
    let mask = FLAGS & !rflags_mask(undefined);
    if (s.rflags ^ h.rflags) & mask != 0 {
        lines.push(format!(
            "flags: soft {:#x}, host {:#x}, differ in {:#x}",
            s.rflags & FLAGS,
            h.rflags & FLAGS,
            (s.rflags ^ h.rflags) & mask
        ));
    }
    for i in 0..16 {
        if !same_vectors(case.codes[0], s.xmm[i], h.xmm[i]) {
            lines.push(format!(
                "xmm{i}: soft {:#034x}, host {:#034x}",
                s.xmm[i], h.xmm[i]
            ));
        }
    }
    // Vendors differ in whether an unmasked overflow or underflow is inexact as well.
    let unmasked = h.mxcsr & 0x18 & !(h.mxcsr >> 7) != 0;
    let inexact = if unmasked { 0x20 } else { 0 };
    if (s.mxcsr ^ h.mxcsr) & !inexact != 0 {
        lines.push(format!("mxcsr: soft {:#x}, host {:#x}", s.mxcsr, h.mxcsr));
    }
    let (mut st, mut top) = (h.st, 0);
    if faulted_in(case, &host.0.end).is_some_and(|i| stores_mmx(&i)) {
        // The same registers by other names.
        st.rotate_left(usize::from(
            (s.status >> 11).wrapping_sub(h.status >> 11) & 7,
        ));
        top = 7 << 11;
    }
    for (i, (soft, host)) in s.st.iter().zip(st).enumerate() {
        if *soft != host {
            lines.push(format!("st{i}: soft {soft:#022x}, host {host:#022x}"));
        }
    }
    if s.control != h.control {
        lines.push(format!("fcw: soft {:#x}, host {:#x}", s.control, h.control));
    }
    if (s.status ^ h.status) & !status_mask(undefined) & !top != 0 {
        lines.push(format!(
            "fsw: soft {:#06x}, host {:#06x}",
            s.status, h.status
        ));
    }
    if s.valid != h.valid {
        lines.push(format!("ftw: soft {:#x}, host {:#x}", s.valid, h.valid));
    }
    memory(case, &soft.1, &host.1, &mut lines);
    lines
}

/// The instruction that faulted, if one did.
fn faulted_in(case: &Case, end: &End) -> Option<Instruction> {
    let End::Fault { rip, .. } = end else {
        return None;
    };
    let bytes = case.bytes.get(rip.wrapping_sub(case.start) as usize..)?;
    decode(bytes, *rip).map(|e| e.instruction)
}

fn memory(case: &Case, soft: &[u8], host: &[u8], lines: &mut Vec<String>) {
    if soft == host {
        return;
    }
    let ignored = |at: usize| {
        let inside = |&(from, len): &(usize, usize)| at.wrapping_sub(from) < len;
        case.ignored.iter().any(inside)
    };
    let all = (0..soft.len()).filter(|&at| soft[at] != host[at] && !ignored(at));
    for at in all.take(12) {
        lines.push(format!(
            "[{:#x}]: was {:#04x}, soft {:#04x}, host {:#04x}",
            ARENA + at as u64,
            case.arena[at],
            soft[at],
            host[at]
        ));
    }
}
