//! What is common to all explorations of a test: what they begin with, what is kept of them, and
//! how a bug that they shrank is told.

use super::folder::{Folder, Identity, Kept, OwnCode};
use super::search::{Begin, Keep, Searched};
use super::settings::Settings;
use super::summary::{findability, meddled};
use super::verdict::{Found, Teller};
use crate::cpu::Engine;
use crate::explore::{Options, Shrunk};
use crate::fault::FaultSchedule;

/// Those of `schedules`, which did not fail by themselves, that fit the test.
pub fn initial(mut schedules: Vec<FaultSchedule>, settings: &Settings) -> Vec<FaultSchedule> {
    let fits = |schedule: &FaultSchedule| {
        let fits = schedule.check(settings.vms as usize, settings.duration_ns);
        fits.is_ok() && !schedule.is_empty()
    };
    schedules.retain(fits);
    schedules
}

/// Where an exploration with `options` begins: at its checkpoint, if it is to `resume` and there is one.
///
/// # Errors
/// There is one that cannot be used, in words.
pub fn begin(teller: &Teller<'_>, options: Options, resume: bool) -> Result<Begin, String> {
    let Teller {
        case,
        package,
        world,
        ..
    } = teller;
    let (settings, name) = (&world.settings, case.name());
    let folder = Folder::of(package, &name, settings.shard);
    let test = format!("{}/{}/{name}", package.name, package.target);
    let identity = Identity::of(&test, world, &options);
    let state = match resume {
        true => folder.state(&identity).map_err(|e| e.to_string())?,
        false => None,
    };
    let mut kept = Kept::new(
        test,
        settings.seed,
        world.booted.engine.name(),
        options.branches,
    );
    kept.shards
        .extend(settings.shard.map(|shard| shard.to_string()));
    Ok(Begin {
        options,
        keep: Some(Keep {
            folder,
            identity,
            own: own(teller),
            kept,
            state,
        }),
        time_ns: 0,
    })
}

/// The crates of the package and of the test target, where edges are counted by the code they are in.
fn own(teller: &Teller<'_>) -> Option<OwnCode> {
    let booted = &teller.world.booted;
    let test = booted.initramfs.programs.first()?;
    let crates = [teller.package.name, teller.package.target];
    (booted.engine == Engine::Soft).then(|| OwnCode {
        executable: test.host_path.clone(),
        crates: crates.map(|name| name.replace('-', "_")).to_vec(),
    })
}

/// A bug that was shrunk, run once more to be told.
///
/// # Errors
/// It cannot be run.
pub fn found(teller: &Teller<'_>, searched: &Searched, shrunk: &Shrunk) -> Result<Found, String> {
    let mut found = Found::shrunk(shrunk, searched.cut());
    let branches = teller.world.settings.branches;
    found
        .remarks
        .push(findability(&searched.outcome.findability, branches));
    found.remarks.extend(meddled(searched.totals.spun));
    found.run(shrunk, teller.world)?;
    Ok(found)
}
