//! A machine's time: the cluster's timeline as its instructions see it, and the local
//! clock that its devices tick by.
//!
//! All arithmetic is exact integers, so that converting back and forth never drifts and
//! a run may be cut anywhere.

/// The slowest rate a clock can be given, in parts per million off true.
pub const MIN_SKEW_PPM: i64 = -900_000;
/// The fastest rate a clock can be given, in parts per million off true.
pub const MAX_SKEW_PPM: i64 = 9_000_000;

/// The speed of a sound CPU, in parts per million.
pub const FULL_SPEED_PPM: u32 = 1_000_000;
/// The slowest speed a CPU can be given, in parts per million.
pub const MIN_SPEED_PPM: u32 = 1_000;

const MILLION: i64 = 1_000_000;

/// Cluster time T of each instruction and local time L of each T.
///
/// `T = base_time + (retired - base) * instruction_ns * 1_000_000 / speed_ppm`, and
/// `L = local_then + (T - then) * (1_000_000 + skew_ppm) / 1_000_000`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Clock {
    instruction_ns: u64,
    speed_ppm: u32,
    /// The instruction at which the speed last changed.
    base: u64,
    /// What its T would be without the jumps since then, and their lengths, in ns.
    base_time: u64,
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
            speed_ppm: FULL_SPEED_PPM,
            base: 0,
            base_time: 0,
            then: 0,
            local_then: 0,
            skew_ppm: 0,
        }
    }

    /// T in ns of instruction number `retired`, at the present speed.
    pub fn time(&self, retired: u64) -> u64 {
        let passed = u128::from(retired.saturating_sub(self.base)) * self.slowed_ns();
        let passed = passed / u128::from(self.speed_ppm);
        self.base_time
            .saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// The first instruction whose T is `time` or later, at the present speed.
    pub fn instruction_at(&self, time: u64) -> u64 {
        let ahead = u128::from(time.saturating_sub(self.base_time));
        let count = (ahead * u128::from(self.speed_ppm)).div_ceil(self.slowed_ns());
        self.base
            .saturating_add(u64::try_from(count).unwrap_or(u64::MAX))
    }

    /// Time that `speed_ppm` instructions take.
    fn slowed_ns(&self) -> u128 {
        u128::from(self.instruction_ns) * MILLION as u128
    }

    /// From instruction number `retired` on, each takes a million `ppm`th of its time: at
    /// 100_000 ten times as long. Clamped to [`MIN_SPEED_PPM`]..=[`FULL_SPEED_PPM`].
    pub fn set_speed(&mut self, retired: u64, ppm: u32) {
        self.base_time = self.time(retired);
        self.base = retired;
        self.speed_ppm = ppm.clamp(MIN_SPEED_PPM, FULL_SPEED_PPM);
    }

    /// Lets time pass without instructions, to exactly `time` (never back).
    pub fn jump(&mut self, retired: u64, time: u64) {
        let ahead = time.saturating_sub(self.time(retired));
        self.base_time = self.base_time.saturating_add(ahead);
    }

    /// Lets the next instruction, number `retired`, be at exactly `time`: later than it was, or
    /// earlier, though not before the last change of rate, while none of its clocks were read.
    pub fn stand_until(&mut self, retired: u64, time: u64) {
        let now = self.time(retired);
        self.base_time = self.base_time.saturating_add(time).saturating_sub(now);
    }

    /// Moves all that is to come by `ns`, the local clock as well: between now and then it
    /// stands still.
    pub fn shift(&mut self, ns: u64) {
        self.base_time = self.base_time.saturating_add(ns);
        self.then = self.then.saturating_add(ns);
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

    /// Joins a timeline on which it is `time` now; the local clock goes on unmoved, at a true rate,
    /// and the CPU at its speed.
    pub fn rejoin(&mut self, retired: u64, time: u64) {
        let now = self.time(retired);
        self.local_then = self.local(now);
        self.then = time;
        self.skew_ppm = 0;
        self.base = retired;
        self.base_time = time;
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
    fn what_is_left_of_a_stall_can_be_taken_back() {
        let mut clock = Clock::new(10);
        clock.set_skew(100, 500_000);
        clock.stand_until(10, 1_000);
        assert_eq!((clock.time(10), clock.local(1_000)), (1_000, 1_450));
        clock.stand_until(10, 300);
        assert_eq!((clock.time(10), clock.local(300)), (300, 400));
        clock.shift(50);
        assert_eq!((clock.time(10), clock.local(350)), (350, 400));
        assert_eq!((clock.time(11), clock.local(360)), (360, 415));
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
    fn a_slow_cpu_loses_no_fraction() {
        for ppm in [1_000, 3_333, 70_001, 999_999, 1_000_000] {
            let mut clock = Clock::new(7);
            clock.jump(11, 1_000);
            clock.set_speed(11, ppm);
            assert_eq!(clock.time(11), 1_000);
            for time in (1_000..3_000).step_by(37) {
                let at = clock.instruction_at(time);
                assert!(clock.time(at) >= time);
                assert!(at == 11 || clock.time(at - 1) < time);
            }
            let million = clock.time(11 + u64::from(ppm));
            assert_eq!(million, 1_000 + 7_000_000, "exact over a whole number");
        }
        let mut clock = Clock::new(10);
        clock.set_speed(0, 100_000);
        clock.jump(3, 305);
        assert_eq!((clock.time(3), clock.time(4)), (305, 405));
        clock.set_speed(4, FULL_SPEED_PPM);
        assert_eq!(clock.time(5), 415);
    }

    #[test]
    fn nothing_overflows() {
        let mut clock = Clock::new(u64::MAX);
        clock.set_speed(0, 0);
        assert_eq!(clock.time(u64::MAX), u64::MAX);
        clock.set_skew(u64::MAX, i64::MAX);
        assert_eq!(clock.time_of_local(u64::MAX), u64::MAX);
        clock.rejoin(u64::MAX, 0);
        clock.jump(u64::MAX, u64::MAX);
        let _ = clock.local(u64::MAX);
    }
}
