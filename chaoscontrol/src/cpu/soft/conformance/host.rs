//! Runs code on the host's own CPU with given registers and memory, and takes its faults.
//!
//! Code, arena and a context page lie at fixed low addresses, so that the trampoline
//! reaches the context without any register, and code sees the addresses it sees in `soft`.
//! The tests of SSE and x87 use it, too.

use std::arch::global_asm;
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::{io, mem, ptr};

use super::state::Registers;
use super::{ARENA, ARENA_SIZE, CODE, CODE_SIZE, EXIT, GUARD, Outcome, jump_to};
use crate::cpu::soft::testing::host_cpu;

/// The context page; below 2 GiB.
pub const CONTEXT: u64 = 0x80_0000;
/// Everything from here to the second guard behind the arena is ours.
const RESERVED: usize = 0x40_0000;

const RFLAGS: u64 = CONTEXT + 128;
const ENTRY: u64 = CONTEXT + 136;
const HOST_RSP: u64 = CONTEXT + 144;
const LANDING: u64 = CONTEXT + 168;
const TRAP: u64 = CONTEXT + 176;
const ERROR: u64 = CONTEXT + 184;
const ADDRESS: u64 = CONTEXT + 192;
const RIP: u64 = CONTEXT + 200;
const HOST_FX: u64 = CONTEXT + 512;
const FX: u64 = CONTEXT + 1024;
const STACK: u64 = CONTEXT + 0x1000;

global_asm!(
    ".globl chaos_conformance_enter",
    "chaos_conformance_enter:",
    "push rbx",
    "push rbp",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "pushfq",
    "mov qword ptr [{host_rsp}], rsp",
    "fxsave64 [{host_fx}]",
    "fxrstor64 [{fx}]",
    "mov rsp, {stack}",
    "push qword ptr [{rflags}]",
    "popfq",
    "mov rax, qword ptr [{context} + 0]",
    "mov rcx, qword ptr [{context} + 8]",
    "mov rdx, qword ptr [{context} + 16]",
    "mov rbx, qword ptr [{context} + 24]",
    "mov rsp, qword ptr [{context} + 32]",
    "mov rbp, qword ptr [{context} + 40]",
    "mov rsi, qword ptr [{context} + 48]",
    "mov rdi, qword ptr [{context} + 56]",
    "mov r8, qword ptr [{context} + 64]",
    "mov r9, qword ptr [{context} + 72]",
    "mov r10, qword ptr [{context} + 80]",
    "mov r11, qword ptr [{context} + 88]",
    "mov r12, qword ptr [{context} + 96]",
    "mov r13, qword ptr [{context} + 104]",
    "mov r14, qword ptr [{context} + 112]",
    "mov r15, qword ptr [{context} + 120]",
    "jmp qword ptr [{entry}]",
    // Where the code goes at its end, by one of two ways.
    ".globl chaos_conformance_exit",
    "chaos_conformance_exit:",
    "mov byte ptr [{landing}], 1",
    "jmp 2f",
    ".globl chaos_conformance_exit_taken",
    "chaos_conformance_exit_taken:",
    "mov byte ptr [{landing}], 2",
    "2:",
    "mov qword ptr [{context} + 0], rax",
    "mov qword ptr [{context} + 8], rcx",
    "mov qword ptr [{context} + 16], rdx",
    "mov qword ptr [{context} + 24], rbx",
    "mov qword ptr [{context} + 32], rsp",
    "mov qword ptr [{context} + 40], rbp",
    "mov qword ptr [{context} + 48], rsi",
    "mov qword ptr [{context} + 56], rdi",
    "mov qword ptr [{context} + 64], r8",
    "mov qword ptr [{context} + 72], r9",
    "mov qword ptr [{context} + 80], r10",
    "mov qword ptr [{context} + 88], r11",
    "mov qword ptr [{context} + 96], r12",
    "mov qword ptr [{context} + 104], r13",
    "mov qword ptr [{context} + 112], r14",
    "mov qword ptr [{context} + 120], r15",
    "mov rsp, {stack}",
    "pushfq",
    "pop qword ptr [{rflags}]",
    "fxsave64 [{fx}]",
    // Where a signal handler returns to, the state taken from its frame.
    ".globl chaos_conformance_resume",
    "chaos_conformance_resume:",
    "mov rsp, qword ptr [{host_rsp}]",
    "fxrstor64 [{host_fx}]",
    "popfq",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbp",
    "pop rbx",
    "ret",
    context = const CONTEXT,
    rflags = const RFLAGS,
    entry = const ENTRY,
    host_rsp = const HOST_RSP,
    host_fx = const HOST_FX,
    fx = const FX,
    stack = const STACK,
    landing = const LANDING,
);

