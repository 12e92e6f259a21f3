//! A chaos test from its settings to its verdict: what was recorded first, then the fixed
//! schedule or the exploration.

use std::collections::BTreeMap;
use std::env;
use std::fs;

use libtest_mimic::Failed;

use super::entry::Package;
use super::registry::{Schedule, TestCase};
use super::regression::{Recorded, Saved, Store};
use super::report::{self, Report};
use super::rerun::{Rerun, rerun};
use super::symbolize::Symbolizer;
use super::trial::should_panic;
use super::world::{self, World};
use crate::explore::Recipe;
use crate::fault::FaultSchedule;
use crate::oracle::{Failure, FailureKind};

/// Names a recorded failure to be run again, instead of the test.
const REPLAY: &str = "CHAOS_REPLAY";

/// A failure with all that there is to say about it.
struct Found {
    failure: Failure,
    notes: Vec<String>,
    recipe: Recipe,
    /// The branch once more, with its timeline; none for what only many branches show.
    rerun: Option<Rerun>,
}

struct Test<'a> {
    case: &'a TestCase,
    package: Package,
    store: Store,
}

fn say(line: &str) {
    eprintln!("chaoscontrol: {line}");
}

fn error(error: impl std::fmt::Display) -> Failed {
    Failed::from(error.to_string())
}

/// Runs a chaos test.
///
/// # Errors
/// The report of its failure, or why it cannot be run.
pub fn run(case: &TestCase, package: Package) -> Result<(), Failed> {
    let test = Test {
        case,
        package,
        store: Store::new(&package, &case.name(), case.should_panic.is_none()),
    };
    if let Some(id) = env::var_os(REPLAY).filter(|id| !id.is_empty()) {
        return test.replay(&id.to_string_lossy());
    }
    let settings = world::settings(case, &package).map_err(error)?;
    let world = World::new(case, &package, settings, &say).map_err(error)?;
    match case.attributes.schedule {
        Some(schedule) => test.fixed(&world, schedule),
        None => Err(Failed::from("exploration is not part of this version yet")),
    }
}

