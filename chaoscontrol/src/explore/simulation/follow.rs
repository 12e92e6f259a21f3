//! How a branch is run along its recipe.

use super::Simulation;
use crate::explore::{Recipe, Reseed};

impl Simulation {
    /// Runs the branch that `recipe` stands for, right after [`Simulation::set_up`] and to
    /// its end. Stops where `stops` (virtual ns after setup, in order) say, and calls `at`
    /// there. If the setup has failed there is nothing to run.
    pub fn follow(&mut self, recipe: &Recipe, stops: &[u64], at: impl FnMut(&mut Self, u64)) {
        if self.start_ns().is_some() {
            self.begin(recipe.seed, recipe.schedule.clone());
            self.settle(&recipe.inputs);
            self.run_along(&recipe.reseeds, stops, at);
        }
    }

    /// The same from a checkpoint that was taken on the recipe's way, before a reseed of that moment.
    pub(super) fn follow_on(
        &mut self,
        recipe: &Recipe,
        stops: &[u64],
        at: impl FnMut(&mut Self, u64),
    ) {
        self.reschedule(recipe.schedule.clone());
        self.settle(&recipe.inputs);
        self.run_along(&recipe.reseeds, stops, at);
    }

    fn run_along(&mut self, reseeds: &[Reseed], stops: &[u64], mut at: impl FnMut(&mut Self, u64)) {
        let begin = self.start_ns().unwrap_or(self.now());
        let reseeds = reseeds.iter().map(|r| (r.at_ns, Some(r.seed)));
        let mut stops: Vec<_> = stops.iter().map(|&at| (at, None)).chain(reseeds).collect();
        stops.sort_by_key(|&(at_ns, seed)| (at_ns, seed.is_some()));
        for (at_ns, seed) in stops {
            let time = begin.saturating_add(at_ns);
            if time < self.now() {
                continue;
            }
            self.run_until(time);
            if self.is_over() {
                break;
            }
            match seed {
                Some(seed) => self.reseed(seed),
                None => at(self, at_ns),
            }
        }
        self.run_until(u64::MAX);
        self.conclude();
    }
}
