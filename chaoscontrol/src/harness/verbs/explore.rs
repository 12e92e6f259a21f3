//! `cargo chaos run` and `cargo chaos resume`: an exploration that does not end with the first
//! bug, whose bugs are all shrunk and written down.

use std::collections::BTreeSet;
use std::process::ExitCode;

use super::Arguments;
use crate::explore::{Bug, Ended, Mode, Strategy};
use crate::harness::count::count;
use crate::harness::explored::{begin, found, initial};
use crate::harness::folder::{self, Recorder};
use crate::harness::regression::Store;
use crate::harness::search::{Searched, options, search};
use crate::harness::settings::Settings;
use crate::harness::shard::Shard;
use crate::harness::signals;
use crate::harness::verdict::Teller;

/// What the command line says about the exploration.
#[derive(Default)]
struct Wanted {
    rounds: Option<u64>,
    seed: Option<u64>,
    mode: Option<Strategy>,
    workers: Option<u64>,
    time_ns: Option<u64>,
    shard: Option<Shard>,
}

impl Wanted {
    fn take(arguments: &mut Arguments) -> Result<Wanted, String> {
        Ok(Wanted {
            rounds: arguments.value("--rounds", "a number of at least 1", |text| {
                text.parse().ok().filter(|rounds| *rounds > 0)
            })?,
            seed: arguments.value("--seed", "a number", Settings::read_seed)?,
            mode: arguments.value(
                "--mode",
                "random, snapshots, guided or faults, hybrid or inputs",
                // The attribute's word for it is known here, too.
                |text| match text {
                    "faults" => Some(Mode::Faults.strategy()),
                    other => other.parse().ok(),
                },
            )?,
            workers: arguments.value("--workers", "a number up to 1024", |text| {
                text.parse().ok().filter(|workers| *workers <= 1024)
            })?,
            time_ns: arguments.value("--time", "a time such as 10m", Settings::read_time)?,
            shard: arguments.value("--shard", Shard::WANTED, |text| text.parse().ok())?,
        })
    }

    fn apply(&self, settings: &mut Settings) {
        settings.rounds = self.rounds.unwrap_or(settings.rounds);
        settings.seed = self.seed.unwrap_or(settings.seed);
        settings.workers = self.workers.unwrap_or(settings.workers);
        // What `--time` found is shrunk after it.
        settings.wall_limit_ns = 0;
        settings.shard = self.shard.or(settings.shard);
    }
}

/// Explores from the beginning.
pub fn run(arguments: Arguments) -> Result<ExitCode, String> {
    explore(arguments, false)
}

/// Goes on from the checkpoint.
pub fn resume(arguments: Arguments) -> Result<ExitCode, String> {
    explore(arguments, true)
}

fn explore(mut arguments: Arguments, resume: bool) -> Result<ExitCode, String> {
    signals::listen();
    let wanted = Wanted::take(&mut arguments)?;
    let case = arguments.test()?;
    let world = arguments.world_of(case, |settings| wanted.apply(settings))?;
    let keeps = case.should_panic.is_none() && case.attributes.schedule.is_none();
    let store = Store::new(&arguments.package, &case.name(), keeps);
    let teller = Teller {
        case,
        package: arguments.package,
        store: &store,
        world: &world,
    };
    let recorded = store.checked_in().map_err(|e| e.to_string())?;
    let newest_first = recorded.into_iter().rev();
    let schedules = newest_first.map(|old| old.recipe.schedule).collect();
    let mut options = options(&world, initial(schedules, &world.settings));
    options.stop_at_failure = false;
    options.strategy = wanted.mode.unwrap_or(options.strategy);
    let mut begin = begin(&teller, options, resume)?;
    begin.time_ns = wanted.time_ns.unwrap_or(0);
    let keep = begin.keep.as_ref();
    let folder = keep.map(|keep| keep.folder.clone());
    let folder = folder.ok_or("the exploration has no folder")?;
    if resume && keep.is_none_or(|keep| keep.state.is_none()) {
        return Err(format!(
            "there is no checkpoint in {}: `cargo chaos run` begins an exploration",
            folder.path().display()
        ));
    }
    eprintln!(
        "{}: explores {} without stopping at failures, into {}",
        case.name(),
        count(world.settings.rounds, "round"),
        folder.path().display()
    );
    // What was shrunk before the exploration was ended is not shrunk again.
    let known: BTreeSet<String> = match folder.kept() {
        Ok(kept) if resume => {
            let shrunk = kept.bugs.into_iter().filter(|bug| bug.shrunk);
            shrunk.map(|bug| bug.id).collect()
        }
        _ => BTreeSet::new(),
    };
    let is_new = |bug: &&Bug| !known.contains(&folder::name(&bug.failure.id()));
    let searched = search(case, &world, begin, |bugs| {
        bugs.iter().filter(is_new).collect()
    });
    tell(&teller, searched.map_err(|e| e.to_string())?)
}

/// Writes down and prints what was found; the status is that of a test.
fn tell(teller: &Teller<'_>, mut searched: Searched) -> Result<ExitCode, String> {
    let shrunk = std::mem::take(&mut searched.shrunk);
    for one in &shrunk {
        let found = found(teller, &searched, one)?;
        let report = teller.new_failure(&found);
        let text = report.message().unwrap_or_default();
        println!("{text}\n");
        if let Some(recorder) = &mut searched.recorder {
            recorder.shrunk(&one.bug, text);
        }
    }
    let Some(recorder) = searched.recorder.as_ref() else {
        return Err("the exploration has no folder".into());
    };
    print!("{}", recorder.kept().render());
    println!("{}", recorder.folder().path().display());
    if searched.outcome.ended == Ended::Stopped {
        let why = match signals::stopped() {
            true => "interrupted",
            false => "time is up",
        };
        println!("{why}; `cargo chaos resume` goes on");
    }
    Ok(status(recorder))
}

fn status(recorder: &Recorder) -> ExitCode {
    ExitCode::from(u8::from(recorder.kept().has_failed()))
}
