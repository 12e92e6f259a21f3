//! What the next branch tries.

use super::corpus::Corpus;
use super::frontier::Frontier;
use super::mutate::Mutator;
use super::runner::{Job, Recipe, Reseed};
use super::strategy::Strategy;
use crate::fault::{FaultSchedule, Generator, Stream};

/// A job and the frontier entry it forks from.
pub(super) struct Planned<S> {
    pub job: Job<S>,
    pub parent: Option<u64>,
}

/// The way to branch that varies nothing.
const FRESH: u64 = 5;

/// Everything a plan is drawn from.
pub(super) struct Planner<'a, S> {
    pub seed: u64,
    pub generator: &'a Generator,
    pub initial: &'a [FaultSchedule],
    pub strategy: Strategy,
    pub corpus: &'a mut Corpus,
    pub frontier: &'a mut Frontier<S>,
}

impl<S: Clone> Planner<'_, S> {
    /// The plan of branch `branch` of round `round`, the `nth` of all.
    pub fn plan(&mut self, round: u64, branch: u64, nth: usize) -> Planned<S> {
        let mut stream = Stream::new(self.seed, "plan", &[round, branch]);
        let seed = stream.bits();
        let mut planned = self.recipe(seed, nth, &mut stream);
        if self.strategy != Strategy::Random {
            planned.job.snapshots =
                moments(&planned.job.recipe, self.generator.duration_ns, &mut stream);
        }
        planned
    }

    fn recipe(&mut self, seed: u64, nth: usize, stream: &mut Stream) -> Planned<S> {
        let root = |seed, schedule| Planned {
            job: Job {
                recipe: Recipe {
                    seed,
                    reseeds: Vec::new(),
                    schedule,
                },
                start: None,
                snapshots: Vec::new(),
            },
            parent: None,
        };
        // The first branch has no fault: a test that fails without is best told so.
        if nth == 0 {
            return root(seed, FaultSchedule::default());
        }
        if let Some(schedule) = self.initial.get(nth - 1) {
            return root(seed, schedule.clone());
        }
        let swarm = self.generator.swarm(stream);
        let mutator = Mutator {
            generator: &swarm,
            from_ns: 0,
        };
        let way = match self.strategy {
            Strategy::Random => FRESH,
            Strategy::Snapshots => stream.below(2) * FRESH,
            Strategy::Guided => stream.below(6),
        };
        match way {
            0 | 1 => {
                if let Some(planned) = self.fork(seed, mutator, stream) {
                    return planned;
                }
            }
            2..=4 => {
                let other = self.corpus.any(stream).cloned();
                if let Some(parent) = self.corpus.pick(stream) {
                    // The parent's seed keeps what else happened; a new one may show more.
                    let seed = if stream.chance(1, 2) {
                        parent.seed
                    } else {
                        seed
                    };
                    let schedule = mutator.mutate(&parent.schedule, other.as_ref(), stream);
                    return root(seed, schedule);
                }
            }
            _ => {}
        }
        root(seed, swarm.generate(stream))
    }

    /// A fork from a frontier entry: its past, with other faults and other randomness from there on.
    fn fork(&mut self, seed: u64, mutator: Mutator<'_>, stream: &mut Stream) -> Option<Planned<S>> {
        let entry = self.frontier.pick(stream)?;
        let mut recipe = entry.recipe.clone();
        recipe.reseeds.push(Reseed {
            at_ns: entry.at_ns,
            seed,
        });
        let mutator = Mutator {
            from_ns: entry.at_ns,
            ..mutator
        };
        recipe.schedule = mutator.extend(&recipe.schedule, stream);
        let job = Job {
            recipe,
            start: entry.snapshot.clone(),
            snapshots: Vec::new(),
        };
        Some(Planned {
            job,
            parent: Some(entry.id),
        })
    }
}

/// Up to two moments worth a snapshot: shortly after faults, where they have begun to tell.
fn moments(recipe: &Recipe, duration_ns: u64, stream: &mut Stream) -> Vec<u64> {
    let from = recipe.reseeds.last().map_or(0, |r| r.at_ns);
    let later: Vec<u64> = recipe
        .schedule
        .faults()
        .iter()
        .map(|f| f.at_ns)
        .filter(|at| *at > from)
        .collect();
    // Never past half of what is left, so that forks of forks have room as well.
    let soon = |at: u64| (duration_ns.saturating_sub(at) / 2_000_000).min(500);
    let mut moments: Vec<u64> = (0..2)
        .filter_map(|_| {
            let at = *stream.pick(&later)?;
            Some(at + (1 + stream.below(soon(at))) * 1_000_000)
        })
        .filter(|at| *at < duration_ns)
        .collect();
    moments.sort_unstable();
    moments.dedup();
    moments
}
