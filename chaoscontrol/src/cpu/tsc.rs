//! A time-stamp counter on virtual time, for engines that count exits instead of instructions.

/// A counter that advances by a fixed step and never by the host's clock.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VirtualTsc {
    khz: u32,
    step: u64,
    value: u64,
}

impl VirtualTsc {
    /// A counter at zero: `khz` ticks a virtual millisecond, `step` ticks each [`VirtualTsc::tick`].
    pub fn new(khz: u32, step: u64) -> VirtualTsc {
        VirtualTsc {
            khz: khz.max(1),
            step,
            value: 0,
        }
    }

    /// Advances by one step and answers the new value.
    pub fn tick(&mut self) -> u64 {
        self.value = self.value.wrapping_add(self.step);
        self.value
    }

    /// The counter's value.
    pub fn value(&self) -> u64 {
        self.value
    }

    /// Virtual nanoseconds since zero, rounded down.
    pub fn elapsed_ns(&self) -> u64 {
        ticks_to_ns(self.value, self.khz)
    }

    /// The counter as it stands: a copy that goes on by itself.
    pub fn snapshot(&self) -> VirtualTsc {
        self.clone()
    }
}

/// The value a counter of `khz` has `ns` nanoseconds after zero, rounded down.
pub fn ns_to_ticks(ns: u64, khz: u32) -> u64 {
    (u128::from(ns) * u128::from(khz) / 1_000_000) as u64
}

/// Nanoseconds that `ticks` of a counter of `khz` take, rounded down.
pub fn ticks_to_ns(ticks: u64, khz: u32) -> u64 {
    (u128::from(ticks) * 1_000_000 / u128::from(khz.max(1))) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_ticks_are_a_nanosecond_at_3_ghz() {
        let mut tsc = VirtualTsc::new(3_000_000, 300);
        assert_eq!((tsc.tick(), tsc.elapsed_ns()), (300, 100));
        let mut copy = tsc.snapshot();
        copy.tick();
        assert_eq!((tsc.value(), copy.value()), (300, 600));
        assert_eq!(ns_to_ticks(100, 3_000_000), 300);
        assert_eq!(ns_to_ticks(u64::MAX, 1_000_000), u64::MAX);
    }
}
