//! What has been seen: edges, in which order of magnitude each was taken, and by how many branches.

use serde::{Deserialize, Serialize};

use crate::encoding::sparse;

/// Edges of one branch: (index, times taken), by index, none twice.
pub type Coverage = Vec<(u32, u32)>;

/// Indices at or above this are folded down, so that a map's memory is bounded.
const LIMIT: usize = 1 << 22;

/// What a new edge counts for, by where its index lies: first the test's executable, then other
/// programs and libraries, then the kernel, and behind them what guests tell of themselves.
const WEIGHTS: [(usize, u64); 4] = [(1 << 16, 16), (2 << 16, 4), (3 << 16, 2), (usize::MAX, 16)];

/// What weighs so much is a new edge of the user's own code, or a guest's own word.
pub(super) const OWN: u64 = WEIGHTS[0].1;

/// An edge is rare if at most one branch in so many took it.
const RARE: u32 = 8;
/// The most rare edges of a branch that are remembered.
const REMEMBERED: usize = 16;

/// What a branch added to a map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Novelty {
    /// Edges that no branch had taken before.
    pub edges: u64,
    /// Edges taken in a new order of magnitude, new edges included.
    pub buckets: u64,
    /// The weight of the weightiest of them; a new order of magnitude weighs an eighth.
    pub weight: u64,
}

/// What is known of an edge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Seen {
    /// The orders of magnitude, as bits.
    buckets: u8,
    /// Branches that took it.
    branches: u32,
}

/// The union of many branches' coverage.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CoverageMap {
    #[serde(with = "sparse")]
    seen: Vec<Seen>,
    branches: u32,
    edges: u64,
    singletons: u64,
}

impl CoverageMap {
    /// Adds a branch.
    pub fn add(&mut self, coverage: &[(u32, u32)]) -> Novelty {
        let mut novelty = Novelty::default();
        self.branches = self.branches.saturating_add(1);
        for &(index, count) in coverage.iter().filter(|(_, count)| *count > 0) {
            let index = index as usize % LIMIT;
            if index >= self.seen.len() {
                let size = (index + 1).next_power_of_two();
                self.seen.resize(size, Seen::default());
            }
            let seen = &mut self.seen[index];
            let bucket = bucket(count);
            let weight = weight(index);
            seen.branches = seen.branches.saturating_add(1);
            match seen.branches {
                1 => {
                    novelty.edges += 1;
                    novelty.weight = novelty.weight.max(weight);
                    self.singletons += 1;
                }
                2 => self.singletons -= 1,
                _ => {}
            }
            if seen.buckets & bucket == 0 {
                novelty.buckets += 1;
                novelty.weight = novelty.weight.max((weight / 8).max(1));
            }
            seen.buckets |= bucket;
        }
        self.edges += novelty.edges;
        novelty
    }

    /// The rarest edges of a branch that was added, of those that weigh most.
    pub fn rarest(&self, coverage: &[(u32, u32)]) -> Vec<u32> {
        let heavy = |index: &u32| weight(*index as usize % LIMIT) == OWN;
        let taken = coverage.iter().filter(|(_, count)| *count > 0);
        let mut edges: Vec<u32> = taken
            .map(|(index, _)| *index)
            .filter(|index| heavy(index) && self.taken(*index) <= self.branches / RARE)
            .collect();
        edges.sort_by_key(|index| (self.taken(*index), *index));
        edges.truncate(REMEMBERED);
        edges
    }

    /// How rare the rarest of `edges` is by now: 1 for none and for what many branches take, and 1
    /// more for each halving.
    pub fn rarity(&self, edges: &[u32]) -> u64 {
        let fewest = edges.iter().map(|index| self.taken(*index)).min();
        let Some(fewest) = fewest else { return 1 };
        let odds = self.branches / RARE / fewest.max(1);
        1 + u64::from(odds.checked_ilog2().map_or(0, |n| n + 1))
    }

    /// Whether any branch took edge `index`.
    pub fn is_taken(&self, index: u32) -> bool {
        self.taken(index) > 0
    }

    fn taken(&self, index: u32) -> u32 {
        let seen = self.seen.get(index as usize % LIMIT);
        seen.map_or(0, |seen| seen.branches)
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

fn weight(index: usize) -> u64 {
    let of = WEIGHTS.iter().find(|(end, _)| index < *end);
    of.expect("the last end is the greatest number").1
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
                buckets: 2,
                weight: 16
            }
        );
        assert_eq!((map.edges(), map.singletons()), (2, 2));
        assert_eq!(map.add(&[(1, 1), (5, 999)]), Novelty::default());
        assert_eq!(
            map.add(&[(1, 4)]),
            Novelty {
                edges: 0,
                buckets: 1,
                weight: 2
            }
        );
        assert_eq!(map.add(&[(1, 7)]), Novelty::default());
        assert_eq!((map.edges(), map.singletons()), (2, 0));
    }

    #[test]
    fn a_programs_own_code_weighs_more_than_the_kernels() {
        let mut map = CoverageMap::default();
        let kernel = 2 << 16;
        assert_eq!(map.add(&[(1, 1), (kernel, 1)]).weight, 16);
        assert_eq!(map.add(&[(kernel + 1, 1)]).weight, 2);
        assert_eq!(map.add(&[(kernel + 1, 2)]).weight, 1);
    }

    #[test]
    fn what_few_branches_take_is_rare_until_more_do() {
        let mut map = CoverageMap::default();
        for _ in 0..30 {
            map.add(&[(1, 1)]);
        }
        let found = [(1, 1), (7, 1), (9, 1), (2 << 16, 1)];
        map.add(&found);
        map.add(&[(1, 1), (9, 1)]);
        let rarest = map.rarest(&found);
        assert_eq!(rarest, [7, 9], "the user's own, the rarest first");
        assert_eq!((map.rarity(&[1]), map.rarity(&[])), (1, 1));
        assert_eq!((map.rarity(&rarest), map.rarity(&[9])), (4, 3));
        for _ in 0..32 {
            map.add(&[(7, 1), (9, 1)]);
        }
        assert_eq!(map.rarity(&rarest), 1);
    }

    #[test]
    fn any_index_is_taken() {
        let mut map = CoverageMap::default();
        map.add(&[(u32::MAX, 1), (0, u32::MAX)]);
        assert_eq!(map.edges(), 2);
        assert!(map.seen.len() <= LIMIT);
    }
}
