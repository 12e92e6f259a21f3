//! Timers that poll(2) can watch, on the clock that wall-clock faults leave alone.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// A timer on the monotonic clock, not running at first.
pub struct Timer(OwnedFd);

impl Timer {
    /// A timer that is not running.
    ///
    /// # Errors
    /// The kernel's, if it has no more descriptors.
    pub fn new() -> io::Result<Self> {
        let flags = libc::TFD_NONBLOCK | libc::TFD_CLOEXEC;
        // SAFETY: timerfd_create(2) takes integers only.
        let descriptor = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was opened above and has no other owner.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(descriptor) }))
    }

    /// Lets it expire after `first` ns and from then on every `period` ns, or once if that
    /// is 0. A `first` of 0 stops it.
    ///
    /// # Errors
    /// The kernel's, for times it does not take.
    pub fn set(&self, first: u64, period: u64) -> io::Result<()> {
        let time = |ns: u64| libc::timespec {
            tv_sec: (ns / 1_000_000_000) as libc::time_t,
            tv_nsec: (ns % 1_000_000_000) as libc::c_long,
        };
        let times = libc::itimerspec {
            it_interval: time(period),
            it_value: time(first),
        };
        let nowhere = std::ptr::null_mut();
        // SAFETY: timerfd_settime(2) reads the struct, which lives on this stack, and
        // writes nothing through a null pointer; the descriptor is open.
        if unsafe { libc::timerfd_settime(self.0.as_raw_fd(), 0, &times, nowhere) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// How often it has expired since the last call.
    pub fn expirations(&self) -> u64 {
        let mut count = [0; 8];
        // SAFETY: read(2) writes at most the buffer's length to the buffer, exclusively
        // borrowed; the descriptor is open, and does not block.
        let read =
            unsafe { libc::read(self.0.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
        if read == count.len() as isize {
            u64::from_ne_bytes(count)
        } else {
            0
        }
    }

    /// What poll(2) is to watch.
    pub fn descriptor(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
