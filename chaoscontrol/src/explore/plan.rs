//! What the next branch tries.

use super::aimed::{Aimed, Aimer};
use super::corpus::{Corpus, weighted};
use super::coverage::CoverageMap;
use super::frontier::Frontier;
use super::inputs::InputTree;
use super::mutate::Mutator;
use super::runner::{Job, Recipe, Reseed};
use super::strategy::Strategy;
use crate::fault::{FaultSchedule, Generator, Stream};

/// What a plan varies.
#[derive(Clone, Copy, Debug)]
pub(super) enum Parent {
    /// The frontier's entry that it forks from.
    Moment(u64),
    /// The branch in the tree of inputs that it answers otherwise.
    Node(u64),
}

/// A job and what it varies.
pub(super) struct Planned<S> {
    pub job: Job<S>,
    pub parent: Option<Parent>,
}

impl<S> Planned<S> {
    /// A branch that begins at the beginning and varies nothing.
    pub(super) fn root(seed: u64, schedule: FaultSchedule) -> Self {
        Planned {
            job: Job {
                recipe: Recipe {
                    seed,
                    schedule,
                    ..Recipe::default()
                },
                start: None,
                fork_ns: None,
                until_ns: None,
                aimed: Aimed::default(),
                snapshots: Vec::new(),
            },
            parent: None,
        }
    }
}

/// Ways to choose a branch.
#[derive(Clone, Copy)]
enum Way {
    /// Goes on from a moment of an earlier branch with faults drawn afresh.
    Fork,
    /// Goes on from there with a variation of the faults that came then.
    Relive,
    /// Varies an earlier branch from its beginning.
    Vary,
    /// Draws everything.
    Fresh,
}

/// How often each way is taken, of the sum of all.
const fn ways(strategy: Strategy) -> &'static [(Way, u64)] {
    match strategy {
        Strategy::Random => &[(Way::Fresh, 1)],
        Strategy::Snapshots => &[(Way::Fork, 1), (Way::Fresh, 1)],
        Strategy::Guided | Strategy::Hybrid | Strategy::Inputs => &[
            (Way::Fork, 3),
            (Way::Relive, 2),
            (Way::Vary, 2),
            (Way::Fresh, 1),
        ],
    }
}

/// Faults that are drawn together lie within this part of the time for faults.
const SEGMENTS: u64 = 3;

/// Everything a plan is drawn from.
pub(super) struct Planner<'a, S> {
    pub seed: u64,
    pub generator: &'a Generator,
    pub initial: &'a [FaultSchedule],
    /// The branch without any fault, counted from 0.
    pub plain: usize,
    pub strategy: Strategy,
    pub corpus: &'a mut Corpus,
    pub frontier: &'a mut Frontier<S>,
    pub seen: &'a CoverageMap,
    pub tree: &'a mut InputTree,
}

