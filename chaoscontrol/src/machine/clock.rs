//! A machine's time: the cluster's timeline as its instructions see it, and the local
//! clock that its devices tick by.
//!
//! All arithmetic is exact integers, so that converting back and forth never drifts and
//! a run may be cut anywhere.

/// The slowest rate a clock can be given, in parts per million off true.
pub const MIN_SKEW_PPM: i64 = -900_000;
/// The fastest rate a clock can be given, in parts per million off true.
pub const MAX_SKEW_PPM: i64 = 9_000_000;

const MILLION: i64 = 1_000_000;

/// Cluster time T of each instruction and local time L of each T.
///
/// `T = offset + retired * instruction_ns`, and
/// `L = local_then + (T - then) * (1_000_000 + skew_ppm) / 1_000_000`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Clock {
    instruction_ns: u64,
    /// T of instruction 0, in ns. Negative for a fork that joined a younger timeline.
    offset: i64,
    then: u64,
    local_then: u64,
    skew_ppm: i64,
}

impl Clock {
    /// A clock that starts at T = L = 0 with instruction 0. `instruction_ns` is clamped to
    /// 1..=1_000_000.
    pub fn new(instruction_ns: u64) -> Clock {
        Clock {
            instruction_ns: instruction_ns.clamp(1, 1_000_000),
            offset: 0,
            then: 0,
            local_then: 0,
            skew_ppm: 0,
        }
    }

    /// T in ns of instruction number `retired`.
    pub fn time(&self, retired: u64) -> u64 {
        let t = self.offset as i128 + retired as i128 * self.instruction_ns as i128;
        t.clamp(0, u64::MAX as i128) as u64
    }

    /// The first instruction whose T is `time` or later.
    pub fn instruction_at(&self, time: u64) -> u64 {
        let ahead = (time as i128 - self.offset as i128).max(0) as u128;
        let count = ahead.div_ceil(self.instruction_ns as u128);
        u64::try_from(count).unwrap_or(u64::MAX)
    }

    /// Lets time pass without instructions, to exactly `time` (never back).
    pub fn jump(&mut self, retired: u64, time: u64) {
        let now = self.time(retired);
        if time > now {
            self.offset = self.offset.saturating_add_unsigned(time - now);
        }
    }

    /// L in ns at T = `time`, which is not before the last change of rate.
    pub fn local(&self, time: u64) -> u64 {
        let elapsed = time.saturating_sub(self.then) as u128;
        let local = elapsed * self.rate() / MILLION as u128;
        self.local_then
            .saturating_add(u64::try_from(local).unwrap_or(u64::MAX))
    }

    /// The first T at which L is `local` or later.
    pub fn time_of_local(&self, local: u64) -> u64 {
        let ahead = local.saturating_sub(self.local_then) as u128;
        let elapsed = (ahead * MILLION as u128).div_ceil(self.rate());
        self.then
            .saturating_add(u64::try_from(elapsed).unwrap_or(u64::MAX))
    }

    /// From T = `time` on, local clocks run `ppm` parts per million fast (or slow, when
    /// negative); clamped to [`MIN_SKEW_PPM`] and [`MAX_SKEW_PPM`].
    pub fn set_skew(&mut self, time: u64, ppm: i64) {
        self.local_then = self.local(time);
        self.then = self.then.max(time);
        self.skew_ppm = ppm.clamp(MIN_SKEW_PPM, MAX_SKEW_PPM);
    }

    /// The rate's distance from true in parts per million.
    pub fn skew_ppm(&self) -> i64 {
        self.skew_ppm
    }

    /// Joins a timeline on which it is `time` now; the local clock goes on unmoved, at a true rate.
    pub fn rejoin(&mut self, retired: u64, time: u64) {
        let now = self.time(retired);
        self.local_then = self.local(now);
        self.then = time;
        self.skew_ppm = 0;
        let offset = time as i128 - retired as i128 * self.instruction_ns as i128;
        self.offset = offset.clamp(i64::MIN as i128, i64::MAX as i128) as i64;
    }

    fn rate(&self) -> u128 {
        (MILLION + self.skew_ppm) as u128
    }
}

/// The time-stamp counter: local time at a fixed frequency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VirtualTsc {
    /// Frequency in kHz.
    pub khz: u32,
}

impl VirtualTsc {
    /// The counter's value at local time `ns`; wraps at 2^64.
    pub fn ticks(&self, ns: u64) -> u64 {
        (u128::from(ns) * u128::from(self.khz) / MILLION as u128) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_and_instructions_agree() {
        let mut clock = Clock::new(10);
        clock.jump(5, 1234);
        assert_eq!(clock.time(5), 1234);
        assert_eq!(clock.instruction_at(1234), 5);
        assert_eq!(clock.instruction_at(1235), 6);
        assert_eq!(clock.instruction_at(1244), 6);
        clock.jump(5, 3);
        assert_eq!(clock.time(5), 1234, "time never goes back");
    }

    #[test]
    fn local_deadlines_round_up() {
        for ppm in [-900_000, -400_000, -1, 0, 1, 333_333, 9_000_000] {
            let mut clock = Clock::new(10);
            clock.set_skew(1_000, ppm);
            for local in (1_000..1_500).chain([u64::MAX / 1_000_000_000]) {
                let time = clock.time_of_local(local);
                assert!(clock.local(time) >= local);
                assert!(time == 1_000 || clock.local(time - 1) < local);
            }
        }
    }

    #[test]
    fn a_change_of_rate_keeps_the_present() {
        let mut clock = Clock::new(1);
        clock.set_skew(1_000_000, 500_000);
        assert_eq!(clock.local(1_000_000), 1_000_000);
        assert_eq!(clock.local(3_000_000), 4_000_000);
        clock.set_skew(3_000_000, 0);
        assert_eq!(clock.local(3_000_007), 4_000_007);
    }

    #[test]
    fn a_fork_joins_another_timeline() {
        let mut clock = Clock::new(10);
        clock.rejoin(11_000_000, 5);
        assert_eq!(clock.time(11_000_000), 5);
        assert_eq!(clock.local(5), 110_000_000);
        assert_eq!(clock.instruction_at(6), 11_000_001);
    }

    #[test]
    fn nothing_overflows() {
        let mut clock = Clock::new(u64::MAX);
        assert_eq!(clock.time(u64::MAX), u64::MAX);
        clock.set_skew(u64::MAX, i64::MAX);
        assert_eq!(clock.time_of_local(u64::MAX), u64::MAX);
        clock.rejoin(u64::MAX, 0);
        clock.jump(u64::MAX, u64::MAX);
        let _ = clock.local(u64::MAX);
    }
}
