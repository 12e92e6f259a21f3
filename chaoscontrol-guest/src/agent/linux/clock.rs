//! What faults do to the wall clock. Monotonic time, on which the agent's own timers run,
//! goes on undisturbed.

use std::io;
use std::os::fd::RawFd;

use super::timer::Timer;
use crate::protocol::MIN_STROBE_NS;

/// Moves the wall clock in one call, so that no time passes between looking at it and
/// setting it.
///
/// # Errors
/// The kernel's, for a date it does not take.
pub fn jump(ns: i64) -> io::Result<()> {
    // SAFETY: all-zero bytes are a valid `timex`, a struct of integers.
    let mut change: libc::timex = unsafe { std::mem::zeroed() };
    change.modes = libc::ADJ_SETOFFSET | libc::ADJ_NANO;
    change.time.tv_sec = ns.div_euclid(1_000_000_000);
    // With ADJ_NANO the field counts nanoseconds.
    change.time.tv_usec = ns.rem_euclid(1_000_000_000);
    // SAFETY: clock_adjtime(2) reads and writes the struct, exclusively borrowed.
    if unsafe { libc::clock_adjtime(libc::CLOCK_REALTIME, &mut change) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// A wall clock that goes to and fro. Jumps by others add up with it, since all are
/// relative.
#[derive(Default)]
pub struct Strobe {
    /// There from the first order on.
    timer: Option<Timer>,
    offset: i64,
    /// Whether the clock is away from where it would be without the strobe.
    away: bool,
}

impl Strobe {
    /// Ends what stands, and unless `offset` is 0 begins anew: by `offset` ns and back,
    /// every `period` ns.
    ///
    /// # Errors
    /// A period that is too short, or times that the kernel does not take.
    pub fn order(&mut self, offset: i64, period: u64) -> io::Result<()> {
        if let Some(timer) = &self.timer {
            timer.set(0, 0)?;
        }
        if self.away {
            self.swing()?;
        }
        if offset == 0 {
            return Ok(());
        }
        if period < MIN_STROBE_NS || offset == i64::MIN {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        self.offset = offset;
        self.swing()?;
        let timer = match self.timer.take() {
            Some(timer) => timer,
            None => Timer::new()?,
        };
        self.timer.insert(timer).set(period, period)
    }

    /// Takes the clock to where it is due. A date that the kernel does not take leaves it
    /// where it is.
    pub fn tick(&mut self) {
        let periods = self.timer.as_ref().map_or(0, Timer::expirations);
        if !periods.is_multiple_of(2) {
            let _ = self.swing();
        }
    }

    /// What poll(2) is to watch; -1, which it ignores, before the first order.
    pub fn descriptor(&self) -> RawFd {
        self.timer.as_ref().map_or(-1, Timer::descriptor)
    }

    fn swing(&mut self) -> io::Result<()> {
        jump(if self.away { -self.offset } else { self.offset })?;
        self.away = !self.away;
        Ok(())
    }
}