impl<S: Clone> Planner<'_, S> {
    /// The plan of branch `branch` of round `round`, the `nth` of all.
    pub fn plan(&mut self, round: u64, branch: u64, nth: usize) -> Planned<S> {
        let mut stream = Stream::new(self.seed, "plan", &[round, branch]);
        let seed = stream.bits();
        let mut planned = self.recipe(seed, nth, &mut stream);
        let drawn = nth != self.plain && nth - usize::from(nth > self.plain) >= self.initial.len();
        if self.strategy.guided() && drawn && !matches!(planned.parent, Some(Parent::Node(_))) {
            let aimer = Aimer {
                generator: self.generator,
                from_ns: planned.job.recipe.reseeds.last().map_or(0, |r| r.at_ns),
            };
            planned.job.aimed = aimer.aim(&mut planned.job.recipe.schedule, &mut stream);
            planned.job.until_ns = self.cut(&planned.job.recipe, &mut stream);
        }
        if self.strategy != Strategy::Random && planned.job.snapshots.is_empty() {
            planned.job.snapshots =
                moments(&planned.job.recipe, self.generator.duration_ns, &mut stream);
            // Where a branch is cut off, others may go on.
            planned.job.snapshots.extend(planned.job.until_ns);
        }
        planned
    }

    fn recipe(&mut self, seed: u64, nth: usize, stream: &mut Stream) -> Planned<S> {
        if nth == self.plain {
            return Planned::root(seed, FaultSchedule::default());
        }
        let before = nth - usize::from(nth > self.plain);
        if let Some(schedule) = self.initial.get(before) {
            return Planned::root(seed, schedule.clone());
        }
        if let Some(planned) = self.by_inputs(seed, stream) {
            return planned;
        }
        let mut swarm = self.generator.swarm(stream);
        swarm.paired = self.strategy.guided();
        let ways = ways(self.strategy);
        let i = weighted(ways.iter().map(|(_, weight)| *weight), stream);
        let planned = match i.map_or(Way::Fresh, |i| ways[i].0) {
            Way::Fork => self.fork(seed, &swarm, false, stream),
            Way::Relive => self.fork(seed, &swarm, true, stream),
            Way::Vary => self.vary(seed, &swarm, stream),
            Way::Fresh => None,
        };
        planned.unwrap_or_else(|| {
            let schedule = match self.strategy {
                strategy if strategy.guided() => {
                    let generator = self.segment(0, &swarm, stream);
                    let mutator = Mutator {
                        generator: &generator,
                    };
                    mutator.extend(&FaultSchedule::default(), stream)
                }
                _ => swarm.generate(stream),
            };
            Planned::root(seed, schedule)
        })
    }

    /// Draws from `from_ns` on, mostly close upon each other.
    fn segment(&self, from_ns: u64, swarm: &Generator, stream: &mut Stream) -> Generator {
        let all_ns = self.generator.duration_ns;
        let duration_ns = match self.strategy {
            strategy if strategy.guided() && stream.chance(3, 4) => {
                all_ns.min(from_ns + all_ns / SEGMENTS)
            }
            _ => all_ns,
        };
        Generator {
            from_ns,
            duration_ns,
            ..swarm.clone()
        }
    }

    /// Where to cut a branch off: a while after its last fault, most of the time. What comes then
    /// mostly repeats what others showed; what was new can be gone on with from there.
    fn cut(&self, recipe: &Recipe, stream: &mut Stream) -> Option<u64> {
        let all_ns = self.generator.duration_ns;
        let last = recipe.schedule.faults().last()?;
        let tick = 1_000_000;
        let until_ns = (last.at_ns + all_ns / SEGMENTS / 2).next_multiple_of(tick);
        let cut = stream.chance(3, 4) && until_ns < all_ns;
        cut.then_some(until_ns)
    }

    /// A variation of an earlier branch.
    fn vary(&mut self, seed: u64, swarm: &Generator, stream: &mut Stream) -> Option<Planned<S>> {
        let other = self.corpus.any(stream).cloned();
        let parent = self.corpus.pick(self.seen, stream)?.clone();
        let mutator = Mutator { generator: swarm };
        let schedule = mutator.mutate(&parent.recipe.schedule, other.as_ref(), stream);
        // The parent's seed keeps what else happened; a new one may show more.
        let (seed, inputs) = match stream.chance(1, 2) {
            true => (parent.recipe.seed, parent.recipe.inputs),
            false => (seed, Vec::new()),
        };
        let mut planned = Planned::root(seed, schedule);
        planned.job.recipe.inputs = inputs;
        Some(planned)
    }

    /// A fork from a frontier entry: its past, with other randomness from there on, and with other
    /// faults, or with a variation of those that its branch had.
    fn fork(
        &mut self,
        seed: u64,
        swarm: &Generator,
        relive: bool,
        stream: &mut Stream,
    ) -> Option<Planned<S>> {
        let other = self.corpus.any(stream).cloned();
        let entry = self.frontier.pick(self.seen, stream)?.clone();
        let mut recipe = entry.kept.recipe;
        recipe.reseeds.push(Reseed {
            at_ns: entry.at_ns,
            seed,
        });
        recipe.schedule = if relive {
            let generator = Generator {
                from_ns: entry.at_ns,
                ..swarm.clone()
            };
            let mutator = Mutator {
                generator: &generator,
            };
            mutator.mutate(&recipe.schedule, other.as_ref(), stream)
        } else {
            let generator = self.segment(entry.at_ns, swarm, stream);
            let mutator = Mutator {
                generator: &generator,
            };
            mutator.extend(&recipe.schedule, stream)
        };
        let job = Job {
            recipe,
            start: entry.snapshot,
            fork_ns: Some(entry.at_ns),
            snapshots: Vec::new(),
            until_ns: None,
            aimed: Aimed::default(),
        };
        Some(Planned {
            job,
            parent: Some(Parent::Moment(entry.id)),
        })
    }
}

/// Up to two moments worth a snapshot: shortly after faults, where they have begun to tell, and without
/// any, where the cluster is at work and much may still come.
fn moments(recipe: &Recipe, duration_ns: u64, stream: &mut Stream) -> Vec<u64> {
    let from = recipe.reseeds.last().map_or(0, |r| r.at_ns);
    let later: Vec<u64> = recipe
        .schedule
        .faults()
        .iter()
        .map(|f| f.at_ns)
        .filter(|at| *at > from)
        .collect();
    if later.is_empty() && from == 0 {
        return vec![duration_ns / 8, duration_ns / 3];
    }
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
