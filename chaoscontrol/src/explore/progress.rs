//! What an exploration tells while it runs. It knows no host clock: rates are the listener's.

use super::shrink::ShrinkLimits;

/// Where an exploration stands after a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundStats {
    /// Rounds done.
    pub round: u64,
    /// Rounds to do.
    pub of: u64,
    /// Branches run so far.
    pub branches: u64,
    /// Edges taken by any branch.
    pub edges: u64,
    /// Recipes kept.
    pub corpus: usize,
    /// Moments kept to fork from.
    pub frontier: usize,
    /// Different bugs found.
    pub bugs: usize,
}

/// Listens to an exploration. It may set the stop flag it gave along.
pub trait Progress {
    /// A round is done.
    fn round(&mut self, stats: &RoundStats) {
        let _ = stats;
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
