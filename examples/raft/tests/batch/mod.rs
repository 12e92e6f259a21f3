//! The scheduling class in which the servers run, as a service manager would set it: threads
//! that wake up wait until the one that runs gives way or has used its slice. It saves
//! switches; and what two threads do to each other takes a preemption.

use std::io;

/// The number of the class (`SCHED_BATCH` in `sched.h`).
const BATCH: i32 = 3;

unsafe extern "C" {
    fn sched_setscheduler(process: i32, policy: i32, priority: *const i32) -> i32;
}

/// Puts the calling thread, and those that it starts from now on, into the class.
///
/// # Errors
/// The kernel does not allow it.
pub fn join() -> io::Result<()> {
    let priority = 0;
    // SAFETY: libc reads one `struct sched_param`, which is one `int`, from the pointer during
    // the call, and `priority` lives until then. 0 is the calling thread.
    match unsafe { sched_setscheduler(0, BATCH, &raw const priority) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
