//! How the next branch is chosen: the search itself, and the simpler ones that it has to beat.

use std::fmt;
use std::str::FromStr;

use crate::encoding::as_text;

/// Where a search takes its next branch from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strategy {
    /// Every branch begins at the start state, with a schedule drawn afresh.
    Random,
    /// Branches begin there or at a snapshot of an earlier one, whatever that showed, and go on
    /// with faults drawn afresh.
    Snapshots,
    /// What earlier branches showed decides which of their snapshots and schedules to vary.
    #[default]
    Guided,
    /// The same, and branches that differ from an earlier one in what a guest was answered when
    /// it asked for a random value.
    Hybrid,
    /// Only those: no faults.
    Inputs,
}

impl Strategy {
    /// Those that look for any bug, the simplest first.
    pub const ALL: [Strategy; 4] = [
        Strategy::Random,
        Strategy::Snapshots,
        Strategy::Guided,
        Strategy::Hybrid,
    ];

    /// Whether it answers guests' calls for random values otherwise than they were.
    pub fn varies_inputs(self) -> bool {
        matches!(self, Strategy::Hybrid | Strategy::Inputs)
    }

    /// Whether what earlier branches showed decides which faults to vary, and how.
    pub(super) fn guided(self) -> bool {
        matches!(self, Strategy::Guided | Strategy::Hybrid)
    }

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Strategy::Random => "random",
            Strategy::Snapshots => "snapshots",
            Strategy::Guided => "guided",
            Strategy::Hybrid => "hybrid",
            Strategy::Inputs => "inputs",
        }
    }
}

/// What a test lets its search vary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Faults.
    #[default]
    Faults,
    /// What guests are answered when they ask for random values; there are no faults.
    Inputs,
    /// Both.
    Hybrid,
}

impl Mode {
    /// All of them, in the order of [`Mode::WORDS`].
    pub const ALL: [Mode; 3] = [Mode::Faults, Mode::Inputs, Mode::Hybrid];
    /// How they are written.
    pub const WORDS: [&str; 3] = ["faults", "inputs", "hybrid"];

    /// How branches are chosen.
    pub fn strategy(self) -> Strategy {
        match self {
            Mode::Faults => Strategy::Guided,
            Mode::Inputs => Strategy::Inputs,
            Mode::Hybrid => Strategy::Hybrid,
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no strategy of that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no strategy `{0}`; there are {names}", names = Strategy::ALL.map(Strategy::name).join(", ") + ", inputs")]
pub struct UnknownStrategy(String);

as_text!(Strategy);

impl FromStr for Strategy {
    type Err = UnknownStrategy;

    fn from_str(text: &str) -> Result<Strategy, UnknownStrategy> {
        let mut all = Strategy::ALL.into_iter().chain([Strategy::Inputs]);
        let found = all.find(|s| s.name() == text);
        found.ok_or_else(|| UnknownStrategy(text.to_owned()))
    }
}
