//! The exploration loop: plan a round, run it, merge it in order.

use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::corpus::{Corpus, Kept};
use super::coverage::{CoverageMap, OWN};
use super::findability::Findability;
use super::frontier::Frontier;
use super::guidance::Guidance;
use super::inputs::InputTree;
use super::plan::{Parent, Planned, Planner};
use super::progress::{Progress, RoundStats, Standing};
use super::runner::{Batch, BranchResult, Recipe, RunnerError};
use super::strategy::Strategy;
use super::totals::Totals;
use crate::fault::{FaultSchedule, Generator, ScheduledFault};
use crate::oracle::{Failure, FailureId, Verdicts};

/// What to explore, and how far.
#[derive(Clone, Debug)]
pub struct Options {
    /// The master seed.
    pub seed: u64,
    /// Rounds.
    pub rounds: u64,
    /// Branches a round.
    pub branches: u64,
    /// The faults allowed.
    pub generator: Generator,
    /// Schedules to try first.
    pub initial: Vec<FaultSchedule>,
    /// Bytes that the frontier's snapshots may hold.
    pub snapshot_budget: u64,
    /// How branches are chosen.
    pub strategy: Strategy,
    /// Guest instructions after which no round begins; none is no limit.
    pub instructions: Option<u64>,
    /// Whether the first round with a failure is the last.
    pub stop_at_failure: bool,
    /// The words of the failure that is looked for; others are not the end then.
    pub wanted: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            seed: 0,
            rounds: 100,
            branches: 8,
            generator: Generator::default(),
            initial: Vec::new(),
            snapshot_budget: 512 << 20,
            strategy: Strategy::default(),
            instructions: None,
            stop_at_failure: true,
            wanted: None,
        }
    }
}

/// A failure that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bug {
    /// The round, from 1.
    pub round: u64,
    /// The branch in it, from 0.
    pub branch: u64,
    /// What the search had cost when it was found.
    pub cost: Cost,
    /// What failed.
    pub failure: Failure,
    /// How to run it again.
    pub recipe: Recipe,
    /// What was applied, recoveries and what bodies ordered included.
    pub applied: Vec<ScheduledFault>,
    /// Cluster time of schedule time 0.
    pub start_ns: Option<u64>,
    /// Hash of the state it ended in.
    pub state_hash: u64,
}

/// What a search takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Branches run.
    pub branches: u64,
    /// Guest instructions executed for them, their setup not counted.
    pub instructions: u64,
}

/// Why an exploration ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All rounds were run.
    Complete,
    /// A failure was found.
    Failed,
    /// The guest instructions allowed were executed.
    Spent,
    /// Someone set the stop flag.
    Stopped,
}

/// What an exploration found.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Why it ended.
    pub ended: Ended,
    /// Different bugs, in order of discovery.
    pub bugs: Vec<Bug>,
    /// What only a complete exploration can show to have failed.
    pub judged: Vec<Failure>,
    /// Where it stood at its end.
    pub stats: RoundStats,
    /// How likely a branch is to fail.
    pub findability: Findability,
    /// [`Explorer::state_hash`] at its end.
    pub state_hash: u64,
}

/// The search. `S` is a snapshot of a cluster. All but its options is what a search that was
/// interrupted goes on from; snapshots are made again by their recipes.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Explorer<S> {
    #[serde(skip)]
    options: Options,
    corpus: Corpus,
    frontier: Frontier<S>,
    tree: InputTree,
    coverage: CoverageMap,
    guidance: Guidance,
    verdicts: Verdicts,
    totals: Totals,
    bugs: Vec<(FailureId, Bug)>,
    round: u64,
    /// The last round that brought an edge of the user's own code.
    gained: u64,
    planned: usize,
}

/// Rounds without anything new of the user's own code after which a search has come to a plateau.
const PLATEAU: u64 = 8;

