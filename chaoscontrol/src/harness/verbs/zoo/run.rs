//! One search for one bug.

use std::fmt;

use super::super::super::count::count;
use super::super::super::search::{options, search};
use super::super::super::world::World;
use super::Planted;
use crate::explore::{Bug, Cost, Options, Shrunk, Strategy};
use crate::fault::FaultSchedule;

/// What came of it, in figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The bug's name.
    pub bug: String,
    /// How it was looked for.
    pub strategy: Strategy,
    /// The search's seed.
    pub seed: u64,
    /// Whether it was found.
    pub found: bool,
    /// Faults of the schedule that shows it, after shrinking, if that was asked for.
    pub faults: Option<u64>,
    /// What it took to find it; where it was not found, the whole budget.
    pub cost: Cost,
}

/// All that came of it.
pub struct Looked {
    /// The figures.
    pub run: Run,
    /// What shows the bug, if it was found and was to be shrunk.
    pub shrunk: Option<Shrunk>,
    /// A failure that is not the bug's.
    pub other: Option<String>,
}

impl Looked {
    /// Looks for `bug`, and shrinks what it finds.
    ///
    /// # Errors
    /// Trouble of the host.
    pub fn new(
        bug: &Planted,
        world: &World,
        strategy: Strategy,
        seed: u64,
        budget: u64,
        shrink: bool,
    ) -> Result<Looked, String> {
        let options = Options {
            seed,
            strategy,
            rounds: u64::MAX,
            instructions: Some(budget),
            wanted: Some(bug.expected.to_owned()),
            ..options(world, Vec::new())
        };
        let is_it = |found: &Bug| is_it(bug.expected, budget, found);
        let searched = search(bug.case, world, options, |bugs| {
            let most = usize::from(shrink);
            let bugs = bugs.iter().filter(|found| is_it(found));
            bugs.take(most).collect()
        });
        let searched = searched.map_err(|e| e.to_string())?;
        let bugs = &searched.outcome.bugs;
        let found = bugs.iter().find(|found| is_it(found));
        let other = bugs.iter().find(|found| !shows(bug.expected, found));
        let run = Run {
            bug: bug.name(),
            strategy,
            seed,
            found: found.is_some(),
            faults: searched
                .shrunk
                .first()
                .map(|shrunk| shrunk.bug.recipe.schedule.len() as u64),
            cost: match found {
                Some(found) => found.cost,
                None => Cost {
                    branches: searched.totals.branches,
                    instructions: budget,
                },
            },
        };
        Ok(Looked {
            run,
            other: other.map(|bug| bug.failure.describe(bug.start_ns)),
            shrunk: searched.shrunk.into_iter().next(),
        })
    }
}

/// Whether `found` is the bug that fails with `expected`.
fn shows(expected: &str, found: &Bug) -> bool {
    let failure = found.failure.describe(found.start_ns);
    failure.contains(expected)
}

/// Whether that took no more than `budget`, too: a round that begins within it may end beyond.
fn is_it(expected: &str, budget: u64, found: &Bug) -> bool {
    shows(expected, found) && found.cost.instructions <= budget
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Run {
            bug,
            strategy,
            seed,
            found,
            faults,
            cost,
        } = self;
        write!(f, "{bug}, {strategy}, seed {seed}: ")?;
        match found {
            true => f.write_str("found after ")?,
            false => f.write_str("not found in ")?,
        }
        let giga = cost.instructions as f64 / 1e9;
        write!(
            f,
            "{} and {giga:.2} G instructions",
            count(cost.branches, "branch")
        )?;
        match faults {
            Some(faults) => write!(f, ", shrunk to {}", count(*faults, "fault")),
            None => Ok(()),
        }
    }
}

/// The schedule of `shrunk`, as `schedule = ".."` reads it, below what it is.
pub fn schedule(run: &Run, shrunk: &Shrunk) -> String {
    let (bug, recipe) = (&shrunk.bug, &shrunk.bug.recipe);
    let failure = bug.failure.describe(bug.start_ns);
    let words = format!("{run}\n{failure}\nseed = {:#x}", recipe.seed);
    below(&words, &recipe.schedule)
}

/// `schedule` below comments, a line each; what a failure tells of may take several.
fn below(words: &str, schedule: &FaultSchedule) -> String {
    let comments: String = words.lines().map(|line| format!("# {line}\n")).collect();
    format!("{comments}{schedule}")
}

/// All that decides a run, in words without blanks.
pub fn key(bug: &Planted, world: &World, strategy: Strategy, seed: u64, budget: u64) -> String {
    let booted = &world.booted;
    let code = booted.initramfs.hash ^ booted.kernel.hash;
    let name = bug.name();
    format!("{code:032x} {name} {strategy} {seed} {budget}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explore::Recipe;
    use crate::oracle::{Failure, FailureKind};

    #[test]
    fn what_is_found_beyond_the_budget_is_missed() {
        let kind = FailureKind::BodyError("two leaders in term 3".to_owned());
        let bug = Bug {
            failure: Failure::new(0, 0, kind),
            recipe: Recipe::default(),
            applied: Vec::new(),
            round: 1,
            branch: 1,
            start_ns: None,
            cost: Cost {
                branches: 2,
                instructions: 100,
            },
            state_hash: 0,
        };
        assert!(is_it("two leaders", 100, &bug));
        assert!(!is_it("two leaders", 99, &bug) && !is_it("stale", 100, &bug));
    }

    #[test]
    fn a_schedule_is_read_again_below_a_failure_of_several_lines() {
        let schedule: FaultSchedule = "+1 s kill vm 0\n+2 s heal".parse().unwrap();
        let text = below("it broke\n    index = 1\nseed = 0x7", &schedule);
        assert!(
            text.contains("\n#     index = 1\n# seed = 0x7\n+"),
            "{text}"
        );
        assert_eq!(text.parse(), Ok(schedule));
    }
}