unsafe extern "C" {
    fn chaos_conformance_enter();
    fn chaos_conformance_exit();
    fn chaos_conformance_exit_taken();
    fn chaos_conformance_resume();
}

static RUNNING: AtomicBool = AtomicBool::new(false);
const SIGNALS: [i32; 5] = [
    libc::SIGSEGV,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGBUS,
    libc::SIGTRAP,
];

fn put(address: u64, value: u64) {
    // SAFETY: callers pass fields of the context page, which is mapped for as long as a `Host`
    // exists, and which only this thread uses.
    unsafe { (address as *mut u64).write_volatile(value) }
}

fn get(address: u64) -> u64 {
    // SAFETY: as for `put`.
    unsafe { (address as *const u64).read_volatile() }
}

/// The order of `Registers::gpr` in a signal frame.
const FRAME: [i32; 16] = [
    libc::REG_RAX,
    libc::REG_RCX,
    libc::REG_RDX,
    libc::REG_RBX,
    libc::REG_RSP,
    libc::REG_RBP,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
];

extern "C" fn on_signal(signal: i32, _info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    if !RUNNING.swap(false, SeqCst) {
        // Not ours: let it happen again without us.
        // SAFETY: resetting a signal's disposition is always allowed.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
        return;
    }
    // SAFETY: the kernel passes a valid frame for the duration of the handler.
    let frame = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    let gregs = &mut frame.uc_mcontext.gregs;
    for (i, r) in FRAME.iter().enumerate() {
        put(CONTEXT + 8 * i as u64, gregs[*r as usize] as u64);
    }
    put(RFLAGS, gregs[libc::REG_EFL as usize] as u64);
    put(TRAP, gregs[libc::REG_TRAPNO as usize] as u64);
    put(ERROR, gregs[libc::REG_ERR as usize] as u64);
    put(ADDRESS, gregs[libc::REG_CR2 as usize] as u64);
    put(RIP, gregs[libc::REG_RIP as usize] as u64);
    // SAFETY: on x86-64 the frame holds an FXSAVE image of 512 bytes; the context has room.
    unsafe { ptr::copy_nonoverlapping(frame.uc_mcontext.fpregs.cast::<u8>(), FX as *mut u8, 512) };
    gregs[libc::REG_RIP as usize] = chaos_conformance_resume as *const () as i64;
    // No DF, TF or AC on the way out.
    gregs[libc::REG_EFL as usize] = 0x202;
}

/// The host's CPU. One at a time.
pub struct Host {
    old: Vec<libc::sigaction>,
    old_stack: libc::stack_t,
    _stack: Vec<u8>,
    _turn: MutexGuard<'static, ()>,
}

fn check(result: i32) {
    assert!(result == 0, "{}", io::Error::last_os_error());
}

fn open(address: u64, size: usize, protection: i32) {
    // SAFETY: callers pass parts of the range that `Host::new` reserved.
    check(unsafe { libc::mprotect(address as *mut _, size, protection) });
}