impl Test<'_> {
    /// The one branch of a test with a schedule of its own.
    fn fixed(&self, world: &World, schedule: Schedule) -> Result<(), Failed> {
        let schedule = self.schedule(schedule)?;
        let settings = &world.settings;
        let checked = schedule.check(settings.vms as usize, settings.duration_ns);
        checked.map_err(|e| Failed::from(format!("schedule: {e}")))?;
        let recipe = Recipe {
            seed: settings.seed,
            reseeds: Vec::new(),
            schedule,
        };
        let branch = rerun(&world.scenario, &recipe).map_err(error)?;
        let found = branch.failure.clone().map(|failure| Found {
            failure,
            notes: vec!["with the schedule of the test".into()],
            recipe,
            rerun: Some(branch),
        });
        self.judge(world, found)
    }

    fn schedule(&self, schedule: Schedule) -> Result<FaultSchedule, Failed> {
        match schedule {
            Schedule::Function(function) => Ok(function()),
            Schedule::File(name) => {
                let path = self.package.folder().join(name);
                let wrong =
                    |why: String| Failed::from(format!("schedule {}: {why}", path.display()));
                let text = fs::read_to_string(&path).map_err(|e| wrong(e.to_string()))?;
                text.parse()
                    .map_err(|e: crate::fault::TextError| wrong(e.to_string()))
            }
        }
    }

    /// Runs the recorded failure `id` again, and nothing else.
    fn replay(&self, id: &str) -> Result<(), Failed> {
        let recorded = self.store.find(id).map_err(error)?;
        let settings = world::settings(self.case, &self.package).map_err(error)?;
        let settings = recorded.settings.applied_to(&settings);
        let world = World::new(self.case, &self.package, settings, &say).map_err(error)?;
        let branch = rerun(&world.scenario, &recorded.recipe).map_err(error)?;
        let notes = self.compared(&world, &recorded, &branch);
        let Some(failure) = branch.failure.clone() else {
            return Err(Failed::from(format!(
                "{} {:?} (recorded as {id}) did not fail when it was run again\n  {}",
                recorded.bug.kind,
                recorded.bug.message,
                notes.join("\n  ")
            )));
        };
        let found = Found {
            failure,
            notes,
            recipe: recorded.recipe,
            rerun: Some(branch),
        };
        Err(Failed::from(self.report(&world, &found, None, Some(id))))
    }

    /// How a run compares with its record, in words.
    fn compared(&self, world: &World, recorded: &Recorded, branch: &Rerun) -> Vec<String> {
        let mut notes = vec![format!("recorded: {}", recorded.found)];
        if let Some(changed) = recorded.changed(&world.booted) {
            notes.push(format!(
                "recorded with another {changed}: replayed by virtual time"
            ));
        }
        notes.push(if branch.state_hash == recorded.state {
            format!("replayed exactly: state {:016x}", branch.state_hash)
        } else {
            format!(
                "diverged: state {:016x}, recorded {:016x}",
                branch.state_hash, recorded.state
            )
        });
        notes
    }

    /// The verdict: what a test that is to fail makes of its failure, and what an ordinary
    /// one reports and records.
    fn judge(&self, world: &World, found: Option<Found>) -> Result<(), Failed> {
        if let Some(expected) = self.case.should_panic {
            let text = found.map(|found| self.report(world, &found, None, None));
            return should_panic(text.as_deref(), expected).map_err(Failed::from);
        }
        let Some(found) = found else { return Ok(()) };
        let recorded = found.rerun.as_ref().map(|branch| {
            Recorded::new(
                found.failure.id(),
                found.notes.first().cloned().unwrap_or_default(),
                found.recipe.clone(),
                &world.settings,
                &world.booted,
                branch.state_hash,
            )
        });
        let saved = recorded.as_ref().map(|recorded| self.store.save(recorded));
        let id = recorded.as_ref().map(|recorded| recorded.id.as_str());
        if env::var_os("GITHUB_ACTIONS").is_some() {
            let start = found.rerun.as_ref().and_then(|branch| branch.start_ns);
            let here = (self.case.file, self.case.line);
            println!(
                "{}",
                report::annotation(&self.case.name(), &found.failure, start, here)
            );
        }
        Err(Failed::from(self.report(world, &found, saved.as_ref(), id)))
    }

    fn report(
        &self,
        world: &World,
        found: &Found,
        saved: Option<&Saved>,
        id: Option<&str>,
    ) -> String {
        let branch = found.rerun.as_ref();
        let nextest = env::var_os("NEXTEST").is_some();
        let command = |id| {
            let ignored = self.case.ignore.is_some();
            report::replay_command(id, &self.package, &self.case.name(), ignored, nextest)
        };
        Report {
            failure: &found.failure,
            start_ns: branch.and_then(|branch| branch.start_ns),
            notes: found.notes.clone(),
            schedule: &found.recipe.schedule,
            timeline: branch.map_or(&[], |branch| &branch.timeline),
            vms: world.settings.vms as usize,
            backtrace: backtrace(world, &found.failure),
            state: branch.map(|branch| branch.state_hash),
            kernel: world.booted.kernel.hash,
            saved,
            package: &self.package.folder(),
            replay: id.map(command),
        }
        .render()
    }
}

/// The frames of a panic, with names.
fn backtrace(world: &World, failure: &Failure) -> Vec<String> {
    let FailureKind::Panic { backtrace, .. } = &failure.kind else {
        return Vec::new();
    };
    let programs = world.booted.initramfs.programs.iter();
    let hosts: BTreeMap<_, _> = programs
        .map(|file| (file.guest_path.clone(), file.host_path.clone()))
        .collect();
    Symbolizer::new(hosts).backtrace(backtrace)
}
