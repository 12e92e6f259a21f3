//! What a failure is made into: a record, an annotation, a report.

use std::collections::BTreeMap;
use std::env;

use libtest_mimic::Failed;

use super::bundle::Bundle;
use super::compared::unreproducible;
use super::count::count;
use super::entry::Package;
use super::registry::TestCase;
use super::regression::{Recorded, Saved, Store};
use super::report::{self, Report};
use super::rerun::{Rerun, rerun, spread};
use super::symbolize::Symbolizer;
use super::world::World;
use crate::explore::{Recipe, Shrunk};
use crate::oracle::{Failure, FailureKind};

/// A failure with all that there is to say about it.
pub struct Found {
    /// What failed.
    pub failure: Failure,
    /// How it was found; the first goes into the record.
    pub notes: Vec<String>,
    /// What else there is to say.
    pub remarks: Vec<String>,
    /// The branch that shows it.
    pub recipe: Recipe,
    /// That branch once more, with its timeline; none for what only many branches show.
    pub rerun: Option<Rerun>,
}

impl Found {
    /// What shrinking left, not run again yet; `cut` is what ended it if nothing else did.
    pub fn shrunk(shrunk: &Shrunk, cut: &str) -> Found {
        let bug = &shrunk.bug;
        let mut note = format!("found in round {}, branch {}", bug.round, bug.branch);
        let (from, to) = (
            count(shrunk.from as u64, "fault"),
            bug.recipe.schedule.len(),
        );
        note += &match (shrunk.reproduced, shrunk.runs) {
            (true, _) if shrunk.from == 0 => match bug.recipe.inputs.len() as u64 {
                0 => "; it takes no fault".to_owned(),
                inputs => format!("; it takes no fault and {}", count(inputs, "input")),
            },
            (true, runs) => {
                let end = match shrunk.minimal {
                    true => String::new(),
                    false => format!(", then {cut}: it may not be the smallest"),
                };
                format!(
                    "; shrunk from {from} to {to} in {}{end}",
                    count(runs, "run")
                )
            }
            (false, 0) => format!("; {cut} before it was shrunk, it has {from}"),
            (false, _) => "; it did not come again when it was run again".to_owned(),
        };
        Found {
            failure: bug.failure.clone(),
            notes: vec![note],
            remarks: Vec::new(),
            recipe: bug.recipe.clone(),
            rerun: None,
        }
    }

    /// A saved failure that was made smaller, with the run that shows it.
    ///
    /// # Errors
    /// Trouble of the host, in words.
    pub fn minimized(shrunk: &Shrunk, found: &str, world: &World) -> Result<Found, String> {
        let mut smaller = Found {
            notes: vec![format!("{found}; then minimized")],
            ..Found::shrunk(shrunk, "")
        };
        smaller.run(shrunk, world)?;
        Ok(smaller)
    }

    /// Runs what shrinking left once more, to tell all of it.
    ///
    /// # Errors
    /// Trouble of the host, in words.
    pub fn run(&mut self, shrunk: &Shrunk, world: &World) -> Result<(), String> {
        let bug = &shrunk.bug;
        let end_ns = bug.failure.at.map_or(0, |at| at.time_ns);
        let stops = spread(end_ns.saturating_sub(bug.start_ns.unwrap_or(0)));
        let branch = rerun(&world.scenario, &self.recipe, &stops).map_err(|error| {
            let what = bug.failure.describe(bug.start_ns);
            format!("{what}\n  it could not be run once more: {error}")
        })?;
        let same = branch.state_hash == bug.state_hash;
        if !same && unreproducible(world, &branch).is_none() {
            self.remarks.push(format!(
                "its last run ended in state {:016x}, the run before in {:016x}: please report this to chaoscontrol",
                branch.state_hash, bug.state_hash
            ));
        }
        self.rerun = Some(branch);
        Ok(())
    }

    fn start_ns(&self) -> Option<u64> {
        self.rerun.as_ref().and_then(|branch| branch.start_ns)
    }
}

/// Tells of a test's failures.
#[derive(Clone, Copy)]
pub struct Teller<'a> {
    /// The test.
    pub case: &'a TestCase,
    /// Its package.
    pub package: Package,
    /// Where its failures are recorded.
    pub store: &'a Store,
    /// What it ran in.
    pub world: &'a World,
}