impl Host {
    /// Maps code and arena, and takes over the signals of faults.
    pub fn new() -> Host {
        let turn = host_cpu();
        // SAFETY: a fresh mapping that replaces nothing.
        let at = unsafe {
            libc::mmap(
                CONTEXT as *mut _,
                RESERVED,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE,
                -1,
                0,
            )
        };
        assert!(at as u64 == CONTEXT, "{}", io::Error::last_os_error());
        assert!(ARENA + ARENA_SIZE as u64 + GUARD <= CONTEXT + RESERVED as u64);
        let data = libc::PROT_READ | libc::PROT_WRITE;
        open(CONTEXT, 0x1000, data);
        open(EXIT, 0x1000, data);
        open(CODE, CODE_SIZE, data | libc::PROT_EXEC);
        open(ARENA, ARENA_SIZE, data);
        put(EXIT, chaos_conformance_exit as *const () as u64);
        put(EXIT + 8, chaos_conformance_exit_taken as *const () as u64);
        open(EXIT, 0x1000, libc::PROT_READ);
        let mut stack = vec![0u8; 1 << 16];
        // SAFETY: the all-zero values are valid, and all pointers live through the calls; the
        // stack lives as long as the handler is installed.
        unsafe {
            let new_stack = libc::stack_t {
                ss_sp: stack.as_mut_ptr().cast(),
                ss_flags: 0,
                ss_size: stack.len(),
            };
            let mut old_stack = mem::zeroed();
            check(libc::sigaltstack(&new_stack, &mut old_stack));
            let mut action: libc::sigaction = mem::zeroed();
            action.sa_sigaction = on_signal as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
            let old = SIGNALS.map(|signal| {
                let mut old = mem::zeroed();
                check(libc::sigaction(signal, &action, &mut old));
                old
            });
            Host {
                old: old.into(),
                old_stack,
                _stack: stack,
                _turn: turn,
            }
        }
    }

    /// Runs `code` to one of its exits or to a fault; `arena` becomes what it left there.
    pub fn run(
        &mut self,
        code: &[u8],
        start: u64,
        before: &Registers,
        arena: &mut [u8],
    ) -> Outcome {
        let offset = (start - CODE) as usize;
        assert!(offset + code.len() <= CODE_SIZE && arena.len() == ARENA_SIZE);
        for (i, gpr) in before.gpr.iter().enumerate() {
            put(CONTEXT + 8 * i as u64, *gpr);
        }
        put(RFLAGS, before.rflags);
        put(ENTRY, start);
        put(LANDING, 0);
        put(TRAP, !0);
        let image = before.to_fxsave();
        // SAFETY: code page, arena and context are mapped with at least these sizes and used
        // by this thread only. The code was run in `soft` before, which has nothing
        // but this memory mapped, so it touches nothing else.
        unsafe {
            ptr::copy_nonoverlapping(code.as_ptr(), start as *mut u8, code.len());
            ptr::copy_nonoverlapping(arena.as_ptr(), ARENA as *mut u8, ARENA_SIZE);
            ptr::copy_nonoverlapping(image.as_ptr(), FX as *mut u8, 512);
            RUNNING.store(true, SeqCst);
            chaos_conformance_enter();
            RUNNING.store(false, SeqCst);
            ptr::copy_nonoverlapping(ARENA as *const u8, arena.as_mut_ptr(), ARENA_SIZE);
        }
        // SAFETY: the context holds 512 bytes there.
        let image = unsafe { std::slice::from_raw_parts(FX as *const u8, 512) };
        let gpr = std::array::from_fn(|i| get(CONTEXT + 8 * i as u64));
        let registers = Registers::from_fxsave(gpr, get(RFLAGS), image);
        match get(LANDING) as u8 {
            0 => Outcome::fault(
                registers,
                get(TRAP) as u8,
                get(ERROR),
                get(ADDRESS),
                get(RIP),
            ),
            landing => Outcome::landed(registers, landing),
        }
    }
}

impl Host {
    /// Runs the instruction `bytes`, which does not branch, from `before`.
    pub fn execute(&mut self, bytes: &[u8], before: &Registers, arena: &mut [u8]) -> Outcome {
        self.run(&[bytes, &jump_to(EXIT)].concat(), CODE, before, arena)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // SAFETY: puts back what was there, and unmaps what `new` mapped.
        unsafe {
            for (signal, old) in SIGNALS.iter().zip(&self.old) {
                libc::sigaction(*signal, old, ptr::null_mut());
            }
            libc::sigaltstack(&self.old_stack, ptr::null_mut());
            libc::munmap(CONTEXT as *mut _, RESERVED);
        }
    }
}
