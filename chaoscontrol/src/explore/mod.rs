//! The search for failing fault schedules.
//!
//! The [`Explorer`] plans rounds of branches, has them run by a [`Batch`] of [`Runner`]s,
//! and merges what they show in the order in which they were planned, so that the outcome
//! does not depend on how many workers there are. It knows nothing of machines: a branch
//! is a [`Recipe`], and what comes back is a [`BranchResult`].

mod aimed;
mod corpus;
mod coverage;
mod explorer;
mod findability;
mod frontier;
mod guidance;
mod inputs;
mod kinds;
mod milder;
mod mutate;
mod plan;
mod progress;
mod runner;
mod shrink;
pub mod simulation;
mod strategy;
#[cfg(test)]
mod synthetic;
mod totals;
mod unite;
mod workers;

pub use aimed::Aimed;
pub use corpus::{Corpus, Kept};
pub use coverage::{Coverage, CoverageMap, Novelty};
pub use explorer::{Bug, Cost, Ended, Explorer, Options, Outcome};
pub use findability::Findability;
pub use frontier::Frontier;
pub use guidance::Guidance;
pub use inputs::{ChoicePoint, Input, InputTree, NoInput};
pub use mutate::Mutator;
pub use progress::{Progress, RoundStats, Silent, Standing};
pub use runner::{
    Batch, BranchResult, BranchStats, Job, Offered, Recipe, Reseed, Runner, RunnerError,
    RunnerFactory,
};
pub use shrink::{ShrinkLimits, Shrinker, Shrunk};
pub use strategy::{Mode, Strategy, UnknownStrategy};
pub use totals::Totals;
pub use workers::Workers;