impl<S: Clone> Explorer<S> {
    /// An explorer that has run nothing; `verdicts` knows the sites and what is required.
    pub fn new(options: Options, verdicts: Verdicts) -> Self {
        Explorer {
            corpus: Corpus::default(),
            frontier: Frontier::new(options.snapshot_budget),
            tree: InputTree::default(),
            coverage: CoverageMap::default(),
            guidance: Guidance::default(),
            verdicts,
            totals: Totals::default(),
            bugs: Vec::new(),
            round: 0,
            gained: 0,
            planned: 0,
            options,
        }
    }

    /// An explorer that goes on where the one stood that [`Explorer::encode`] told of, with the
    /// schedules that it was to try first instead of those of `options`.
    ///
    /// # Errors
    /// `text` is no such state; where, and why.
    pub fn resume(options: Options, text: &str) -> Result<Self, serde_json::Error> {
        let (initial, saved): (_, Explorer<S>) = serde_json::from_str(text)?;
        let options = Options { initial, ..options };
        Ok(Explorer {
            frontier: saved.frontier.within(options.snapshot_budget),
            options,
            ..saved
        })
    }

    /// Its whole state, without snapshots.
    pub fn encode(&self) -> String {
        let state = (&self.options.initial, self);
        serde_json::to_string(&state).expect("a state has text as the keys of its maps")
    }

    /// A hash of its whole state: two searches of equal hash go on alike.
    pub fn state_hash(&self) -> u64 {
        xxh3_64(self.encode().as_bytes())
    }

    /// What branches showed of each property.
    pub fn verdicts(&self) -> &Verdicts {
        &self.verdicts
    }

    /// Sums over the branches run.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Explores until its rounds are done, a failure is found, or `stop` is set; what was
    /// found by then is in the outcome.
    ///
    /// # Errors
    /// Trouble of the host.
    pub fn explore(
        &mut self,
        batch: &mut dyn Batch<S>,
        stop: &AtomicBool,
        progress: &mut dyn Progress,
    ) -> Result<Outcome, RunnerError> {
        let ended = loop {
            if self.options.stop_at_failure && self.bugs.iter().any(|(_, bug)| self.is_wanted(bug))
            {
                break Ended::Failed;
            }
            if self.round == self.options.rounds {
                break Ended::Complete;
            }
            let spent = |most| self.totals.executed >= most;
            if self.options.instructions.is_some_and(spent) {
                break Ended::Spent;
            }
            let complete = self.round(batch, stop)?;
            progress.round(&self.stats());
            if complete {
                progress.complete(&self.standing());
            }
            if !complete && self.bugs.is_empty() || stop.load(Ordering::Relaxed) {
                break Ended::Stopped;
            }
        };
        let judged = if ended == Ended::Complete {
            self.verdicts.judge()
        } else {
            Vec::new()
        };
        let bugs = self.bugs.iter().map(|(_, bug)| bug.clone()).collect();
        Ok(Outcome {
            ended,
            bugs,
            judged,
            stats: self.stats(),
            findability: self.findability(),
            state_hash: self.state_hash(),
        })
    }

    fn is_wanted(&self, bug: &Bug) -> bool {
        let wanted = self.options.wanted.as_ref();
        wanted.is_none_or(|text| bug.failure.describe(bug.start_ns).contains(text))
    }

    /// How branches are chosen next. What guides a search on a plateau is worn: every second round
    /// then goes by chance, from wherever it has been, over all the time there is for faults.
    fn strategy(&self) -> Strategy {
        let worn = self.round - self.gained >= PLATEAU && self.round % 2 == 1;
        match self.options.strategy {
            Strategy::Guided | Strategy::Hybrid if worn => Strategy::Snapshots,
            chosen => chosen,
        }
    }

    /// Guest instructions that a branch executes on average; without any branch, no number is too great.
    fn usual(&self) -> u64 {
        let Totals {
            executed, branches, ..
        } = self.totals;
        executed.checked_div(branches).unwrap_or(u64::MAX)
    }

