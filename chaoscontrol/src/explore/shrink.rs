//! From a failure with many faults to the smallest schedule that still shows it.
//!
//! Delta debugging (Zeller's ddmin) over the faults, pairs that one fault can stand for, then
//! simpler forms of each that is left, until nothing can be simpler or the limits are reached.
//! Where two timers have to fire together, a fault that has nothing to do with the failure may
//! still have moved one of them, so that no fault can go: fewer faults are then tried with other
//! seeds, since what matters is the same failure and not the same run. Candidates run in
//! groups of fixed size and the first that fails, in order, is taken: so the result is
//! the same for any number of workers.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use super::aimed::{Aimed, Aimer};
use super::explorer::Bug;
use super::kinds::{gathered, of_one_kind};
use super::milder::{Aspect, milder};
use super::mutate::Mutator;
use super::progress::Progress;
use super::runner::{Batch, BranchResult, Job, MODEST, Recipe, RunnerError};
use super::unite::united;
use crate::fault::{FaultKind, FaultSchedule, Generator, ScheduledFault, Stream};
use crate::oracle::FailureId;

/// Candidates that run side by side.
const GROUP: usize = 4;

/// So many faults a person can keep in mind: beyond them, other seeds are tried for as long as
/// the limits allow, but for a quarter that is left for making simpler what remains.
const READABLE: usize = 3;

/// The part of all runs, one in so many, that is tried with other seeds for each fault beyond the
/// first where there are no more than [`READABLE`].
const PART: u64 = 20;

/// A run that has not failed by the time at which the best one did is given this part of the time for
/// faults more, one in so many.
const PATIENCE: u64 = 4;

/// A run that executes so many times as much as the best one, which counts as [`MODEST`] at least, is
/// cut off: a guest that spins could use up all that shrinking may take.
const LAVISH: u64 = 4;

/// A run that may show the failure.
#[derive(Clone, Debug)]
struct Candidate {
    recipe: Recipe,
    aimed: Aimed,
}

