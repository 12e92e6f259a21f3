//! What the next branch tries.

use super::aimed::Aimer;
use super::corpus::{Corpus, weighted};
use super::coverage::CoverageMap;
use super::frontier::Frontier;
use super::inputs::InputTree;
use super::mutate::Mutator;
use super::runner::{Job, MODEST, Recipe, Reseed};
use super::strategy::Strategy;
use crate::fault::{FaultEngine, FaultKind, FaultSchedule, Generator, Stream};

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
        let recipe = Recipe {
            seed,
            schedule,
            ..Recipe::default()
        };
        Planned {
            job: Job::new(recipe),
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
            (Way::Relive, 1),
            (Way::Vary, 2),
            (Way::Fresh, 3),
        ],
    }
}

/// Faults that are drawn together lie within this part of the time for faults.
const SEGMENTS: u64 = 3;

/// A branch that is cut off goes on for this part of the time for faults, one in so many, after it was
/// healed or could have been, and that comes no later after its last fault.
const AFTERWARDS: u64 = 6;

/// A branch that executes so many times as much as usual, which counts as [`MODEST`] at least, is cut
/// off: a guest that spins tells little for what it takes.
const LAVISH: u64 = 8;

/// Kinds that cost a boot, which is as much as seconds of a branch: each second branch does
/// without.
const BOOTING: [FaultKind; 2] = [FaultKind::Kill, FaultKind::Restart];

