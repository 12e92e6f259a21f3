//! Runs a recorded branch once more, also on code that has changed since: then by virtual time
//! first, and if it does not fail so, by what its faults followed.

use std::sync::Arc;

use libtest_mimic::Failed;

use super::compared::{self, Way, compared};
use super::entry::Package;
use super::labels::{Heard, resolve};
use super::registry::TestCase;
use super::regression::Recorded;
use super::rerun::{Rerun, RerunError, rerun};
use super::settings::Settings;
use super::verdict::Found;
use super::world::{self, World};
use crate::explore::Recipe;
use crate::explore::simulation::Scenario;
use crate::fault::FaultSchedule;
use crate::oracle::Failure;

/// A recorded branch that was run once more.
pub struct Again {
    /// The world that it was recorded in.
    pub world: World,
    /// What was run: the recorded recipe, or that with the times that its labels have by now.
    pub recipe: Recipe,
    /// The run.
    pub branch: Rerun,
    /// How it compares with the record, in words.
    pub notes: Vec<String>,
    /// All schedules that were tried, the recorded one first.
    pub tried: Vec<FaultSchedule>,
}

impl Again {
    /// How it failed, if it did.
    pub fn failure(&self) -> Option<&Failure> {
        self.branch.failure.as_ref()
    }

    /// What there is to tell if it failed.
    pub fn found(&self) -> Option<Found> {
        Some(Found {
            failure: self.branch.failure.clone()?,
            notes: self.notes.clone(),
            remarks: Vec::new(),
            recipe: self.recipe.clone(),
            rerun: Some(self.branch.clone()),
        })
    }

    /// What there is to tell if it did not.
    pub fn absent(&self, recorded: &Recorded) -> String {
        format!(
            "{} {:?}, recorded as {}, did not fail when it was run again\n  {}",
            recorded.bug.kind,
            recorded.bug.message,
            recorded.id,
            self.notes.join("\n  ")
        )
    }
}

/// Runs a recorded branch in the world that it was recorded in.
///
/// # Errors
/// Trouble of the host.
pub fn again(
    case: &TestCase,
    package: &Package,
    recorded: &Recorded,
    say: &dyn Fn(&str),
) -> Result<Again, Failed> {
    let failed = |error: RerunError| Failed::from(error.to_string());
    let settings = world::settings(case, package).map_err(|e| Failed::from(e.to_string()))?;
    let settings = Settings {
        engine: settings.engine.for_replay(recorded),
        ..recorded.settings.applied_to(&settings)
    };
    let world =
        World::new(case, package, settings, say).map_err(|e| Failed::from(e.to_string()))?;
    let changed = recorded.changed(&world.booted).is_some();
    let Ran {
        recipe,
        branch,
        way,
        tried,
    } = run(&world.scenario, recorded, changed).map_err(failed)?;
    let notes = compared(&world, recorded, &branch, way).map_err(failed)?;
    Ok(Again {
        world,
        recipe,
        branch,
        notes,
        tried,
    })
}

/// What was run of a record.
struct Ran {
    recipe: Recipe,
    branch: Rerun,
    way: Way,
    tried: Vec<FaultSchedule>,
}

/// Runs `recorded`; if what it runs on has `changed`, in each way until it fails as recorded. If none
/// does it is the first that fails at all, or else the first.
fn run(scenario: &Arc<Scenario>, recorded: &Recorded, changed: bool) -> Result<Ran, RerunError> {
    let stops = compared::stops(recorded);
    let same = |branch: &Rerun| {
        let failure = branch.failure.as_ref();
        failure.is_some_and(|failure| failure.id() == recorded.bug)
    };
    let branch = rerun(scenario, &recorded.recipe, &stops)?;
    let by_time = Ran {
        recipe: recorded.recipe.clone(),
        way: Way::Time,
        tried: vec![recorded.recipe.schedule.clone()],
        branch,
    };
    if !changed || same(&by_time.branch) || recorded.labels.iter().all(Option::is_none) {
        return Ok(by_time);
    }
    let with = |schedule| Recipe {
        schedule,
        ..recorded.recipe.clone()
    };
    let duration_ns = scenario.cluster.duration_ns;
    let schedule = &recorded.recipe.schedule;
    let schedule = resolve(schedule, &recorded.labels, duration_ns, |schedule| {
        Ok::<_, RerunError>(Heard::of(&rerun(scenario, &with(schedule), &[])?))
    })?;
    let recipe = with(schedule);
    let mut by_time = Ran {
        way: Way::Neither,
        ..by_time
    };
    if recipe == recorded.recipe {
        return Ok(by_time);
    }
    by_time.tried.push(recipe.schedule.clone());
    let branch = rerun(scenario, &recipe, &stops)?;
    let by_labels = same(&branch);
    if by_labels || (by_time.branch.failure.is_none() && branch.failure.is_some()) {
        return Ok(Ran {
            recipe,
            branch,
            way: if by_labels { Way::Labels } else { Way::Neither },
            tried: by_time.tried,
        });
    }
    Ok(by_time)
}
