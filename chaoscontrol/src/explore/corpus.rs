//! Recipes that showed something new, to be varied.

use serde::{Deserialize, Serialize};

use super::coverage::CoverageMap;
use super::runner::Recipe;
use crate::fault::Stream;

/// What is remembered of a branch that showed something new.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// How to run it again.
    pub recipe: Recipe,
    /// Edges that few other branches took.
    pub rare: Vec<u32>,
}

/// How much an entry deserves to be picked: more for what was new, less for what was tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Energy {
    novelty: u64,
    picks: u64,
}

impl Energy {
    pub(super) fn new(novelty: u64) -> Self {
        Energy { novelty, picks: 0 }
    }

    pub(super) fn pick(&mut self) {
        self.picks += 1;
    }

    /// Something new came of it.
    pub(super) fn reward(&mut self) {
        self.picks /= 2;
    }

    /// Its share of picks, at least 1; `rarity` multiplies it.
    pub(super) fn weight(self, rarity: u64) -> u64 {
        1 + 64 * rarity * self.novelty.min(1 << 16) / (1 + self.picks)
    }
}

/// The index drawn by weight; `None` if there is none.
pub(super) fn weighted(
    weights: impl Iterator<Item = u64> + Clone,
    stream: &mut Stream,
) -> Option<usize> {
    let mut left = stream.below(weights.clone().sum());
    weights.into_iter().position(|w| {
        let hit = left < w;
        left = left.saturating_sub(w);
        hit
    })
}

/// The most entries that are kept.
const LIMIT: usize = 256;

/// The recipes, in order of discovery.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Corpus {
    entries: Vec<(Kept, Energy)>,
}

impl Corpus {
    /// Adds a branch that showed `novelty` new things; of too many, the least deserving leaves.
    pub fn add(&mut self, kept: Kept, novelty: u64) {
        self.entries.push((kept, Energy::new(novelty)));
        if self.entries.len() > LIMIT {
            let weakest = (0..LIMIT)
                .min_by_key(|&i| self.entries[i].1.weight(1))
                .unwrap_or(0);
            self.entries.remove(weakest);
        }
    }

    /// Picks a branch by its energy and by how rare by now is what it did.
    pub fn pick(&mut self, seen: &CoverageMap, stream: &mut Stream) -> Option<&Kept> {
        let weight = |(kept, energy): &(Kept, Energy)| energy.weight(seen.rarity(&kept.rare));
        let i = weighted(self.entries.iter().map(weight), stream)?;
        self.entries[i].1.pick();
        Some(&self.entries[i].0)
    }

    /// Any recipe, at no cost to its energy.
    pub fn any(&self, stream: &mut Stream) -> Option<&Recipe> {
        stream.pick(&self.entries).map(|e| &e.0.recipe)
    }

    /// How many recipes there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(seed: u64) -> Kept {
        let recipe = Recipe {
            seed,
            ..Recipe::default()
        };
        Kept {
            recipe,
            ..Kept::default()
        }
    }

    #[test]
    fn novelty_is_picked_more_often_until_it_is_worn() {
        let mut corpus = Corpus::default();
        for (seed, novelty) in [(0, 1), (1, 16), (2, 1)] {
            corpus.add(kept(seed), novelty);
        }
        let seen = CoverageMap::default();
        let mut stream = Stream::new(1, "corpus", &[]);
        let mut counts = [0; 3];
        for _ in 0..30 {
            counts[corpus.pick(&seen, &mut stream).unwrap().recipe.seed as usize] += 1;
        }
        assert!(counts[1] > counts[0] && counts[1] > counts[2], "{counts:?}");
        assert!(counts[0] > 0 && counts[2] > 0, "{counts:?}");
    }

    #[test]
    fn it_does_not_grow_for_ever() {
        let mut corpus = Corpus::default();
        for seed in 0..1000 {
            corpus.add(kept(seed), seed % 7);
        }
        assert_eq!(corpus.len(), LIMIT);
        assert!(
            corpus.entries.iter().any(|e| e.0.recipe.seed == 999),
            "the newest stays"
        );
    }
}