impl From<Recipe> for Candidate {
    fn from(recipe: Recipe) -> Self {
        let aimed = Aimed::default();
        Candidate { recipe, aimed }
    }
}

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
            runs: 400,
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
    /// When the best run failed, in virtual ns after setup, once it was run again.
    failed_ns: Option<u64>,
    /// Guest instructions that a run may take.
    most: Option<u64>,
    runs: u64,
    instructions: u64,
    /// What seeds are drawn from: the seed that the failure was found with.
    master: u64,
    /// Seeds drawn.
    drawn: u64,
    /// So many faults, or more, were not made fewer by other seeds.
    hopeless: usize,
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
            master: bug.recipe.seed,
            best: bug,
            failed_ns: None,
            most: None,
            runs: 0,
            instructions: 0,
            drawn: 0,
            hopeless: usize::MAX,
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
        let reproduced = self.first_failing([again])?.is_some();
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
            self.first_failing([plain])?;
        }
        self.without_what_came_later()?;
        loop {
            let before = self.best.recipe.clone();
            self.fewer(|r| r.inputs.clone(), |r, inputs| r.inputs = inputs)?;
            self.fewer_faults()?;
            while self.unite()? || self.gather()? || self.by_other_seeds()? {
                self.fewer_faults()?;
            }
            for aspect in Aspect::ALL {
                self.simpler_faults(aspect)?;
            }
            if self.best.recipe == before || self.spent() {
                return Ok(());
            }
        }
    }

    /// Leaves out the faults that were due only after the failure.
    fn without_what_came_later(&mut self) -> Result<(), RunnerError> {
        let failed_ns = self.failed_ns.unwrap_or(u64::MAX);
        let mut faults = self.faults().to_vec();
        faults.retain(|fault| fault.at_ns <= failed_ns);
        if faults.len() < self.faults().len() {
            self.first_failing([self.with(faults)])?;
        }
        Ok(())
    }

    fn fewer_faults(&mut self) -> Result<(), RunnerError> {
        self.fewer(
            |r| r.schedule.faults().to_vec(),
            |r, faults| r.schedule = FaultSchedule::new(faults),
        )
    }

    /// ddmin: leaves out ever smaller parts of a list that the recipe has.
    fn fewer<T: Clone>(
        &mut self,
        list: impl Fn(&Recipe) -> Vec<T>,
        set: impl Fn(&mut Recipe, Vec<T>),
    ) -> Result<(), RunnerError> {
        let mut parts = 1;
        loop {
            let items = list(&self.best.recipe);
            if items.is_empty() || self.spent() {
                return Ok(());
            }
            let size = items.len().div_ceil(parts);
            let without = |at: usize| {
                let mut recipe = self.best.recipe.clone();
                let left = [&items[..at], &items[(at + size).min(items.len())..]].concat();
                set(&mut recipe, left);
                recipe
            };
            let candidates: Vec<Recipe> = (0..items.len()).step_by(size).map(without).collect();
            if self.first_failing(candidates)?.is_some() {
                parts = parts.saturating_sub(1).max(1);
            } else if size == 1 {
                return Ok(());
            } else {
                parts = (parts * 2).min(items.len());
            }
        }
    }

    /// Replaces two faults by one; false if that never fails.
    fn unite(&mut self) -> Result<bool, RunnerError> {
        let asked = |schedule: &Vec<ScheduledFault>| {
            self.within.is_none_or(|generator| {
                let kinds = schedule.iter().map(|f| f.fault.kind());
                let mut new = kinds.filter(|k| self.faults().iter().all(|f| f.fault.kind() != *k));
                new.all(|kind| generator.aims.iter().any(|aim| aim.kind == kind))
            })
        };
        let schedules = united(self.faults()).into_iter().filter(asked);
        let candidates: Vec<Recipe> = schedules.map(|faults| self.with(faults)).collect();
        Ok(self.first_failing(candidates)?.is_some())
    }

    /// Lets faults of one kind come at once; false if that never fails.
    fn gather(&mut self) -> Result<bool, RunnerError> {
        let [one_kind, gathered] = self.by_kinds();
        let schedules = one_kind.into_iter().chain(gathered);
        let candidates: Vec<Recipe> = schedules.map(|faults| self.with(faults)).collect();
        Ok(self.first_failing(candidates)?.is_some())
    }

    /// Schedules that the kinds of faults suggest, where there are more than a person can keep in
    /// mind: of one kind, and with those of each kind at once.
    fn by_kinds(&self) -> [Vec<Vec<ScheduledFault>>; 2] {
        let faults = self.faults();
        if faults.len() <= READABLE {
            return [Vec::new(), Vec::new()];
        }
        let servers = self.within.map_or(0, |g| g.vms.saturating_sub(g.clients));
        [of_one_kind(faults, servers, READABLE), gathered(faults)]
    }

    /// Looks for a run with fewer faults that fails in the same way by other chances.
    fn by_other_seeds(&mut self) -> Result<bool, RunnerError> {
        let n = self.faults().len();
        if n < 2 || n >= self.hopeless {
            return Ok(false);
        }
        let end = match n {
            ..=READABLE => self.runs + self.limits.runs / PART * (n as u64 - 1),
            _ => self.limits.runs / 4 * 3,
        };
        let mut before = None;
        while self.runs < end && !self.spent() && before != Some(self.runs) {
            before = Some(self.runs);
            let faults = self.faults().to_vec();
            // One fault fewer is little gained where there are many.
            let near = n <= 2 * READABLE;
            let without = (0..n).filter(|_| near);
            let without = without.map(|i| [&faults[..i], &faults[i + 1..]].concat());
            let alone = faults.iter().filter(|_| n > 2).map(|f| vec![f.clone()]);
            let none = (n > READABLE).then(Vec::new).into_iter();
            // What fails by a race fails again in one of many runs: most faults do nothing for it.
            let [one_kind, gathered] = self.by_kinds();
            let gathered = gathered.into_iter().filter(|_| near).collect();
            let mut by_kinds = [one_kind, gathered].map(|s: Vec<_>| s.into_iter().cycle());
            let mut schedules = Vec::new();
            for schedule in none.chain(without).chain(alone) {
                schedules.push(schedule);
                schedules.extend(by_kinds.iter_mut().filter_map(Iterator::next));
            }
            let mut candidates: Vec<Candidate> = Vec::new();
            for faults in schedules {
                candidates.push(self.reseeded(faults).into());
                if n > READABLE {
                    candidates.extend(self.afresh());
                }
            }
            if self.first_failing(candidates)?.is_some() {
                return Ok(true);
            }
        }
        self.hopeless = n;
        Ok(false)
    }

    /// Replaces each fault by the form, simplest in this aspect, that still fails.
    fn simpler_faults(&mut self, aspect: Aspect) -> Result<(), RunnerError> {
        let mut i = 0;
        while i < self.faults().len() && !self.spent() {
            let faults = self.faults().to_vec();
            let candidate = |form| {
                let mut changed = faults.clone();
                changed[i] = form;
                self.with(changed)
            };
            let forms = milder(&faults[i], aspect).into_iter();
            let candidates: Vec<Recipe> = forms.map(candidate).collect();
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

    /// A run with these faults that nothing else has in common with the best one.
    fn reseeded(&mut self, faults: Vec<ScheduledFault>) -> Recipe {
        self.drawn += 1;
        let index = [self.best.round, self.best.branch, self.drawn];
        Recipe {
            seed: Stream::new(self.master, "shrink", &index).bits(),
            reseeds: Vec::new(),
            schedule: FaultSchedule::new(faults),
            inputs: self.best.recipe.inputs.clone(),
        }
    }

    /// A run with few faults that are drawn afresh, half of the time of the kinds of the best one: what
    /// many faults brought about, few may as well.
    fn afresh(&mut self) -> Option<Candidate> {
        let whole = self.within?;
        let index = [self.best.round, self.best.branch, self.drawn];
        let mut stream = Stream::new(self.master, "afresh", &index);
        let usual = stream.chance(1, 2);
        let faults = self.faults().iter();
        let kinds: BTreeSet<FaultKind> = faults.map(|f| f.fault.kind()).collect();
        let aims = whole.aims.iter().copied();
        let generator = Generator {
            aims: aims.filter(|a| usual || kinds.contains(&a.kind)).collect(),
            duration_ns: whole.duration_ns.min(self.failed_ns?),
            paired: true,
            max_faults: READABLE,
            ..whole.clone()
        };
        let mutator = Mutator {
            generator: &generator,
        };
        let end_ns = generator.duration_ns;
        let drawn = mutator.extend(FaultSchedule::default(), end_ns, &mut stream);
        let few = drawn.into_faults().into_iter().take(READABLE);
        let mut recipe = self.reseeded(few.collect());
        let aimer = Aimer {
            generator: whole,
            from_ns: 0,
        };
        let aimed = aimer.aim(&mut recipe.schedule, &mut stream);
        Some(Candidate { recipe, aimed })
    }

    /// Where to cut runs off: what is wanted of them is one failure, which came by then. A run that
    /// failed when faults had ended was perhaps judged by what it came to.
    fn until_ns(&self) -> Option<u64> {
        let all_ns = self.within?.duration_ns;
        let failed_ns = self.failed_ns.filter(|at_ns| *at_ns < all_ns)?;
        Some((failed_ns + all_ns / PATIENCE).next_multiple_of(1_000_000))
    }

    fn spent(&self) -> bool {
        self.runs >= self.limits.runs
            || self.instructions >= self.limits.instructions
            || self.stop.load(Ordering::Relaxed)
    }

    /// Runs candidates in order until one shows the failure, which becomes the best.
    fn first_failing<C: Into<Candidate>>(
        &mut self,
        candidates: impl IntoIterator<Item = C>,
    ) -> Result<Option<usize>, RunnerError> {
        let allowed = |recipe: &Recipe| self.within.is_none_or(|g| g.allows(&recipe.schedule));
        let candidates = candidates.into_iter().map(Into::into);
        let candidates: Vec<Candidate> = candidates.filter(|c| allowed(&c.recipe)).collect();
        for (g, group) in candidates.chunks(GROUP).enumerate() {
            if self.spent() {
                return Ok(None);
            }
            let job = |candidate: &Candidate| Job {
                until_ns: self.until_ns(),
                most: self.most,
                aimed: candidate.aimed.clone(),
                ..Job::new(candidate.recipe.clone())
            };
            let results = self.batch.run(group.iter().map(job).collect(), self.stop)?;
            let mut found = None;
            for (i, result) in results.into_iter().enumerate() {
                let Some(result) = result else { continue };
                self.runs += 1;
                self.instructions = self.instructions.saturating_add(result.stats.instructions);
                if found.is_none() && self.take(result) {
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
    fn take(&mut self, result: BranchResult<S>) -> bool {
        let Some(failure) = result.failure.filter(|f| f.id() == self.id) else {
            return false;
        };
        let setup_ns = result.start_ns.unwrap_or(u64::MAX);
        self.failed_ns = result.stats.simulated_ns.checked_sub(setup_ns);
        let usual = result.stats.instructions.max(MODEST);
        self.most = Some(usual.saturating_mul(LAVISH));
        self.best = Bug {
            failure,
            recipe: result.recipe,
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
