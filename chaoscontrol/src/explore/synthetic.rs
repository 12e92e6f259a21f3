//! A system under test without machines: it climbs a ladder when the right faults come in
//! the right order, and fails on its last rung.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Options;
use super::runner::{BranchResult, BranchStats, Job, Offered, Runner, RunnerError, RunnerFactory};
use crate::fault::{Aim, FaultKind, Generator, ScheduledFault, Stream, Target};
use crate::oracle::{Failure, FailureKind, PropertyOracle};

/// Options of a search over the kinds that rungs are made of and some others, so that a longer
/// catalogue does not make the ladder steeper.
pub(super) fn options() -> Options {
    let kinds = [
        "partition",
        "one-way-partition",
        "latency",
        "jitter",
        "loss",
        "reorder",
        "heal",
        "kill",
        "pause",
        "resume",
        "restart",
        "skew",
        "wall-clock-jump",
    ];
    let aims = kinds.map(|name| Aim::by_name(name).expect("a kind of fault"));
    Options {
        generator: Generator {
            aims: aims.to_vec(),
            ..Generator::default()
        },
        ..Options::default()
    }
}

/// A fault that leads to the next rung.
pub(super) type Rung = (FaultKind, usize);

/// The model; a runner factory, too.
pub(super) struct Ladder {
    pub rungs: Vec<Rung>,
    /// Whether the last rung fails.
    pub bug: bool,
}

/// A moment of the model.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    at_ns: u64,
    rung: usize,
    hash: u64,
    counts: Vec<u32>,
}

pub(super) struct LadderRunner {
    rungs: Vec<Rung>,
    bug: bool,
    /// Branches run from a snapshot, to see that snapshots are used.
    pub from_snapshot: AtomicU64,
}

impl RunnerFactory for Ladder {
    type Runner = LadderRunner;

    fn create(&self) -> Result<LadderRunner, RunnerError> {
        Ok(LadderRunner {
            rungs: self.rungs.clone(),
            bug: self.bug,
            from_snapshot: AtomicU64::new(0),
        })
    }
}

impl LadderRunner {
    fn step(&self, m: &mut Moment, f: &ScheduledFault) {
        m.at_ns = f.at_ns;
        let parts = f.fault.parts();
        m.counts[100 + parts.kind as usize] += 1;
        m.hash = m
            .hash
            .wrapping_mul(31)
            .wrapping_add(f.at_ns ^ parts.kind as u64);
        if let Some((kind, vm)) = self.rungs.get(m.rung)
            && parts.kind == *kind
            && (parts.target == Target::Vm(*vm) || matches!(parts.target, Target::Sides(..)))
        {
            m.rung += 1;
            m.counts[m.rung] += 1;
        }
    }
}

impl Runner for LadderRunner {
    type Snapshot = Moment;

    fn run(&mut self, job: &Job<Moment>) -> Result<BranchResult<Moment>, RunnerError> {
        let recipe = &job.recipe;
        let begin = Moment {
            at_ns: 0,
            rung: 0,
            hash: recipe.seed,
            counts: vec![0; 100 + FaultKind::all().len()],
        };
        let (mut m, mut reseeds) = match &job.start {
            Some(start) => {
                self.from_snapshot.fetch_add(1, Ordering::Relaxed);
                (
                    start.clone(),
                    recipe.reseeds.last().into_iter().collect::<Vec<_>>(),
                )
            }
            None => (begin, recipe.reseeds.iter().collect()),
        };
        let from = if job.start.is_some() { m.at_ns } else { 0 };
        let mut wanted: Vec<u64> = job.snapshots.clone();
        let mut snapshots = Vec::new();
        let mut failure = None;
        let offer = |m: &Moment, at_ns| Offered {
            at_ns,
            bytes: 1000,
            snapshot: Moment { at_ns, ..m.clone() },
        };
        let until = job.until_ns.unwrap_or(u64::MAX);
        let mut run = recipe.schedule.faults().iter();
        for f in run.by_ref().filter(|f| (from..until).contains(&f.at_ns)) {
            while wanted.first().is_some_and(|t| *t <= f.at_ns) {
                snapshots.push(offer(&m, wanted.remove(0)));
            }
            while reseeds.first().is_some_and(|r| r.at_ns <= f.at_ns) {
                m.hash ^= reseeds.remove(0).seed;
            }
            self.step(&mut m, f);
            if self.bug && m.rung == self.rungs.len() {
                failure = Some(Failure::new(f.at_ns, 0, FailureKind::BodyExit(3)));
                break;
            }
        }
        if failure.is_none() {
            snapshots.extend(wanted.into_iter().map(|t| offer(&m, t)));
        }
        for r in reseeds {
            m.hash ^= r.seed;
        }
        // A little noise, so that coverage grows for reasons other than progress, too.
        m.counts[99] = 1 + Stream::new(m.hash, "noise", &[]).below(40) as u32;
        let coverage = m
            .counts
            .iter()
            .enumerate()
            .filter(|(_, n)| **n > 0)
            .map(|(i, n)| (i as u32, *n));
        Ok(BranchResult {
            coverage: coverage.collect(),
            points: Vec::new(),
            oracle: PropertyOracle::new(),
            start_ns: Some(0),
            applied: recipe.schedule.faults().to_vec(),
            recipe: recipe.clone(),
            stats: BranchStats {
                instructions: 1000,
                executed: 1000,
                simulated_ns: failure.as_ref().map_or(0, |_| m.at_ns),
                ..BranchStats::default()
            },
            failure,
            state_hash: m.hash,
            snapshots,
        })
    }
}
