//! Moments from which branches fork: snapshots of branches that showed something new.

use serde::{Deserialize, Serialize};

use super::corpus::{Energy, Kept, weighted};
use super::coverage::CoverageMap;
use super::runner::{Offered, Recipe};
use crate::fault::{ScheduledFault, Stream};

/// The most moments that are kept.
const LIMIT: usize = 64;

/// A moment of a branch.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub(super) struct Entry<S> {
    /// Tells entries apart; grows.
    pub id: u64,
    /// The branch.
    pub kept: Kept,
    /// The moment, in virtual ns after setup.
    pub at_ns: u64,
    /// The snapshot, unless memory was short.
    #[serde(skip)]
    pub snapshot: Option<S>,
    #[serde(skip)]
    bytes: u64,
    energy: Energy,
}

/// All moments, within a budget of memory. An entry whose snapshot was dropped is as good
/// as before, only slower: its recipe leads there again.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Frontier<S> {
    entries: Vec<Entry<S>>,
    next_id: u64,
    #[serde(skip)]
    budget: u64,
}

impl<S: Clone> Frontier<S> {
    /// An empty frontier whose snapshots may hold `budget` bytes.
    pub fn new(budget: u64) -> Self {
        Frontier {
            entries: Vec::new(),
            next_id: 0,
            budget,
        }
    }

    /// The same moments, within another budget.
    pub(super) fn within(self, budget: u64) -> Self {
        let mut frontier = Frontier { budget, ..self };
        frontier.keep_within_budget();
        frontier
    }

    /// Adds a moment of a branch that showed `novelty` new things.
    pub fn add(&mut self, kept: &Kept, offered: Offered<S>, novelty: u64) {
        self.entries.push(Entry {
            id: self.next_id,
            kept: kept.clone(),
            at_ns: offered.at_ns,
            snapshot: Some(offered.snapshot),
            bytes: offered.bytes,
            energy: Energy::new(novelty),
        });
        self.next_id += 1;
        if self.entries.len() > LIMIT {
            let weakest = (0..LIMIT)
                .min_by_key(|&i| self.entries[i].energy.weight(1))
                .unwrap_or(0);
            self.entries.remove(weakest);
        }
        self.keep_within_budget();
    }

    /// Drops snapshots, of the least deserving entries first, until the rest fits.
    fn keep_within_budget(&mut self) {
        let mut order: Vec<usize> = (0..self.entries.len()).collect();
        order.sort_by_key(|&i| self.entries[i].energy.weight(1));
        for i in order {
            if self.bytes() <= self.budget {
                break;
            }
            self.entries[i].snapshot = None;
        }
    }

    /// Bytes held by snapshots.
    pub fn bytes(&self) -> u64 {
        self.entries
            .iter()
            .filter(|e| e.snapshot.is_some())
            .map(|e| e.bytes)
            .sum()
    }

    /// Picks a moment by its energy and by how rare by now is what its branch did.
    pub(super) fn pick(&mut self, seen: &CoverageMap, stream: &mut Stream) -> Option<&Entry<S>> {
        let weight = |e: &Entry<S>| e.energy.weight(seen.rarity(&e.kept.rare));
        let i = weighted(self.entries.iter().map(weight), stream)?;
        self.entries[i].energy.pick();
        Some(&self.entries[i])
    }

    /// The latest moment that `recipe` passes on its way to the last call that it settles;
    /// `settled_ns` says when those are made.
    pub(super) fn on_the_way(&self, recipe: &Recipe, settled_ns: &[u64]) -> Option<&Entry<S>> {
        let passed = |entry: &&Entry<S>| {
            let Recipe {
                seed,
                reseeds,
                schedule,
                inputs,
            } = &entry.kept.recipe;
            let earlier = |f: &&ScheduledFault| f.at_ns < entry.at_ns;
            *seed == recipe.seed
                && *reseeds == recipe.reseeds
                && recipe.inputs.starts_with(inputs)
                && settled_ns
                    .get(inputs.len())
                    .is_some_and(|at_ns| entry.at_ns <= *at_ns)
                && recipe
                    .schedule
                    .faults()
                    .iter()
                    .filter(earlier)
                    .eq(schedule.faults().iter().filter(earlier))
        };
        let passed = self.entries.iter().filter(passed);
        passed.max_by_key(|entry| entry.at_ns)
    }

    /// A fork of entry `id` showed something new.
    pub(super) fn reward(&mut self, id: u64) {
        if let Some(entry) = self.entries.iter_mut().find(|e| e.id == id) {
            entry.energy.reward();
        }
    }

    /// How many moments there are.
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

    #[test]
    fn snapshots_stay_within_the_budget_and_moments_stay() {
        let mut f = Frontier::new(100);
        let kept = Kept::default();
        for i in 0..10 {
            f.add(
                &kept,
                Offered {
                    at_ns: 2_000_000_000,
                    bytes: 30,
                    snapshot: i,
                },
                1 + i,
            );
        }
        assert_eq!((f.len(), f.bytes()), (10, 90));
        for i in 0..200 {
            f.add(
                &kept,
                Offered {
                    at_ns: 0,
                    bytes: 30,
                    snapshot: i,
                },
                1,
            );
        }
        assert_eq!(f.len(), LIMIT);
        let mut stream = Stream::new(0, "frontier", &[]);
        assert!(f.pick(&CoverageMap::default(), &mut stream).is_some());
    }
}
