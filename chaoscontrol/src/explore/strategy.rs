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
}

impl Strategy {
    /// All of them, the simplest first.
    pub const ALL: [Strategy; 3] = [Strategy::Random, Strategy::Snapshots, Strategy::Guided];

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Strategy::Random => "random",
            Strategy::Snapshots => "snapshots",
            Strategy::Guided => "guided",
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
#[error("there is no strategy `{0}`; there are {names}", names = Strategy::ALL.map(Strategy::name).join(", "))]
pub struct UnknownStrategy(String);

as_text!(Strategy);

impl FromStr for Strategy {
    type Err = UnknownStrategy;

    fn from_str(text: &str) -> Result<Strategy, UnknownStrategy> {
        let found = Strategy::ALL.into_iter().find(|s| s.name() == text);
        found.ok_or_else(|| UnknownStrategy(text.to_owned()))
    }
}
