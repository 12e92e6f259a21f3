//! Edge coverage of programs, for a host that cannot see their branches: what the compiler's
//! `sancov-module` pass calls at each edge counts in the table that the host reads.
//!
//! The functions have the names and the meaning that
//! [SanitizerCoverage](https://clang.llvm.org/docs/SanitizerCoverage.html) gives them. They
//! may be called before `main`, on any thread and after a fork. Whatever is called at an edge
//! has no edges itself, so it is assembly: this crate is instrumented like any other.

use core::arch::global_asm;
use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

use crate::protocol::{EDGES, EDGES_BYTES};
use crate::transport::inside;

/// A table that nobody reads.
struct Nowhere(UnsafeCell<[u8; EDGES_BYTES]>);

// SAFETY: only `__sanitizer_cov_trace_pc_guard` touches the bytes, by instructions of its own
// that are sound whatever other threads store there; nothing is ever derived from them.
unsafe impl Sync for Nowhere {}

static NOWHERE: Nowhere = Nowhere(UnsafeCell::new([0; EDGES_BYTES]));

/// Where edges are counted: [`NOWHERE`], or this process's view of the machine's table.
static TABLE: AtomicPtr<u8> = AtomicPtr::new(NOWHERE.0.get().cast());

/// Guards that have a number.
static NUMBERED: AtomicU32 = AtomicU32::new(0);

// The guard at RDI holds the index of a counter, which ends at 255. Guards without a number
// hold 0. Only registers that a callee may change, and no stack.
global_asm!(
    ".globl __sanitizer_cov_trace_pc_guard",
    ".type __sanitizer_cov_trace_pc_guard, @function",
    "__sanitizer_cov_trace_pc_guard:",
    "movzx eax, word ptr [rdi]",
    "mov rcx, qword ptr [rip + {table}]",
    "mov dl, byte ptr [rcx + rax]",
    "add dl, 1",
    "sbb dl, 0",
    "mov byte ptr [rcx + rax], dl",
    "ret",
    ".size __sanitizer_cov_trace_pc_guard, . - __sanitizer_cov_trace_pc_guard",
    table = sym TABLE,
);

unsafe extern "C" {
    /// Counts an edge.
    fn __sanitizer_cov_trace_pc_guard(guard: *mut u32);
}

/// Keeps the linker from dropping what only instrumented code refers to.
#[used]
static COUNT: unsafe extern "C" fn(*mut u32) = __sanitizer_cov_trace_pc_guard;

/// Numbers the guards of a module from 1 on, in the order in which modules come, which is
/// the same in each run; above 65535 from 1 again. A module may come several times.
///
/// # Safety
/// `start..stop` are the guards of one module, as the compiler's pass passes them.
#[unsafe(no_mangle)]
unsafe extern "C" fn __sanitizer_cov_trace_pc_guard_init(start: *mut u32, stop: *mut u32) {
    /// Number 0 is of guards that have none.
    const NUMBERS: u32 = EDGES_BYTES as u32 - 1;
    find_table();
    let mut guard = start;
    while guard < stop {
        // SAFETY: `guard` lies in `start..stop`, which the caller vouches for; guards are
        // aligned words that live as long as the module.
        unsafe {
            if *guard == 0 {
                *guard = 1 + NUMBERED.fetch_add(1, Ordering::Relaxed) % NUMBERS;
            }
            guard = guard.add(1);
        }
    }
}

/// Maps the machine's table, once per process. Where there is none, or no permission, edges
/// count nowhere.
fn find_table() {
    static TRIED: AtomicBool = AtomicBool::new(false);
    if TRIED.swap(true, Ordering::Relaxed) || !inside() {
        return;
    }
    // SAFETY: the path is a string with a final zero that outlives the call.
    let memory = unsafe { libc::open(c"/dev/mem".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
    if memory < 0 {
        return;
    }
    // SAFETY: a new mapping at an address of the kernel's choice changes no memory of ours.
    // The machine's memory map keeps this range of physical memory out of everyone's use.
    let table = unsafe {
        let (access, shared) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        libc::mmap(
            ptr::null_mut::<c_void>(),
            EDGES_BYTES,
            access,
            shared,
            memory,
            EDGES as libc::off_t,
        )
    };
    // SAFETY: the descriptor was just opened and is known to nobody else; the mapping stays.
    unsafe { libc::close(memory) };
    if table != libc::MAP_FAILED {
        TABLE.store(table.cast(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nowhere(index: usize) -> u8 {
        // SAFETY: in bounds; other threads count elsewhere, if at all.
        unsafe { NOWHERE.0.get().cast::<u8>().add(index).read_volatile() }
    }

    #[test]
    fn guards_are_numbered_once_and_counted_up_to_255() {
        let mut guards = [0u32; 3];
        // A guard without a number is no harm.
        // SAFETY: all guards are live words.
        unsafe { __sanitizer_cov_trace_pc_guard(&mut guards[0]) };
        let range = guards.as_mut_ptr_range();
        // SAFETY: the range is that of a live array.
        unsafe { __sanitizer_cov_trace_pc_guard_init(range.start, range.end) };
        let first = guards[0];
        assert_eq!(guards, [first, first + 1, first + 2]);
        // SAFETY: as above.
        unsafe { __sanitizer_cov_trace_pc_guard_init(range.start, range.end) };
        assert_eq!(guards, [first, first + 1, first + 2]);

        for _ in 0..300 {
            // SAFETY: as above.
            unsafe { __sanitizer_cov_trace_pc_guard(&mut guards[1]) };
        }
        assert_eq!(nowhere(guards[1] as usize), 255);
        assert_eq!(nowhere(guards[2] as usize), 0);
    }
}
