//! `cargo chaos replay`, `reproduce` and `minimize`: what can be done with a failure that was saved.

use std::path::Path;
use std::process::ExitCode;

use super::super::again::{Again, again};
use super::super::count::count;
use super::super::entry::Package;
use super::super::registry::{TESTS, TestCase};
use super::super::regression::{Recorded, Store};
use super::super::search::shrink;
use super::super::signals;
use super::super::verdict::{Found, Teller};
use super::Arguments;
use crate::explore::{Bug, ShrinkLimits};

/// Runs of `minimize`, if nobody says otherwise: more than a search spends by itself.
const RUNS: u64 = 1000;

/// A saved failure, and the test that it is of.
struct Saved {
    case: &'static TestCase,
    store: Store,
    record: Recorded,
}

/// Runs one saved failure again and prints its report.
pub fn replay(mut arguments: Arguments) -> Result<ExitCode, String> {
    let saved = arguments.saved()?;
    let again = saved.again(&arguments)?;
    let (report, same) = saved.told(&again, &arguments.package);
    println!("{report}");
    Ok(ExitCode::from(u8::from(!same)))
}

/// Runs all saved failures of a test, or of all tests, again, and says which of them still are.
pub fn reproduce(mut arguments: Arguments) -> Result<ExitCode, String> {
    let all = arguments.all_saved()?;
    if all.is_empty() {
        return Err("no failure is saved here: a failing chaos test saves one".to_owned());
    }
    let mut gone = 0;
    for saved in &all {
        let again = saved.again(&arguments)?;
        let Recorded { id, bug, .. } = &saved.record;
        let fails = again.failure().is_some_and(|failure| failure.id() == *bug);
        gone += usize::from(!fails);
        let verdict = match (fails, again.failure()) {
            (true, _) => "still fails".to_owned(),
            (false, None) => "does not fail any more".to_owned(),
            (false, Some(other)) => format!("fails otherwise: {}", other.describe(None)),
        };
        let name = saved.case.name();
        println!("{name} {id}: {verdict}: {} {:?}", bug.kind, bug.message);
        for note in again.notes.iter().skip(1) {
            println!("    {note}");
        }
    }
    let of = count(all.len() as u64, "saved failure");
    println!("{} of {of} still fail", all.len() - gone);
    Ok(ExitCode::from(u8::from(gone > 0)))
}

/// Shrinks a saved failure further, and saves the smaller one in its place.
pub fn minimize(mut arguments: Arguments) -> Result<ExitCode, String> {
    let limits = ShrinkLimits {
        runs: arguments.number("--runs")?.unwrap_or(RUNS),
        instructions: arguments.number("--instructions")?.unwrap_or(u64::MAX),
    };
    let saved = arguments.saved()?;
    signals::listen();
    let again = saved.again(&arguments)?;
    let Some(failure) = again.failure().cloned() else {
        return Err(format!(
            "{} did not fail when it was run again",
            saved.record.id
        ));
    };
    let bug = Bug {
        round: 0,
        branch: 0,
        cost: Default::default(),
        failure,
        recipe: again.recipe.clone(),
        applied: Vec::new(),
        start_ns: again.branch.start_ns,
        state_hash: again.branch.state_hash,
    };
    let shrunk = shrink(saved.case, &again.world, bug, limits).map_err(|e| e.to_string())?;
    let (runs, left) = (count(shrunk.runs, "run"), shrunk.bug.recipe.schedule.len());
    let from = count(shrunk.from as u64, "fault");
    if shrunk.bug.recipe == again.recipe {
        let more = match shrunk.minimal {
            true => "",
            false => "; more --runs or --instructions may find one",
        };
        println!("in {runs}, nothing simpler than its {from} failed{more}");
        return Ok(ExitCode::SUCCESS);
    }
    let found = Found::minimized(&shrunk, &saved.record.found, &again.world)?;
    let report = saved.teller(&again, &arguments.package).new_failure(&found);
    let forgotten = saved.store.forget(&saved.record.id);
    forgotten.map_err(|e| e.to_string())?;
    println!("{}", report.message().unwrap_or_default());
    println!("from {from} to {left} in {runs}");
    Ok(ExitCode::SUCCESS)
}

impl Saved {
    fn again(&self, arguments: &Arguments) -> Result<Again, String> {
        let say = |line: &str| eprintln!("chaoscontrol: {line}");
        again(self.case, &arguments.package, &self.record, &say)
            .map_err(|e| e.message().unwrap_or_default().to_owned())
    }

    fn teller<'a>(&'a self, again: &'a Again, package: &Package) -> Teller<'a> {
        Teller {
            case: self.case,
            package: *package,
            store: &self.store,
            world: &again.world,
        }
    }

    /// The report of a replay, and whether the recorded failure is back.
    fn told(&self, again: &Again, package: &Package) -> (String, bool) {
        match again.found() {
            Some(found) => {
                let report = self.teller(again, package).known(&found, &self.record.id);
                let same = found.failure.id() == self.record.bug;
                (report.message().unwrap_or_default().to_owned(), same)
            }
            None => (again.absent(&self.record), false),
        }
    }
}

impl Arguments {
    /// Every saved failure of the test that is named, or of all.
    fn all_saved(&mut self) -> Result<Vec<Saved>, String> {
        let name = (!self.words.is_empty()).then(|| self.words.remove(0));
        self.nothing_left()?;
        if name.is_some() && TESTS.iter().all(|case| Some(case.name()) != name) {
            return Err(format!("there is no test `{}`", name.unwrap_or_default()));
        }
        let mut all = Vec::new();
        for (case, store) in self.stores() {
            if name.as_ref().is_some_and(|name| case.name() != *name) {
                continue;
            }
            for record in store.all().map_err(|e| e.to_string())? {
                let store = store.clone();
                all.push(Saved {
                    case,
                    store,
                    record,
                });
            }
        }
        Ok(all)
    }

    /// The saved failure that an id, a regression file or a test's name stands for; of several,
    /// the last.
    fn saved(&mut self) -> Result<Saved, String> {
        if self.words.is_empty() {
            return Err("which one? Name a failure by its id, its file or its test".to_owned());
        }
        let word = self.words.remove(0);
        self.nothing_left()?;
        let file = Path::new(&word)
            .canonicalize()
            .ok()
            .filter(|path| path.is_file());
        for (case, store) in self.stores() {
            let of_file = file.as_deref().and_then(|path| store.holds(path));
            let named = case.name() == word;
            let all = store.all();
            let mut all = match all {
                Err(e) if named || of_file.is_some() => return Err(e.to_string()),
                other => other.unwrap_or_default(),
            };
            if !named && of_file != Some(None) {
                let id = of_file.flatten().unwrap_or_else(|| word.clone());
                all.retain(|record| record.id == id);
            }
            if let Some(record) = all.pop() {
                return Ok(Saved {
                    case,
                    store,
                    record,
                });
            }
        }
        Err(format!(
            "`{word}` is no id of a saved failure, no file of one, and no test that has one"
        ))
    }

    /// Each test, and where its failures are.
    fn stores(&self) -> Vec<(&'static TestCase, Store)> {
        let mut cases: Vec<&TestCase> = TESTS.iter().collect();
        cases.sort_by_key(|case| case.name());
        let store = |case: &TestCase| Store::of(case, &self.package);
        cases.into_iter().map(|case| (case, store(case))).collect()
    }
}
