//! What cannot agree with a host, why, and which flags mean something after an instruction.

use iced_x86::{Code, FlowControl, Instruction, Mnemonic, OpKind, RflagsBits};

use super::templates::has_memory;

/// What `soft` computes by itself, and every processor somewhat otherwise.
pub const APPROXIMATE: &str = "approximations that differ by vendor";

/// Why instructions of this kind are not compared; each has tests of its own.
pub fn reason(i: &Instruction) -> Option<&'static str> {
    use Mnemonic as M;
    if i.code() == Code::Bswap_r16 {
        return Some("its result is undefined");
    }
    if matches!(
        i.code(),
        Code::Reservednop_rm16_r16_0F0D
            | Code::Reservednop_rm32_r32_0F0D
            | Code::Reservednop_rm64_r64_0F0D
    ) {
        return Some("a NOP for one vendor, #UD for another");
    }
    Some(match i.mnemonic() {
        M::Cpuid => "answers for the CPU model, not for the host",
        M::Rdtsc | M::Rdtscp | M::Rdpmc => "reads a clock or a counter",
        M::Syscall | M::Sysenter | M::Int | M::Int1 | M::Int3 => "enters the kernel",
        M::Sysret | M::Sysexit | M::Sysretq | M::Sysexitq | M::Iretq | M::Iretd | M::Iret => {
            "needs a frame or descriptors of this very machine"
        }
        M::In | M::Insb | M::Insw | M::Insd | M::Out | M::Outsb | M::Outsw | M::Outsd => {
            "port I/O, which depends on the TSS"
        }
        M::Hlt | M::Cli | M::Sti | M::Clts | M::Invd | M::Wbinvd | M::Wbnoinvd | M::Invlpg => {
            "only faults in ring 3"
        }
        M::Lgdt | M::Lidt | M::Lldt | M::Ltr | M::Lmsw | M::Rdmsr | M::Wrmsr | M::Swapgs => {
            "only faults in ring 3"
        }
        M::Xsetbv | M::Monitor | M::Mwait | M::Clac | M::Stac | M::Invpcid => {
            "only faults in ring 3"
        }
        M::Ud0 | M::Ud1 | M::Ud2 => "only faults",
        M::Mov if touches_system_register(i) => "only faults in ring 3",
        M::Mov | M::Pop if loads_segment(i) => "depends on the descriptor tables",
        M::Lfs | M::Lgs | M::Lss | M::Lar | M::Lsl | M::Verr | M::Verw => {
            "depends on the descriptor tables"
        }
        M::Jmp | M::Call if is_far(i) => "depends on the descriptor tables",
        M::Retf => "depends on the descriptor tables",
        M::Sgdt | M::Sidt | M::Sldt | M::Str | M::Smsw => "stores what the host's kernel has set",
        M::Rdfsbase | M::Rdgsbase | M::Wrfsbase | M::Wrgsbase => "the base of thread-local storage",
        M::Rcpps | M::Rcpss | M::Rsqrtps | M::Rsqrtss => APPROXIMATE,
        M::F2xm1
        | M::Fyl2x
        | M::Fyl2xp1
        | M::Fptan
        | M::Fpatan
        | M::Fsin
        | M::Fcos
        | M::Fsincos => APPROXIMATE,
        _ => return None,
    })
}

fn touches(i: &Instruction, is: fn(iced_x86::Register) -> bool) -> bool {
    (0..i.op_count()).any(|n| i.op_kind(n) == OpKind::Register && is(i.op_register(n)))
}

fn touches_system_register(i: &Instruction) -> bool {
    touches(i, |r| r.is_cr() || r.is_dr() || r.is_tr())
}

fn loads_segment(i: &Instruction) -> bool {
    i.op_kind(0) == OpKind::Register && i.op0_register().is_segment_register()
}

fn is_far(i: &Instruction) -> bool {
    i.is_call_far_indirect() || i.is_jmp_far_indirect() || i.is_call_far() || i.is_jmp_far()
}

