//! Ctrl-C and SIGTERM: the first one asks the running explorations to end and to save
//! what they found, the second one ends the process.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

static STOP: AtomicBool = AtomicBool::new(false);

extern "C" fn on_signal(signal: libc::c_int) {
    if STOP.swap(true, SeqCst) {
        // SAFETY: `_exit` is async-signal-safe and takes no pointers.
        unsafe { libc::_exit(128 + signal) }
    }
}

/// Starts listening.
pub fn listen() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: the handler is a function with the C calling convention that lives as
        // long as the process and calls nothing that is not async-signal-safe; the
        // structure is zeroed plain data, valid for reads during the call, and no old
        // action is asked for.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_signal as *const () as usize;
            action.sa_flags = libc::SA_RESTART;
            libc::sigaction(signal, &action, std::ptr::null_mut());
        }
    }
}

/// Set once someone asked to stop.
pub fn stop() -> &'static AtomicBool {
    &STOP
}

/// Whether someone asked to stop.
pub fn stopped() -> bool {
    STOP.load(SeqCst)
}
