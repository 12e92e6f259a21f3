//! What has been seen: edges, and in which order of magnitude each was taken.

use serde::{Deserialize, Serialize};

use crate::encoding::sparse;

/// Edges of one branch: (index, times taken), by index, none twice.
pub type Coverage = Vec<(u32, u32)>;

/// Indices at or above this are folded down, so that a map's memory is bounded.
const LIMIT: usize = 1 << 22;

/// What a branch added to a map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Novelty {
    /// Edges that no branch had taken before.
    pub edges: u64,
    /// Edges taken in a new order of magnitude, new edges included.
    pub buckets: u64,
}

/// The union of many branches' coverage.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CoverageMap {
    /// Per edge, the buckets seen as bits, and whether more than one branch took it.
    #[serde(with = "sparse")]
    seen: Vec<(u8, bool)>,
    edges: u64,
    singletons: u64,
}

impl CoverageMap {
    /// Adds a branch.
    pub fn add(&mut self, coverage: &[(u32, u32)]) -> Novelty {
        let mut novelty = Novelty::default();
        for &(index, count) in coverage.iter().filter(|(_, count)| *count > 0) {
            let index = index as usize % LIMIT;
            if index >= self.seen.len() {
                self.seen
                    .resize((index + 1).next_power_of_two(), (0, false));
            }
            let (buckets, often) = &mut self.seen[index];
            let bucket = bucket(count);
            if *buckets == 0 {
                novelty.edges += 1;
                self.singletons += 1;
            } else if !*often {
                *often = true;
                self.singletons -= 1;
            }
            novelty.buckets += u64::from(*buckets & bucket == 0);
            *buckets |= bucket;
        }
        self.edges += novelty.edges;
        novelty
    }

    /// Edges taken by any branch.
    pub fn edges(&self) -> u64 {
        self.edges
    }

    /// Edges taken by exactly one branch.
    pub fn singletons(&self) -> u64 {
        self.singletons
    }
}

/// The bit of a count's order of magnitude: 1, 2, 3, 4.., 8.., 16.., 32.., 128..
fn bucket(count: u32) -> u8 {
    match count {
        0 => 0,
        1..=3 => 1 << (count - 1),
        4..=7 => 1 << 3,
        8..=15 => 1 << 4,
        16..=31 => 1 << 5,
        32..=127 => 1 << 6,
        _ => 1 << 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_counts() {
        let mut map = CoverageMap::default();
        assert_eq!(
            map.add(&[(1, 1), (5, 200), (6, 0)]),
            Novelty {
                edges: 2,
                buckets: 2
            }
        );
        assert_eq!((map.edges(), map.singletons()), (2, 2));
        assert_eq!(map.add(&[(1, 1), (5, 999)]), Novelty::default());
        assert_eq!(
            map.add(&[(1, 4)]),
            Novelty {
                edges: 0,
                buckets: 1
            }
        );
        assert_eq!(map.add(&[(1, 7)]), Novelty::default());
        assert_eq!((map.edges(), map.singletons()), (2, 0));
    }

    #[test]
    fn any_index_is_taken() {
        let mut map = CoverageMap::default();
        map.add(&[(u32::MAX, 1), (0, u32::MAX)]);
        assert_eq!(map.edges(), 2);
        assert!(map.seen.len() <= LIMIT);
    }
}
