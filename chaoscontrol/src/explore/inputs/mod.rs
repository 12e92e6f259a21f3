//! The other half of what a search decides: not the faults, but what guests are answered when
//! they ask for a random value. Branches that differ in one answer are the same up to there,
//! which makes a tree of them.

mod plan;
#[cfg(test)]
mod tests;
mod text;
mod tree;

use serde::{Deserialize, Serialize};

pub use text::NoInput;
pub use tree::InputTree;

/// The answer to one call of a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Input {
    /// The VM.
    pub vm: usize,
    /// Which of its calls since the setup, from 1, through all of its lives. `get_random` counts,
    /// and `random_choice` among two options at least.
    pub number: u64,
    /// Options of a `random_choice`; 0 stands for `get_random`. Where the call turns out to have
    /// others, as code has changed, it is answered by chance.
    pub options: u64,
    /// The answer, below `options` if there are any.
    pub answer: u64,
}

/// A call that a branch made: where another answer leads elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChoicePoint {
    /// Virtual ns after setup.
    pub at_ns: u64,
    /// The call and how it was answered.
    pub input: Input,
}