impl Teller<'_> {
    /// What went wrong, in words.
    pub fn describe(&self, found: &Found) -> String {
        found.failure.describe(found.start_ns())
    }

    /// Records a failure, and reports it.
    pub fn new_failure(&self, found: &Found) -> Failed {
        let recorded = found.rerun.as_ref().map(|branch| {
            Recorded::new(
                found.failure.id(),
                found.notes.first().cloned().unwrap_or_default(),
                found.recipe.clone(),
                &self.world.settings,
                &self.world.booted,
                branch,
            )
        });
        let saved = recorded.as_ref().map(|recorded| self.store.save(recorded));
        let id = recorded.as_ref().map(|recorded| recorded.id.as_str());
        self.annotate(found);
        let report = self.report(found, saved.as_ref(), id);
        let bundle = recorded
            .as_ref()
            .map(|recorded| self.bundle(recorded, &report));
        let bundle = bundle.map_or(String::new(), |line| format!("\n{line}"));
        // The command that runs it again stays last.
        match report.rfind("\n  replay ") {
            Some(at) => Failed::from(format!("{}{bundle}{}", &report[..at], &report[at..])),
            None => Failed::from(format!("{report}{bundle}")),
        }
    }

    /// Writes all that decides the run of `recorded` to one file; answers the report's line.
    fn bundle(&self, recorded: &Recorded, report: &str) -> String {
        let (recorded, report) = (recorded.clone(), report.to_owned());
        let bundle = Bundle::new(self.case, recorded, report, &self.world.booted);
        match bundle.write(self.store.scratch()) {
            Ok((path, size)) => format!(
                "  bundle  {}   ({:.1} MB: `cargo chaos replay FILE` runs it anywhere, without a build)",
                path.display(),
                size as f64 / 1e6
            ),
            Err(error) => format!("  no bundle: it {error}"),
        }
    }

    /// Reports a failure that is recorded as `id` already.
    pub fn known(&self, found: &Found, id: &str) -> Failed {
        self.annotate(found);
        Failed::from(self.report(found, None, Some(id)))
    }

    /// Reports a failure other than the one that was demanded.
    pub fn unexpected(&self, found: &Found, expected: Option<&str>) -> Failed {
        let report = self.new_failure(found);
        let expected = expected.unwrap_or_default();
        let report = report.message().unwrap_or_default();
        Failed::from(format!(
            "the test should have failed with {expected:?}, and failed otherwise:\n{report}"
        ))
    }

    fn annotate(&self, found: &Found) {
        if env::var_os("GITHUB_ACTIONS").is_some() {
            let here = (self.case.file, self.case.line);
            let (name, start) = (self.case.name(), found.start_ns());
            println!("{}", report::annotation(&name, &found.failure, start, here));
        }
    }

    fn report(&self, found: &Found, saved: Option<&Saved>, id: Option<&str>) -> String {
        let branch = found.rerun.as_ref();
        let unwithheld = self.world.booted.unwithheld.iter();
        let remarks = found.remarks.iter().chain(unwithheld);
        let marked = branch.and_then(|branch| unreproducible(self.world, branch));
        let missing = branch.iter().flat_map(|branch| branch.missing.clone());
        let nextest = env::var_os("NEXTEST").is_some();
        let ignored = self.case.ignore.is_some();
        let name = self.case.name();
        Report {
            failure: &found.failure,
            start_ns: found.start_ns(),
            notes: found.notes.clone(),
            schedule: &found.recipe.schedule,
            inputs: &found.recipe.inputs,
            timeline: branch.map_or(&[], |branch| &branch.timeline),
            vms: self.world.settings.vms as usize,
            remarks: (remarks.cloned())
                .chain(missing)
                .chain(marked.map(str::to_owned))
                .collect(),
            backtrace: self.backtrace(&found.failure),
            state: branch.map(|branch| branch.state_hash),
            kernel: self.world.booted.kernel.hash,
            disk: self.world.booted.disk.as_ref().map(|disk| disk.hash),
            engine: self.world.booted.engine,
            saved,
            package: &self.package.folder(),
            replay: Some(report::replay_command(
                id,
                &self.package,
                &name,
                ignored,
                nextest,
            )),
        }
        .render()
    }

    /// The frames of a panic, with names; places in the package are relative to it.
    fn backtrace(&self, failure: &Failure) -> Vec<String> {
        let FailureKind::Panic { backtrace, .. } = &failure.kind else {
            return Vec::new();
        };
        let programs = self.world.booted.initramfs.programs.iter();
        let hosts: BTreeMap<_, _> = programs
            .map(|file| (file.guest_path.clone(), file.host_path.clone()))
            .collect();
        let package = format!(" at {}/", self.package.folder().display());
        let frames = Symbolizer::new(hosts).backtrace(backtrace);
        frames
            .iter()
            .map(|frame| frame.replace(&package, " at "))
            .collect()
    }
}
