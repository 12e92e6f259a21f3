//! Gets a thread out of KVM_RUN now and then, so that a guest without exits is noticed.
//!
//! It rings by the CPU time of its thread, so that a busy host does not make a guest look
//! stuck. To the guest a ring is nothing: KVM comes back and is entered again.

use std::cell::OnceCell;
use std::mem;
use std::ptr;
use std::time::Duration;

use super::host::KvmError;

/// CPU time between two rings.
const PERIOD: libc::timespec = libc::timespec {
    tv_sec: 0,
    tv_nsec: 250_000_000,
};

/// CPU time without an exit after which a guest spins.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The signal that interrupts KVM_RUN.
pub fn signal() -> libc::c_int {
    libc::SIGRTMIN()
}

/// Lets [`signal`] interrupt KVM_RUN, and do nothing else.
pub fn interrupting() {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: `action` is plain data for which zeros are valid: an empty mask. The handler
    // touches nothing. KVM_RUN comes back despite SA_RESTART, other system calls need not.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = nothing as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(signal(), &action, ptr::null_mut());
    }
}

/// A thread's timer.
struct Timer(libc::timer_t);

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: `timer_create` made it, and it is deleted once.
        unsafe { libc::timer_delete(self.0) };
    }
}

thread_local! {
    static TIMER: OnceCell<Timer> = const { OnceCell::new() };
}

/// Has the alarm ring for this thread from now on, for as long as it lives.
///
/// # Errors
/// The system has no timer left.
pub fn set() -> Result<(), KvmError> {
    TIMER.with(|timer| {
        if timer.get().is_none() {
            interrupting();
            _ = timer.set(start()?);
        }
        Ok(())
    })
}

fn start() -> Result<Timer, KvmError> {
    let failed = |_| KvmError::Call {
        what: "be interrupted",
        why: std::io::Error::last_os_error().to_string(),
    };
    let check = |result: libc::c_int| if result == 0 { Ok(()) } else { Err(()) };
    // SAFETY: `event` is plain data for which zeros are valid, the calls only read what they
    // are given and write `timer`; the thread named is this one, and the timer goes with it.
    unsafe {
        let mut event: libc::sigevent = mem::zeroed();
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = signal();
        event.sigev_notify_thread_id = libc::gettid();
        let mut timer = ptr::null_mut();
        let clock = libc::CLOCK_THREAD_CPUTIME_ID;
        check(libc::timer_create(clock, &mut event, &mut timer)).map_err(failed)?;
        let timer = Timer(timer);
        let every = libc::itimerspec {
            it_interval: PERIOD,
            it_value: PERIOD,
        };
        check(libc::timer_settime(timer.0, 0, &every, ptr::null_mut())).map_err(failed)?;
        Ok(timer)
    }
}

/// How long a guest has gone on without an exit, looked at whenever KVM was interrupted.
#[derive(Default)]
pub struct Patience {
    since: Option<Duration>,
}

impl Patience {
    /// Whether it has lasted for `limit` of CPU time.
    pub fn is_over(&mut self, limit: Duration) -> bool {
        let now = cpu_time();
        now.saturating_sub(*self.since.get_or_insert(now)) >= limit
    }
}

/// CPU time of this thread.
fn cpu_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: it writes to `time` only.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
