//! A chaos test from its settings to its verdict: what was recorded first, then the fixed
//! schedule or the exploration.

use std::env;
use std::fs;

use libtest_mimic::Failed;

use super::again::again;
use super::count::count;
use super::engine;
use super::entry::Package;
use super::explored::{self, found};
use super::registry::{Schedule, TestCase};
use super::regression::Store;
use super::rerun::{rerun, spread};
use super::search::{Searched, options, search};
use super::signals;
use super::summary::Summary;
use super::trial::should_panic;
use super::verdict::{Found, Teller};
use super::world::{self, World};
use crate::explore::{Ended, Recipe};
use crate::fault::{FaultSchedule, TextError};
use crate::image::BaseImage;

/// Names a recorded failure to be run again, instead of the test.
const REPLAY: &str = "CHAOS_REPLAY";

/// With a value other than 0, an exploration goes on from its checkpoint.
const RESUME: &str = "CHAOS_RESUME";

fn say(line: &str) {
    eprintln!("chaoscontrol: {line}");
}

fn failed(error: impl std::fmt::Display) -> Failed {
    Failed::from(error.to_string())
}

/// Runs a chaos test.
///
/// # Errors
/// The report of its failure, or why it cannot be run.
pub fn run(case: &TestCase, package: Package) -> Result<(), Failed> {
    if signals::stopped() {
        return Err(failed("interrupted before it began"));
    }
    let store = Store::of(case, &package);
    if let Some(id) = env::var_os(REPLAY).filter(|id| !id.is_empty()) {
        return replay(case, package, &store, &id.to_string_lossy());
    }
    let settings = world::settings(case, &package).map_err(failed)?;
    if env::var("CHAOS_SEED").is_ok_and(|seed| seed == "random") {
        say(&format!("{}: CHAOS_SEED={:#x}", case.name(), settings.seed));
    }
    let world = World::new(case, &package, settings, &say).map_err(failed)?;
    let teller = Teller {
        case,
        package,
        store: &store,
        world: &world,
    };
    let outcome = match (case.attributes.schedule, case.should_panic) {
        (Some(schedule), _) => fixed(&teller, schedule),
        (None, Some(expected)) => demand(&teller, expected),
        (None, None) => explore(&teller),
    };
    undisturbed(&world, outcome)
}

/// The outcome of a run in `world`, unless somebody changed what it was made from.
fn undisturbed(world: &World, outcome: Result<(), Failed>) -> Result<(), Failed> {
    let checked = world.booted.disk.as_ref().map(BaseImage::check);
    let Some(Err(changed)) = checked else {
        return outcome;
    };
    let found = outcome.err();
    let found = found.as_ref().and_then(Failed::message);
    let found = found.map_or(String::new(), |found| format!("\nit found this: {found}"));
    Err(failed(format!("{changed}{found}")))
}

/// Runs the recorded failure `id` again, and nothing else.
fn replay(case: &TestCase, package: Package, store: &Store, id: &str) -> Result<(), Failed> {
    let recorded = store.find(id).map_err(failed)?;
    let again = again(case, &package, &recorded, &say)?;
    let teller = Teller {
        case,
        package,
        store,
        world: &again.world,
    };
    let Some(found) = again.found() else {
        return Err(failed(again.absent(&recorded)));
    };
    undisturbed(&again.world, Err(teller.known(&found, id)))
}

/// The one branch of a test with a schedule of its own.
fn fixed(teller: &Teller<'_>, schedule: Schedule) -> Result<(), Failed> {
    let schedule = read(&teller.package, schedule)?;
    let settings = &teller.world.settings;
    schedule
        .check(settings.vms as usize, settings.duration_ns)
        .map_err(|e| failed(format!("schedule: {e}")))?;
    let recipe = Recipe {
        seed: settings.seed,
        schedule,
        ..Recipe::default()
    };
    let stops = spread(settings.duration_ns.saturating_add(settings.quiet_ns));
    let branch = rerun(&teller.world.scenario, &recipe, &stops).map_err(failed)?;
    let found = branch.failure.clone().map(|failure| Found {
        failure,
        notes: vec!["found with the test's own schedule".into()],
        remarks: Vec::new(),
        recipe,
        rerun: Some(branch),
    });
    let text = found.as_ref().map(|found| teller.describe(found));
    match (teller.case.should_panic, found) {
        (Some(expected), found) => match should_panic(text.as_deref(), expected) {
            Ok(()) => Ok(()),
            Err(why) => Err(match found {
                Some(found) => teller.new_failure(&found),
                None => failed(why),
            }),
        },
        (None, Some(found)) => Err(teller.new_failure(&found)),
        (None, None) => Ok(()),
    }
}

fn read(package: &Package, schedule: Schedule) -> Result<FaultSchedule, Failed> {
    let name = match schedule {
        Schedule::Function(function) => return Ok(function()),
        Schedule::File(name) => name,
    };
    let path = package.folder().join(name);
    let wrong = |why: String| failed(format!("schedule {}: {why}", path.display()));
    let text = fs::read_to_string(&path).map_err(|e| wrong(e.to_string()))?;
    text.parse().map_err(|e: TextError| wrong(e.to_string()))
}