    /// Runs one round; false if it was cut short.
    fn round(&mut self, batch: &mut dyn Batch<S>, stop: &AtomicBool) -> Result<bool, RunnerError> {
        let (mut jobs, mut parents) = (Vec::new(), Vec::new());
        let strategy = self.strategy();
        for branch in 0..self.options.branches {
            let mut planner = Planner {
                seed: self.options.seed,
                generator: &self.options.generator,
                initial: &self.options.initial,
                plain: self.options.branches.saturating_sub(1) as usize,
                usual: self.usual(),
                strategy,
                corpus: &mut self.corpus,
                frontier: &mut self.frontier,
                seen: &self.coverage,
                tree: &mut self.tree,
            };
            let Planned { job, parent } = planner.plan(self.round, branch, self.planned);
            self.planned += 1;
            parents.push(parent);
            jobs.push(job);
        }
        let results = batch.run(jobs, stop)?;
        self.round += 1;
        let mut complete = true;
        for (branch, (result, parent)) in (0..).zip(results.into_iter().zip(parents)) {
            match result {
                Some(result) => self.merge(branch, result, parent),
                None => complete = false,
            }
        }
        Ok(complete)
    }

    fn merge(&mut self, branch: u64, result: BranchResult<S>, parent: Option<Parent>) {
        self.totals.add(&result);
        self.verdicts.add(&result.oracle);
        let novelty = self.coverage.add(&result.coverage);
        if novelty.weight >= OWN {
            self.gained = self.round;
        }
        let raised = self.guidance.add(&result.oracle);
        if let Some(failure) = result.failure {
            let id = failure.id();
            if self.bugs.iter().all(|(known, _)| *known != id) {
                let BranchResult {
                    recipe,
                    applied,
                    start_ns,
                    state_hash,
                    ..
                } = result;
                let bug = Bug {
                    round: self.round,
                    branch,
                    cost: Cost {
                        branches: self.totals.branches,
                        instructions: self.totals.executed,
                    },
                    failure,
                    recipe,
                    applied,
                    start_ns,
                    state_hash,
                };
                self.bugs.push((id, bug));
            }
            // A failed branch ended early; there is nothing to be gained from its variations.
            return;
        }
        let kept = Kept {
            recipe: result.recipe,
            rare: self.coverage.rarest(&result.coverage),
        };
        if self.options.strategy == Strategy::Snapshots {
            for offered in result.snapshots {
                self.frontier.add(&kept, offered, 1);
            }
            return;
        }
        if novelty.buckets > 0 || raised > 0 {
            // How many edges are new says little: the first branches find most of them. What is
            // found late was harder to find.
            let weight = if raised > 0 {
                novelty.weight.max(16)
            } else {
                novelty.weight
            };
            let worth = weight * (1 + u64::from(self.totals.branches.ilog2()));
            match parent {
                Some(Parent::Moment(id)) => self.frontier.reward(id),
                Some(Parent::Node(id)) => self.tree.reward(id),
                None => {}
            }
            if self.options.strategy.varies_inputs() {
                self.tree.add(&kept.recipe, &result.points, worth);
            }
            for offered in result.snapshots {
                self.frontier.add(&kept, offered, worth);
            }
            self.corpus.add(kept, worth);
        }
    }

    /// Where it stands.
    pub fn standing(&self) -> Standing<'_> {
        Standing {
            stats: self.stats(),
            bugs: self.bugs.iter().map(|(_, bug)| bug).collect(),
            totals: &self.totals,
            verdicts: &self.verdicts,
            coverage: &self.coverage,
            findability: self.findability(),
            encode: Box::new(|| self.encode()),
        }
    }

    fn stats(&self) -> RoundStats {
        RoundStats {
            strategy: self.strategy(),
            instructions: self.totals.executed,
            round: self.round,
            of: self.options.rounds,
            branches: self.totals.branches,
            edges: self.coverage.edges(),
            corpus: self.corpus.len(),
            frontier: self.frontier.len(),
            bugs: self.bugs.len(),
        }
    }

    fn findability(&self) -> Findability {
        let Totals {
            branches, failed, ..
        } = self.totals;
        Findability {
            branches,
            failed,
            singletons: self.coverage.singletons(),
        }
    }
}

#[cfg(test)]
#[path = "explorer_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "resume_tests.rs"]
mod resume_tests;
