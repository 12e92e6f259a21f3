//! What an exploration tells while it runs. It knows no host clock: rates are the listener's.

use serde::{Deserialize, Serialize};

use super::coverage::CoverageMap;
use super::explorer::Bug;
use super::findability::Findability;
use super::shrink::ShrinkLimits;
use super::strategy::Strategy;
use super::totals::Totals;
use crate::oracle::Verdicts;

/// Where an exploration stands after a round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundStats {
    /// Rounds done.
    pub round: u64,
    /// Rounds to do.
    pub of: u64,
    /// Branches run so far.
    pub branches: u64,
    /// Guest instructions executed for them.
    pub instructions: u64,
    /// Edges taken by any branch.
    pub edges: u64,
    /// Recipes kept.
    pub corpus: usize,
    /// Moments kept to fork from.
    pub frontier: usize,
    /// Different bugs found.
    pub bugs: usize,
    /// How branches are chosen next.
    pub strategy: Strategy,
}

/// A search between two rounds.
pub struct Standing<'a> {
    /// How far it is.
    pub stats: RoundStats,
    /// Different bugs, in order of discovery.
    pub bugs: Vec<&'a Bug>,
    /// Sums over its branches.
    pub totals: &'a Totals,
    /// What they showed of each property.
    pub verdicts: &'a Verdicts,
    /// What they took.
    pub coverage: &'a CoverageMap,
    /// How likely a branch is to fail.
    pub findability: Findability,
    /// Its whole state; see [`super::Explorer::encode`]. It takes some ms.
    pub encode: Box<dyn Fn() -> String + 'a>,
}

/// Listens to an exploration. It may set the stop flag it gave along.
pub trait Progress {
    /// A round is done.
    fn round(&mut self, stats: &RoundStats) {
        let _ = stats;
    }

    /// All branches of the round are in: a search may go on from here another time.
    fn complete(&mut self, standing: &Standing<'_>) {
        let _ = standing;
    }

    /// Shrinking: `runs` done within `limits`, `faults` left of those found.
    fn shrinking(&mut self, runs: u64, limits: &ShrinkLimits, faults: usize) {
        let _ = (runs, limits, faults);
    }
}

/// Listens to nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {}