/// Explores for a failure that has to be found.
fn demand(teller: &Teller<'_>, expected: Option<&str>) -> Result<(), Failed> {
    let is_it = |text: &str| expected.is_none_or(|expected| text.contains(expected));
    let world = teller.world;
    let begin = explored::begin(teller, options(world, Vec::new()), resume()).map_err(failed)?;
    let mut searched = search(teller.case, world, begin, |bugs| {
        let mut texts = bugs.iter().map(|bug| bug.failure.describe(bug.start_ns));
        // What is expected is not reported.
        let first = bugs.first().filter(|_| !texts.any(|text| is_it(&text)));
        first.into_iter().collect()
    })
    .map_err(failed)?;
    let outcome = &searched.outcome;
    let met = outcome
        .bugs
        .iter()
        .map(|bug| (bug, bug.failure.describe(bug.start_ns)))
        .find(|(_, text)| is_it(text));
    if let Some((bug, text)) = met {
        let name = teller.case.name();
        println!(
            "{name}: fails as it should, in round {}, branch {}: {text}",
            bug.round, bug.branch
        );
        return Ok(());
    }
    if let Some(failure) = outcome
        .judged
        .iter()
        .find(|failure| is_it(&failure.describe(None)))
    {
        println!(
            "{}: fails as it should: {}",
            teller.case.name(),
            failure.describe(None)
        );
        return Ok(());
    }
    let rounds = outcome.stats.round;
    match verdict(teller, &searched)? {
        Some(found) => Err(kept(&mut searched, teller.unexpected(&found, expected))),
        None => should_panic(None, expected)
            .map_err(|why| failed(format!("{why} {} of exploration", count(rounds, "round")))),
    }
}

/// Keeps the report of the bug that was shrunk, too.
fn kept(searched: &mut Searched, report: Failed) -> Failed {
    let text = report.message().unwrap_or_default();
    if let (Some(recorder), Some(shrunk)) = (&mut searched.recorder, searched.shrunk.first()) {
        recorder.shrunk(&shrunk.bug, text);
    }
    report
}

/// Whether somebody wants explorations to go on.
fn resume() -> bool {
    env::var(RESUME).is_ok_and(|value| !value.is_empty() && value != "0")
}

/// Recorded failures, newest first, then an exploration around them.
fn explore(teller: &Teller<'_>) -> Result<(), Failed> {
    let recorded = teller.store.checked_in().map_err(failed)?;
    let mut tried = Vec::new();
    for old in recorded.iter().rev() {
        let again = again(teller.case, &teller.package, old, &say)?;
        let Some(found) = again.found() else {
            let mut line = format!(
                "{}: recorded failure {} does not fail any more",
                teller.case.name(),
                old.id
            );
            if let Some(why) = engine::missing(old, again.world.booted.engine) {
                line += &format!("; {why}");
            }
            say(&line);
            tried.extend(again.tried);
            continue;
        };
        return Err(Teller {
            world: &again.world,
            ..*teller
        }
        .known(&found, &old.id));
    }
    let settings = &teller.world.settings;
    let options = options(teller.world, explored::initial(tried, settings));
    let begin = explored::begin(teller, options, resume()).map_err(failed)?;
    let searched = search(teller.case, teller.world, begin, |bugs| {
        bugs.first().into_iter().collect()
    });
    let mut searched = searched.map_err(failed)?;
    if let Some(found) = verdict(teller, &searched)? {
        return Err(kept(&mut searched, teller.new_failure(&found)));
    }
    let summary = Summary {
        name: &teller.case.name(),
        seed: settings.seed,
        engine: teller.world.booted.engine,
        unreproducible: teller.world.booted.unreproducible,
        stats: &searched.outcome.stats,
        totals: &searched.totals,
        verdicts: &searched.verdicts,
        findability: searched.outcome.findability,
        elapsed: searched.elapsed,
    };
    print!("{}", summary.render());
    Ok(())
}

/// What an exploration ended with, if that is a failure.
///
/// # Errors
/// It was ended before it found anything, or the host is in trouble.
fn verdict(teller: &Teller<'_>, searched: &Searched) -> Result<Option<Found>, Failed> {
    if let Some(shrunk) = searched.shrunk.first() {
        return found(teller, searched, shrunk).map(Some).map_err(failed);
    }
    let outcome = &searched.outcome;
    let stats = &outcome.stats;
    if outcome.ended == Ended::Stopped {
        let why = if searched.out_of_time {
            "ran out of time"
        } else {
            "interrupted"
        };
        return Err(failed(format!(
            "{why} at round {} of {}; {} found no failure",
            stats.round,
            stats.of,
            count(stats.branches, "branch")
        )));
    }
    if teller.world.settings.shard.is_some() && !outcome.judged.is_empty() {
        let name = teller.case.name();
        say(&format!(
            "{name}: {} met in this shard; `cargo chaos report` judges all shards together",
            count(outcome.judged.len() as u64, "property not")
        ));
        return Ok(None);
    }
    let mut judged = outcome.judged.iter();
    Ok(judged.next().map(|first| Found {
        failure: first.clone(),
        notes: vec![format!(
            "judged after {}, {}",
            count(stats.round, "round"),
            count(stats.branches, "branch")
        )],
        remarks: judged
            .map(|failure| format!("also: {}", failure.describe(None)))
            .collect(),
        recipe: Recipe::default(),
        rerun: None,
    }))
}
