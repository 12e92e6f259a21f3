//! Single operations on the host's x87, under the guest's control word: masks included,
//! since exceptions of the x87 are deferred and are cleared before the next waiting
//! instruction meets them. Each function leaves the host's x87 empty and its control
//! word as it was.
//!
//! Only what IEEE 754 and the manuals fix to the last bit on every processor is here.

use std::arch::asm;

/// What an operation gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The result: 80 bits, or as many as the memory operand has. Of no meaning where
    /// an unmasked exception withholds it.
    pub value: u128,
    /// The second result of FXTRACT.
    pub second: u128,
    /// The status word after the operation (TOP is not the guest's).
    pub status: u16,
}

/// `(a, b, control word)`: `a` is in ST(0); `b` in ST(1) or, in a memory operand's format, in memory.
pub type Operation = fn(u128, u128, u16) -> Answer;

/// Operands and results of one operation; offsets are known to the asm blocks.
#[repr(C)]
struct Exchange {
    a: u128,
    b: u128,
    value: u128,
    second: u128,
    control: u16,
    saved: u16,
    status: u16,
}

/// Defines an [`Operation`] from the instructions that load, operate and store.
macro_rules! operation {
    ($(#[$doc:meta])* $name:ident: [$($load:literal)*] $operate:expr, [$($store:literal)*]) => {
        $(#[$doc])*
        pub fn $name(a: u128, b: u128, control: u16) -> Answer {
            let mut exchange = Exchange { a, b, value: 0, second: 0, control, saved: 0, status: 0 };
            // SAFETY: memory operands lie inside of `exchange`, to which the pointer gives exclusive
            // access for the duration of the block. The x87 stack is empty on entry, as the ABI has it
            // for code that declares all of its registers clobbered, and FNINIT empties it again; at
            // most two values are pushed. FNCLEX removes pending exceptions before any instruction
            // that would report them. The control word is restored; the stack is not used.
            unsafe {
                asm!(
                    "fnstcw word ptr [{x} + 66]",
                    "fnclex",
                    $($load,)*
                    "fldcw word ptr [{x} + 64]",
                    $operate,
                    "fnstsw word ptr [{x} + 68]",
                    "fnclex",
                    $($store,)*
                    "fninit",
                    "fldcw word ptr [{x} + 66]",
                    x = in(reg) &raw mut exchange,
                    out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
                    out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
                    out("mm0") _, out("mm1") _, out("mm2") _, out("mm3") _,
                    out("mm4") _, out("mm5") _, out("mm6") _, out("mm7") _,
                    options(nostack),
                );
            }
            Answer { value: exchange.value, second: exchange.second, status: exchange.status }
        }
    };
}

/// Indexes of a table of forms: what the second operand is.
pub mod form {
    /// An 80-bit register.
    pub const REGISTER: usize = 0;
    /// Single precision in memory.
    pub const M32: usize = 1;
    /// Double precision in memory.
    pub const M64: usize = 2;
    /// A 16-bit integer in memory.
    pub const I16: usize = 3;
    /// A 32-bit integer in memory.
    pub const I32: usize = 4;
}

/// Defines a two-operand instruction as a table by [`form`].
macro_rules! forms {
    ($name:ident, $float:literal, $integer:literal, $store:tt) => {
        /// The forms of this instruction, by [`form`].
        pub const $name: [Operation; 5] = {
            operation!(register: ["fld tbyte ptr [{x} + 16]" "fld tbyte ptr [{x}]"] concat!($float, " st, st(1)"), $store);
            operation!(m32: ["fld tbyte ptr [{x}]"] concat!($float, " dword ptr [{x} + 16]"), $store);
            operation!(m64: ["fld tbyte ptr [{x}]"] concat!($float, " qword ptr [{x} + 16]"), $store);
            operation!(i16: ["fld tbyte ptr [{x}]"] concat!($integer, " word ptr [{x} + 16]"), $store);
            operation!(i32: ["fld tbyte ptr [{x}]"] concat!($integer, " dword ptr [{x} + 16]"), $store);
            [register, m32, m64, i16, i32]
        };
    };
}

forms!(ADD, "fadd", "fiadd", ["fstp tbyte ptr [{x} + 32]"]);
forms!(MUL, "fmul", "fimul", ["fstp tbyte ptr [{x} + 32]"]);
forms!(SUB, "fsub", "fisub", ["fstp tbyte ptr [{x} + 32]"]);
forms!(SUBR, "fsubr", "fisubr", ["fstp tbyte ptr [{x} + 32]"]);
forms!(DIV, "fdiv", "fidiv", ["fstp tbyte ptr [{x} + 32]"]);
forms!(DIVR, "fdivr", "fidivr", ["fstp tbyte ptr [{x} + 32]"]);

/// Defines a comparison with ST(1), whose result is in the status word.
macro_rules! comparison {
    ($(#[$doc:meta])* $name:ident, $operate:literal) => {
        operation!($(#[$doc])* $name: ["fld tbyte ptr [{x} + 16]" "fld tbyte ptr [{x}]"] $operate, []);
    };
}

/// Defines an instruction from ST(0) to ST(0), which may look at ST(1).
macro_rules! function {
    ($(#[$doc:meta])* $name:ident, $operate:literal) => {
        operation!($(#[$doc])* $name: ["fld tbyte ptr [{x} + 16]" "fld tbyte ptr [{x}]"] $operate, ["fstp tbyte ptr [{x} + 32]"]);
    };
}

/// Defines a load of `b` from memory.
macro_rules! load {
    ($(#[$doc:meta])* $name:ident, $operate:expr) => {
        operation!($(#[$doc])* $name: [] $operate, ["fstp tbyte ptr [{x} + 32]"]);
    };
}

/// Defines a store of ST(0) to memory.
macro_rules! store {
    ($(#[$doc:meta])* $name:ident, $operate:expr) => {
        operation!($(#[$doc])* $name: ["fld tbyte ptr [{x}]"] concat!($operate, " ptr [{x} + 32]"), []);
    };
}

/// FCOM's forms in memory; the one with ST(1) is [`fcom`].
pub const COM: [Operation; 5] = {
    operation!(m32: ["fld tbyte ptr [{x}]"] "fcom dword ptr [{x} + 16]", []);
    operation!(m64: ["fld tbyte ptr [{x}]"] "fcom qword ptr [{x} + 16]", []);
    operation!(i16: ["fld tbyte ptr [{x}]"] "ficom word ptr [{x} + 16]", []);
    operation!(i32: ["fld tbyte ptr [{x}]"] "ficom dword ptr [{x} + 16]", []);
    [fcom, m32, m64, i16, i32]
};

comparison!(
    /// FCOM ST(1).
    fcom, "fcom st(1)");
comparison!(
    /// FUCOM ST(1).
    fucom, "fucom st(1)");

function!(
    /// FSQRT.
    fsqrt, "fsqrt");
function!(
    /// FRNDINT.
    frndint, "frndint");
function!(
    /// FSCALE.
    fscale, "fscale");
function!(
    /// FPREM. Exact on all processors if exponents differ by less than 64.
    fprem, "fprem");
function!(
    /// FPREM1. Exact on all processors if exponents differ by less than 64.
    fprem1, "fprem1");
operation!(
    /// FXTRACT: the significand, and second the exponent.
    fxtract: ["fld tbyte ptr [{x}]"] "fxtract",
    ["fstp tbyte ptr [{x} + 32]" "fstp tbyte ptr [{x} + 48]"]);

load!(
    /// FLD m32fp.
    fld32, "fld dword ptr [{x} + 16]");
load!(
    /// FLD m64fp.
    fld64, "fld qword ptr [{x} + 16]");
load!(
    /// FILD m16int.
    fild16, "fild word ptr [{x} + 16]");
load!(
    /// FILD m32int.
    fild32, "fild dword ptr [{x} + 16]");
load!(
    /// FILD m64int.
    fild64, "fild qword ptr [{x} + 16]");
load!(
    /// FLDL2T.
    fldl2t, "fldl2t");
load!(
    /// FLDL2E.
    fldl2e, "fldl2e");
load!(
    /// FLDPI.
    fldpi, "fldpi");
load!(
    /// FLDLG2.
    fldlg2, "fldlg2");
load!(
    /// FLDLN2.
    fldln2, "fldln2");

store!(
    /// FST m32fp.
    fst32, "fst dword");
store!(
    /// FST m64fp.
    fst64, "fst qword");
store!(
    /// FIST m16int.
    fist16, "fist word");
store!(
    /// FIST m32int.
    fist32, "fist dword");
store!(
    /// FISTP m64int.
    fist64, "fistp qword");
store!(
    /// FISTTP m16int.
    fisttp16, "fisttp word");
store!(
    /// FISTTP m32int.
    fisttp32, "fisttp dword");
store!(
    /// FISTTP m64int.
    fisttp64, "fisttp qword");
store!(
    /// FBSTP.
    fbstp, "fbstp tbyte");
