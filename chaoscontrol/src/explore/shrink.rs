//! From a failure with many faults to the smallest schedule that still shows it.
//!
//! Delta debugging (Zeller's ddmin) over the faults, then simpler forms of each that is
//! left, until nothing can be simpler or the limits are reached. Candidates run in
//! groups of fixed size and the first that fails, in order, is taken: so the result is
//! the same for any number of workers.

use std::sync::atomic::{AtomicBool, Ordering};

use super::explorer::Bug;
use super::milder::milder;
use super::progress::Progress;
use super::runner::{Batch, BranchResult, Job, Recipe, RunnerError};
use crate::fault::{FaultSchedule, Generator, ScheduledFault};
use crate::oracle::FailureId;

/// Candidates that run side by side.
const GROUP: usize = 4;

/// When shrinking ends at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShrinkLimits {
    /// Branches run.
    pub runs: u64,
    /// Guest instructions retired in them.
    pub instructions: u64,
}

impl Default for ShrinkLimits {
    fn default() -> Self {
        ShrinkLimits {
            runs: 300,
            instructions: 2_000_000_000_000,
        }
    }
}

/// A failure made small.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shrunk {
    /// The smallest run found; its round and branch are those of the discovery.
    pub bug: Bug,
    /// Faults it was found with.
    pub from: usize,
    /// Branches that shrinking took.
    pub runs: u64,
    /// Whether the failure came again when it was first run again. If not, `bug` is as found.
    pub reproduced: bool,
    /// Whether it ended because nothing simpler fails, not because of limits or the stop flag.
    pub minimal: bool,
}

/// Shrinks one failure.
pub struct Shrinker<'a, S> {
    batch: &'a mut dyn Batch<S>,
    stop: &'a AtomicBool,
    progress: &'a mut dyn Progress,
    limits: ShrinkLimits,
    within: Option<&'a Generator>,
    id: FailureId,
    best: Bug,
    runs: u64,
    instructions: u64,
}

impl<'a, S> Shrinker<'a, S> {
    /// Prepares to shrink `bug`.
    pub fn new(
        bug: Bug,
        limits: ShrinkLimits,
        batch: &'a mut dyn Batch<S>,
        stop: &'a AtomicBool,
        progress: &'a mut dyn Progress,
    ) -> Self {
        let id = bug.failure.id();
        Shrinker {
            batch,
            stop,
            progress,
            limits,
            within: None,
            id,
            best: bug,
            runs: 0,
            instructions: 0,
        }
    }

    /// Tries only schedules that `generator` allows: one that lost a restart may kill more
    /// servers at once than the system promises to survive.
    #[must_use]
    pub fn within(mut self, generator: &'a Generator) -> Self {
        self.within = Some(generator);
        self
    }

    /// Shrinks.
    ///
    /// # Errors
    /// Trouble of the host.
    pub fn shrink(mut self) -> Result<Shrunk, RunnerError> {
        let from = self.best.recipe.schedule.len();
        let again = self.best.recipe.clone();
        let reproduced = self.first_failing(vec![again])?.is_some();
        if reproduced {
            self.simplify()?;
        }
        let minimal = reproduced && !self.spent();
        Ok(Shrunk {
            bug: self.best,
            from,
            runs: self.runs,
            reproduced,
            minimal,
        })
    }

    fn simplify(&mut self) -> Result<(), RunnerError> {
        let plain = Recipe {
            reseeds: Vec::new(),
            ..self.best.recipe.clone()
        };
        if plain != self.best.recipe {
            self.first_failing(vec![plain])?;
        }
        loop {
            let before = self.best.recipe.clone();
            self.fewer_faults()?;
            self.simpler_faults()?;
            if self.best.recipe == before || self.spent() {
                return Ok(());
            }
        }
    }

    /// ddmin: leaves out ever smaller parts of the schedule.
    fn fewer_faults(&mut self) -> Result<(), RunnerError> {
        let mut parts = 1;
        while !self.faults().is_empty() && !self.spent() {
            let faults = self.faults().to_vec();
            let size = faults.len().div_ceil(parts);
            let starts = (0..faults.len()).step_by(size);
            let without =
                |at: usize| [&faults[..at], &faults[(at + size).min(faults.len())..]].concat();
            let candidates = starts.map(|at| self.with(without(at))).collect();
            if self.first_failing(candidates)?.is_some() {
                parts = parts.saturating_sub(1).max(1);
            } else if size == 1 {
                return Ok(());
            } else {
                parts = (parts * 2).min(faults.len());
            }
        }
        Ok(())
    }

    /// Replaces each fault by the simplest form that still fails.
    fn simpler_faults(&mut self) -> Result<(), RunnerError> {
        let mut i = 0;
        while i < self.faults().len() && !self.spent() {
            let faults = self.faults().to_vec();
            let candidates = milder(&faults[i])
                .into_iter()
                .map(|form| {
                    let mut changed = faults.clone();
                    changed[i] = form;
                    self.with(changed)
                })
                .collect();
            if self.first_failing(candidates)?.is_none() {
                i += 1;
            }
        }
        Ok(())
    }

    fn faults(&self) -> &[ScheduledFault] {
        self.best.recipe.schedule.faults()
    }

    fn with(&self, faults: Vec<ScheduledFault>) -> Recipe {
        Recipe {
            schedule: FaultSchedule::new(faults),
            ..self.best.recipe.clone()
        }
    }

    fn spent(&self) -> bool {
        self.runs >= self.limits.runs
            || self.instructions >= self.limits.instructions
            || self.stop.load(Ordering::Relaxed)
    }

    /// Runs candidates in order until one shows the failure, which becomes the best.
    fn first_failing(&mut self, candidates: Vec<Recipe>) -> Result<Option<usize>, RunnerError> {
        let allowed = |recipe: &Recipe| self.within.is_none_or(|g| g.allows(&recipe.schedule));
        let candidates: Vec<Recipe> = candidates.into_iter().filter(allowed).collect();
        for (g, group) in candidates.chunks(GROUP).enumerate() {
            if self.spent() {
                return Ok(None);
            }
            let job = |recipe: &Recipe| Job {
                recipe: recipe.clone(),
                start: None,
                snapshots: Vec::new(),
            };
            let results = self.batch.run(group.iter().map(job).collect(), self.stop)?;
            let mut found = None;
            for (i, result) in results.into_iter().enumerate() {
                let Some(result) = result else { continue };
                self.runs += 1;
                self.instructions = self.instructions.saturating_add(result.stats.instructions);
                if found.is_none() && self.take(&group[i], result) {
                    found = Some(g * GROUP + i);
                }
            }
            self.progress
                .shrinking(self.runs, &self.limits, self.best.recipe.schedule.len());
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Makes a run the best if it shows the failure.
    fn take(&mut self, recipe: &Recipe, result: BranchResult<S>) -> bool {
        let Some(failure) = result.failure.filter(|f| f.id() == self.id) else {
            return false;
        };
        self.best = Bug {
            failure,
            recipe: recipe.clone(),
            applied: result.applied,
            start_ns: result.start_ns,
            state_hash: result.state_hash,
            ..self.best
        };
        true
    }
}

#[cfg(test)]
#[path = "shrink_tests.rs"]
mod tests;
