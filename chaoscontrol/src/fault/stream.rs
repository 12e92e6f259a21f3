//! Draws of the search: which fault, when, on whom.

use crate::machine::RandomStream;

/// A random stream named by a master seed, a purpose and numbers such as a round or a
/// branch; drawing more for one purpose never changes another.
#[derive(Clone, Debug)]
pub struct Stream(RandomStream);

impl Stream {
    /// The stream for `purpose` and `index` under `master`.
    pub fn new(master: u64, purpose: &str, index: &[u64]) -> Self {
        Stream(RandomStream::derive(master, purpose, index))
    }

    /// 64 uniform bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A uniform number in `0..n`, and 0 when `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        self.0.below(n)
    }

    /// A uniform index below `len`, and 0 when `len` is 0.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// A uniform number in `low..=high`; `low` when the range is empty.
    pub fn range(&mut self, low: i64, high: i64) -> i64 {
        let span = (i128::from(high) - i128::from(low)).max(0) as u128 + 1;
        let drawn = (u128::from(self.bits()) * span) >> 64;
        (i128::from(low) + drawn as i128) as i64
    }

    /// True in `part` of `of` draws.
    pub fn chance(&mut self, part: u64, of: u64) -> bool {
        self.below(of) < part
    }

    /// A uniform element of `items`, or `None` when there is none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.index(items.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_by_master_purpose_and_index_and_repeat() {
        let first = |m, p: &str, i: &[u64]| Stream::new(m, p, i).bits();
        assert_eq!(first(1, "a", &[2]), first(1, "a", &[2]));
        assert_ne!(first(1, "a", &[2]), first(2, "a", &[2]));
        assert_ne!(first(1, "a", &[2]), first(1, "b", &[2]));
        assert_ne!(first(1, "a", &[2]), first(1, "a", &[3]));
        assert_ne!(first(1, "a", &[]), first(1, "a", &[0]));
    }

    #[test]
    fn draws_stay_in_their_ranges() {
        let mut s = Stream::new(7, "test", &[]);
        for _ in 0..1000 {
            assert!(s.below(3) < 3);
            assert!((-5..=5).contains(&s.range(-5, 5)));
            s.range(i64::MIN, i64::MAX);
        }
        assert_eq!(s.below(0), 0);
        assert_eq!(s.range(4, 4), 4);
        assert_eq!(s.pick::<u8>(&[]), None);
    }
}
