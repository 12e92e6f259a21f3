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

/// The most that counts between two looks, which come with each ring. More has passed where the
/// host itself is a virtual machine that stood still meanwhile, and took that for its own time.
const BETWEEN: Duration = Duration::from_millis(500);

/// How long a guest has gone on without an exit, looked at whenever KVM was interrupted.
#[derive(Default)]
pub struct Patience {
    looked: Option<Duration>,
    lasted: Duration,
}

impl Patience {
    /// Whether it has lasted for `limit` of CPU time.
    pub fn is_over(&mut self, limit: Duration) -> bool {
        self.is_over_at(cpu_time(), limit)
    }

    fn is_over_at(&mut self, now: Duration, limit: Duration) -> bool {
        let before = self.looked.replace(now).unwrap_or(now);
        self.lasted += now.saturating_sub(before).min(BETWEEN);
        self.lasted >= limit
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_stood_still_is_not_taken_for_a_guest_that_spins() {
        let ms = Duration::from_millis;
        let over = |looks: &[u64]| {
            let mut patience = Patience::default();
            looks
                .iter()
                .any(|&at| patience.is_over_at(ms(at), PATIENCE))
        };
        assert!(!over(&[1_000, 1_250, 61_250, 61_500]));
        let rings: Vec<u64> = (4..=24).map(|ring| ring * 250).collect();
        assert!(!over(&rings[1..]));
        assert!(over(&rings));
    }
}
