//! Exact conversion between nanoseconds and the ticks of a device's oscillator.
//!
//! Counters are always computed from the time since the start of the local clock,
//! never accumulated, so that no rounding builds up and time may be cut anywhere.

/// Nanoseconds in a second.
pub const NS_PER_S: u64 = 1_000_000_000;

/// The ticks that an oscillator of `hz` has made at `ns`.
#[inline]
pub fn ticks(ns: u64, hz: u64) -> u64 {
    let product = u128::from(ns) * u128::from(hz);
    u64::try_from(product / u128::from(NS_PER_S)).unwrap_or(u64::MAX)
}

/// The first nanosecond at which [`ticks`] is at least `ticks`; `None` when that is never.
#[inline]
pub fn ns_of_tick(ticks: u64, hz: u64) -> Option<u64> {
    let product = u128::from(ticks) * u128::from(NS_PER_S);
    u64::try_from(product.div_ceil(u128::from(hz))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_begins_at_its_own_nanosecond() {
        for hz in [256, 32_768, 1_193_182, 3_579_545] {
            for tick in (0..5000).chain([1 << 24, 1 << 32, (1 << 32) + 7]) {
                let ns = ns_of_tick(tick, hz).unwrap();
                assert_eq!(ticks(ns, hz), tick);
                assert!(ns == 0 || ticks(ns - 1, hz) == tick - 1);
            }
        }
    }

    #[test]
    fn the_ends_of_time_saturate() {
        assert_eq!(ns_of_tick(u64::MAX, 1_193_182), None);
        assert_eq!(ticks(u64::MAX, u64::MAX), u64::MAX);
    }
}