/// Encodings that no code of their own names.
pub const ENCODINGS: [(&str, &str); 3] = [
    (
        "F3 0F BC, F3 0F BD",
        "TZCNT and LZCNT on newer hosts, BSF and BSR here",
    ),
    (
        "CVTPI2PS from memory",
        "vendors differ in whether it touches the x87 state",
    ),
    (
        "MOVSXD to 16 bits from memory",
        "vendors differ in how much memory it reads",
    ),
];

/// What is not compared of instructions that are, or not tried on them.
pub const MASKED: [(&str, &str); 13] = [
    (
        "flags and x87 condition codes",
        "where the manuals leave them undefined",
    ),
    (
        "a shift by a count of 2 or more: OF; of a count of the width or more: CF",
        "undefined",
    ),
    (
        "SHLD and SHRD of 16 bits by more than 16",
        "the result is undefined",
    ),
    (
        "BSF and BSR of 32 bits of zero",
        "vendors differ in the destination's upper half",
    ),
    (
        "REP without iterations under 67",
        "vendors differ in the pointers' upper halves",
    ),
    (
        "PE beside an unmasked OE or UE of SSE",
        "vendors differ in whether the result is inexact",
    ),
    (
        "CVTPI2PS and its kin with unmasked exceptions",
        "#XM before or after the change to MMX",
    ),
    (
        "FPREM and FPREM1 across 64 exponents or more",
        "how far they go is the processor's choice",
    ),
    ("FBLD of what are no digits", "undefined"),
    (
        "DPPS and DPPD of several NaNs",
        "which of them is the result is the processor's choice",
    ),
    (
        "a store from an MMX register that faults: TOP",
        "vendors differ in whether it is 0 by then",
    ),
    (
        "FNSTENV, FNSAVE, FXSAVE: FIP, FDP, FOP, reserved fields, MXCSR_MASK",
        "vendors differ in when they are recorded",
    ),
    (
        "memory of these, and of FSTP and FBSTP of 80 bits, that reaches beyond its page when the next is not there; of operands of \
         other sizes than registers the fault's offset in its page",
        "a processor may store a part first, and from either end",
    ),
];

/// Operand forms that do not agree although others of their code do.
pub fn form(i: &Instruction) -> bool {
    matches!(i.code(), Code::Cvtpi2ps_xmm_mmm64 | Code::Movsxd_r16_rm16) && has_memory(i)
}

/// Whether `i` stands only alone: it needs memory or registers that others would spoil,
/// or shows flags that others leave undefined.
pub fn stands_alone(i: &Instruction) -> bool {
    use Mnemonic as M;
    let narrow = i.op0_register().size() == 2 || has_memory(i) && i.memory_size().size() == 2;
    i.flow_control() != FlowControl::Next
        || matches!(i.mnemonic(), M::Shld | M::Shrd if narrow)
        || matches!(i.mnemonic(), M::Div | M::Idiv | M::Enter | M::Leave)
        || matches!(i.mnemonic(), M::Popf | M::Popfq | M::Ldmxcsr | M::Fldcw)
        || matches!(
            i.mnemonic(),
            M::Fldenv | M::Frstor | M::Fxrstor | M::Fxrstor64
        )
        || matches!(i.mnemonic(), M::Fnstsw | M::Fstsw | M::Fnstenv | M::Fnsave)
        || matches!(i.mnemonic(), M::Fxsave | M::Fxsave64)
        || matches!(i.mnemonic(), M::Fprem | M::Fprem1 | M::Fbld)
        || lanes_of_nans(i.code()).is_some()
        || matches!(i.code(), Code::Bsf_r32_rm32 | Code::Bsr_r32_rm32) && has_memory(i)
}

/// Of codes that add up products, in which several NaNs may meet: the width of an element in bits.
fn lanes_of_nans(code: Code) -> Option<u32> {
    match code {
        Code::Dpps_xmm_xmmm128_imm8 => Some(32),
        Code::Dppd_xmm_xmmm128_imm8 => Some(64),
        _ => None,
    }
}

