//! The ACPI power-management timer: Linux's clock source on a machine without TSC.
//!
//! A free-running 24-bit counter at 3.579545 MHz (ACPI 6.5, section 4.8.3.3). It has
//! no state of its own: its value is a function of local time.

use super::clock;

/// Counts a second.
pub const FREQUENCY: u64 = 3_579_545;
/// Where the counter's four bytes are; the kernel is told by `pmtmr=0x608`.
pub const PORT: u16 = 0x608;

/// The counter at `now` local ns: 24 bits, the upper byte zero.
#[inline]
pub fn read(now: u64) -> u32 {
    (clock::ticks(now, FREQUENCY) & 0x00FF_FFFF) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_exactly_and_wraps_at_24_bits() {
        assert_eq!(read(0), 0);
        assert_eq!(read(279), 0);
        assert_eq!(read(280), 1);
        assert_eq!(read(1_000_000_000), 3_579_545);
        let wrap = clock::ns_of_tick(1 << 24, FREQUENCY).unwrap();
        assert_eq!(wrap / 1_000_000, 4686);
        assert_eq!(read(wrap - 1), 0x00FF_FFFF);
        assert_eq!(read(wrap), 0);
        assert!(read(u64::MAX) <= 0x00FF_FFFF);
    }
}
