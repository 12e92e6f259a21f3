//! Properties and their verdicts across runs.
//!
//! A [`PropertyOracle`] watches one branch: it is part of what a snapshot of the cluster
//! holds, since what it remembers of a branch forks with that branch. [`Verdicts`] sum
//! up branches, and judge at the end what never came true. What clients did and were
//! answered is a [`history`], which a test judges as a whole.

mod branch;
mod describe;
mod encoding;
mod failure;
pub mod history;
mod verdicts;

pub use branch::{PropertyOracle, Seen};
pub use failure::{Failure, FailureId, FailureKind, Moment, Observed, Place, Property};
pub use verdicts::{Verdict, Verdicts};