/// Everything a plan is drawn from.
pub(super) struct Planner<'a, S> {
    pub seed: u64,
    pub generator: &'a Generator,
    pub initial: &'a [FaultSchedule],
    /// The branch without any fault, counted from 0.
    pub plain: usize,
    /// Guest instructions that a branch executes on average.
    pub usual: u64,
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
        let mut planned = match self.given(nth) {
            Some(schedule) => Planned::root(seed, schedule),
            None => match self.by_inputs(seed, &mut stream) {
                Some(planned) => planned,
                None => self.drawn(seed, &mut stream),
            },
        };
        if self.strategy != Strategy::Random && planned.job.snapshots.is_empty() {
            planned.job.snapshots =
                moments(&planned.job.recipe, self.generator.duration_ns, &mut stream);
            // Where a branch is cut off, others may go on.
            planned.job.snapshots.extend(planned.job.until_ns);
        }
        planned
    }

    /// The schedule of a branch in which nothing is drawn.
    fn given(&self, nth: usize) -> Option<FaultSchedule> {
        if nth == self.plain {
            return Some(FaultSchedule::default());
        }
        let before = nth - usize::from(nth > self.plain);
        self.initial.get(before).cloned()
    }

    fn drawn(&mut self, seed: u64, stream: &mut Stream) -> Planned<S> {
        let guided = self.strategy.guided();
        let mut swarm = self.generator.swarm(stream);
        if guided {
            swarm.paired = true;
            if stream.chance(1, 2) {
                swarm = swarm.without(&BOOTING);
            }
        }
        let ways = ways(self.strategy);
        let i = weighted(ways.iter().map(|(_, weight)| *weight), stream);
        let planned = match i.map_or(Way::Fresh, |i| ways[i].0) {
            Way::Fork => self.fork(seed, &swarm, stream),
            Way::Relive => self.relive(seed, &swarm, stream),
            Way::Vary => self.vary(seed, &swarm, stream),
            Way::Fresh => None,
        };
        let mut planned = planned.unwrap_or_else(|| {
            let schedule = match guided {
                true => self.anew(FaultSchedule::default(), 0, &swarm, stream),
                false => swarm.generate(stream),
            };
            Planned::root(seed, schedule)
        });
        if guided {
            let job = &mut planned.job;
            let aimer = Aimer {
                generator: self.generator,
                from_ns: job.recipe.reseeds.last().map_or(0, |r| r.at_ns),
            };
            job.aimed = aimer.aim(&mut job.recipe.schedule, stream);
            self.shorten(job, stream);
        }
        planned
    }

    /// `past`, and from `from_ns` on faults drawn together, mostly close upon each other.
    fn anew(
        &self,
        past: FaultSchedule,
        from_ns: u64,
        swarm: &Generator,
        stream: &mut Stream,
    ) -> FaultSchedule {
        let all_ns = self.generator.duration_ns;
        let close = self.strategy.guided() && stream.chance(3, 4);
        let generator = Generator {
            from_ns,
            duration_ns: match close {
                true => all_ns.min(from_ns + all_ns / SEGMENTS),
                false => all_ns,
            },
            ..swarm.clone()
        };
        let mutator = Mutator {
            generator: &generator,
        };
        mutator.extend(past, all_ns, stream)
    }

    /// Cuts most branches off a while after their last fault, and heals half of them in between: what a
    /// fault has done often shows when it is over, and what comes later mostly repeats what others
    /// showed. What was new can be gone on with from there. Nor may most of them execute many times
    /// as much as others did.
    fn shorten(&self, job: &mut Job<S>, stream: &mut Stream) {
        if !stream.chance(3, 4) {
            return;
        }
        job.most = Some(self.usual.max(MODEST).saturating_mul(LAVISH));
        let tick = 1_000_000;
        let all_ns = self.generator.duration_ns;
        let Some(last) = job.recipe.schedule.faults().last() else {
            return;
        };
        let room = stream.below(all_ns / tick / AFTERWARDS);
        // What a fork goes on from has happened.
        let last_ns = last.at_ns.max(job.fork_ns.unwrap_or(0));
        let healed_ns = last_ns.next_multiple_of(tick) + (1 + room) * tick;
        let until_ns = healed_ns + all_ns / AFTERWARDS / tick * tick;
        if until_ns < all_ns {
            if stream.chance(1, 2) {
                let schedule = std::mem::take(&mut job.recipe.schedule);
                job.recipe.schedule = healed(schedule, healed_ns);
            }
            job.until_ns = Some(until_ns);
        }
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

    /// A fork from a moment of an earlier branch, which may first be healed, and other faults.
    fn fork(&mut self, seed: u64, swarm: &Generator, stream: &mut Stream) -> Option<Planned<S>> {
        let (at_ns, mut planned) = self.moment(seed, stream)?;
        let schedule = &mut planned.job.recipe.schedule;
        let faults = std::mem::take(schedule).into_faults().into_iter();
        let past = faults.filter(|fault| fault.at_ns < at_ns);
        let mut past = FaultSchedule::new(past.collect());
        if self.strategy.guided() && stream.chance(1, 2) {
            past = healed(past, at_ns);
        }
        *schedule = self.anew(past, at_ns, swarm, stream);
        Some(planned)
    }

    /// A fork from a moment of an earlier branch, and a variation of the faults that came then.
    fn relive(&mut self, seed: u64, swarm: &Generator, stream: &mut Stream) -> Option<Planned<S>> {
        let other = self.corpus.any(stream).cloned();
        let (from_ns, mut planned) = self.moment(seed, stream)?;
        let generator = Generator {
            from_ns,
            ..swarm.clone()
        };
        let mutator = Mutator {
            generator: &generator,
        };
        let schedule = &mut planned.job.recipe.schedule;
        *schedule = mutator.mutate(schedule, other.as_ref(), stream);
        Some(planned)
    }

    /// A moment of the frontier, in virtual ns after setup, and its branch again with other
    /// randomness from there on.
    pub(super) fn moment(&mut self, seed: u64, stream: &mut Stream) -> Option<(u64, Planned<S>)> {
        let entry = self.frontier.pick(self.seen, stream)?.clone();
        let at_ns = entry.at_ns;
        let mut recipe = entry.kept.recipe;
        recipe.reseeds.push(Reseed { at_ns, seed });
        let planned = Planned {
            job: Job {
                start: entry.snapshot,
                fork_ns: Some(at_ns),
                ..Job::new(recipe)
            },
            parent: Some(Parent::Moment(entry.id)),
        };
        Some((at_ns, planned))
    }
}

/// `schedule`, and at `at_ns` the end of all that stands by then.
fn healed(schedule: FaultSchedule, at_ns: u64) -> FaultSchedule {
    let undoing = FaultEngine::undoing(&schedule, at_ns);
    let faults = schedule.into_faults().into_iter().chain(undoing);
    FaultSchedule::new(faults.collect())
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
