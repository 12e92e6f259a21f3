//! The contract between the search and whatever runs a branch.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use super::aimed::Aimed;
use super::coverage::Coverage;
use super::inputs::{ChoicePoint, Input};
use crate::fault::{FaultKind, FaultSchedule, ScheduledFault};
use crate::oracle::{Failure, PropertyOracle};

/// Guest instructions that no branch is blamed for: those of two boots, which a restart may take in
/// a cluster that else does next to nothing.
pub(super) const MODEST: u64 = 50_000_000;

/// From `at_ns` on (virtual ns after setup), random streams continue from `seed`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Reseed {
    /// When.
    pub at_ns: u64,
    /// From what.
    pub seed: u64,
}

/// All that tells one branch from another. The same recipe gives the same run, whatever
/// snapshot it is started from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Recipe {
    /// What random streams derive from at first.
    pub seed: u64,
    /// Where a fork went on with other streams, in order of time.
    pub reseeds: Vec<Reseed>,
    /// The faults.
    pub schedule: FaultSchedule,
    /// What guests are answered other than streams say, in the order in which they ask.
    pub inputs: Vec<Input>,
}

/// A branch to be run.
#[derive(Clone, Debug)]
pub struct Job<S> {
    /// What to run.
    pub recipe: Recipe,
    /// A snapshot that stands where `recipe`, followed from its beginning, stands at that
    /// moment, before a reseed of the same moment. Only saves time: without it the runner starts at the
    /// boot snapshot, and the result is the same.
    pub start: Option<S>,
    /// Where a fork begins, in virtual ns after setup: what is executed before that, as there is
    /// no snapshot, is not counted, so that what a search has cost depends on no host.
    pub fork_ns: Option<u64>,
    /// Virtual times after setup, in order, at which the runner is to offer a snapshot; those
    /// before `start` are not asked for.
    pub snapshots: Vec<u64>,
    /// The virtual time after setup at which the branch is cut off; none runs it to its end.
    pub until_ns: Option<u64>,
    /// Guest instructions that may be executed for the branch ([`BranchStats::executed`]): the first
    /// tick that ends beyond is the last. None is no limit.
    pub most: Option<u64>,
    /// The faults that are to hit whoever is busiest when they are due.
    pub aimed: Aimed,
}

impl<S> Job<S> {
    /// A branch from its beginning to its end.
    pub fn new(recipe: Recipe) -> Job<S> {
        Job {
            recipe,
            start: None,
            fork_ns: None,
            snapshots: Vec::new(),
            until_ns: None,
            most: None,
            aimed: Aimed::default(),
        }
    }
}

/// A snapshot taken on the way.
#[derive(Clone, Debug)]
pub struct Offered<S> {
    /// Virtual time after setup at which it stands.
    pub at_ns: u64,
    /// Bytes it holds that nothing else does.
    pub bytes: u64,
    /// The snapshot.
    pub snapshot: S,
}

/// What a branch amounts to. Everything counts from the beginning of the branch, also where the runner
/// started at a snapshot: a snapshot carries these counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BranchStats {
    /// Faults applied, by kind.
    pub faults: BTreeMap<FaultKind, u64>,
    /// Packets by what became of them.
    pub packets: BTreeMap<&'static str, u64>,
    /// Events that guests sent, by name (a workload counts acknowledged operations so).
    pub events: BTreeMap<String, u64>,
    /// Guest instructions retired by all VMs.
    pub instructions: u64,
    /// Those of them that were executed for this branch: of a fork, the ones before it are not, also
    /// where its snapshot was dropped and they were executed again.
    pub executed: u64,
    /// Virtual ns.
    pub simulated_ns: u64,
    /// A guest had to be meddled with, so that the branch cannot be reproduced; no failure of
    /// it is reported.
    pub spun: bool,
}

/// What a branch showed.
#[derive(Clone, Debug)]
pub struct BranchResult<S> {
    /// Edges with how often each was taken.
    pub coverage: Coverage,
    /// The calls for random values that guests made, in order of time; of many, the first.
    pub points: Vec<ChoicePoint>,
    /// What the branch showed of each property.
    pub oracle: PropertyOracle,
    /// Its failure, usually the oracle's.
    pub failure: Option<Failure>,
    /// Cluster time of schedule time 0, if setup was completed.
    pub start_ns: Option<u64>,
    /// The faults that were applied, bodies' and recoveries included, by virtual time after setup.
    pub applied: Vec<ScheduledFault>,
    /// What was run: the job's recipe, with the targets that its aimed faults had.
    pub recipe: Recipe,
    /// Counts.
    pub stats: BranchStats,
    /// Hash of the whole cluster's state at the end.
    pub state_hash: u64,
    /// The snapshots asked for, as far as the branch came.
    pub snapshots: Vec<Offered<S>>,
}

/// Why a branch could not be run at all: trouble of the host, not of the test.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot run a branch: {0}")]
pub struct RunnerError(pub String);

/// Runs branches, one after another.
pub trait Runner: Send {
    /// A snapshot of a cluster; cheap to clone.
    type Snapshot: Clone + Send + 'static;

    /// Runs a branch to its end or first failure.
    ///
    /// # Errors
    /// Trouble of the host.
    fn run(
        &mut self,
        job: &Job<Self::Snapshot>,
    ) -> Result<BranchResult<Self::Snapshot>, RunnerError>;
}

/// Makes a runner for each worker.
pub trait RunnerFactory: Sync {
    /// What it makes.
    type Runner: Runner + 'static;

    /// A new runner. All of a factory's runners give the same results.
    ///
    /// # Errors
    /// Trouble of the host.
    fn create(&self) -> Result<Self::Runner, RunnerError>;
}

/// Runs many branches and answers in their order.
pub trait Batch<S> {
    /// Runs `jobs`; those not begun when `stop` is set are left out (`None`), and those that
    /// do not end in time afterwards may be.
    ///
    /// # Errors
    /// The first job's, in order, that met trouble of the host.
    fn run(
        &mut self,
        jobs: Vec<Job<S>>,
        stop: &AtomicBool,
    ) -> Result<Vec<Option<BranchResult<S>>>, RunnerError>;
}

/// A lone runner is a batch of one worker.
impl<R: Runner> Batch<R::Snapshot> for R {
    fn run(
        &mut self,
        jobs: Vec<Job<R::Snapshot>>,
        stop: &AtomicBool,
    ) -> Result<Vec<Option<BranchResult<R::Snapshot>>>, RunnerError> {
        let run = |job: &Job<R::Snapshot>| {
            let stopped = stop.load(Ordering::Relaxed);
            if stopped {
                Ok(None)
            } else {
                Runner::run(self, job).map(Some)
            }
        };
        jobs.iter().map(run).collect()
    }
}