/// Whether `a` and `b` are the same as far as it is certain what `code` gives.
pub fn same_vectors(code: Code, a: u128, b: u128) -> bool {
    let Some(width) = lanes_of_nans(code) else {
        return a == b;
    };
    let is_nan = |lane: u64| match width {
        32 => f32::from_bits(lane as u32).is_nan(),
        _ => f64::from_bits(lane).is_nan(),
    };
    (0..128 / width).all(|n| {
        let [a, b] = [a, b].map(|v| (v >> (n * width)) as u64 & (u64::MAX >> (64 - width)));
        a == b || is_nan(a) && is_nan(b)
    })
}

/// Whether `i` stores an MMX register.
pub fn stores_mmx(i: &Instruction) -> bool {
    i.op0_kind() == OpKind::Memory && i.op1_register().is_mm()
}

const STATUS: u32 = RflagsBits::OF
    | RflagsBits::SF
    | RflagsBits::ZF
    | RflagsBits::AF
    | RflagsBits::CF
    | RflagsBits::PF;

/// The flags that `i` certainly defines, and those that it leaves undefined, as
/// `RflagsBits`. `rcx` is RCX before it, if known.
pub fn flags(i: &Instruction, rcx: Option<u64>) -> (u32, u32) {
    use Mnemonic as M;
    let rotates = matches!(i.mnemonic(), M::Rol | M::Ror | M::Rcl | M::Rcr);
    let shifts = matches!(
        i.mnemonic(),
        M::Shl | M::Sal | M::Shr | M::Sar | M::Shld | M::Shrd
    );
    if !rotates && !shifts {
        let conditional = i.is_string_instruction() && (i.has_rep_prefix() || i.has_repne_prefix());
        let defined = i.rflags_written() | i.rflags_cleared() | i.rflags_set();
        return (if conditional { 0 } else { defined }, i.rflags_undefined());
    }
    let bits = 8 * match i.op0_kind() {
        OpKind::Memory => i.memory_size().size(),
        _ => i.op0_register().size(),
    } as u64;
    let last = i.op_count() - 1;
    let count = match i.op_kind(last) {
        OpKind::Register => rcx,
        _ => i.try_immediate(last).ok(),
    };
    let Some(count) = count.map(|n| n & if bits == 64 { 63 } else { 31 }) else {
        return (
            0,
            if rotates {
                RflagsBits::OF
            } else {
                RflagsBits::OF | RflagsBits::AF | RflagsBits::CF
            },
        );
    };
    let mut undefined = 0;
    if count == 0 {
        return (0, 0);
    }
    if count != 1 {
        undefined |= RflagsBits::OF;
    }
    if shifts {
        undefined |= RflagsBits::AF;
        if count >= bits && i.mnemonic() != M::Sar {
            undefined |= RflagsBits::CF;
        }
    }
    // A rotation all the way round leaves CF as it was.
    let through_carry = matches!(i.mnemonic(), M::Rcl | M::Rcr);
    if through_carry && count % (bits + 1) == 0 {
        return (0, undefined);
    }
    let all = if rotates {
        RflagsBits::CF | RflagsBits::OF
    } else {
        STATUS
    };
    (all & !undefined, undefined)
}

/// `RflagsBits` as a mask of RFLAGS.
pub fn rflags_mask(bits: u32) -> u64 {
    [
        (RflagsBits::CF, 0),
        (RflagsBits::PF, 2),
        (RflagsBits::AF, 4),
        (RflagsBits::ZF, 6),
        (RflagsBits::SF, 7),
        (RflagsBits::OF, 11),
    ]
    .into_iter()
    .filter(|(bit, _)| bits & bit != 0)
    .map(|(_, at)| 1 << at)
    .sum()
}

/// `RflagsBits` as a mask of the x87 status word.
pub fn status_mask(bits: u32) -> u16 {
    [
        (RflagsBits::C0, 8),
        (RflagsBits::C1, 9),
        (RflagsBits::C2, 10),
        (RflagsBits::C3, 14),
    ]
    .into_iter()
    .filter(|(bit, _)| bits & bit != 0)
    .map(|(_, at)| 1 << at)
    .sum()
}
