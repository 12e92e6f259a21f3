//! `cargo chaos zoo`: how soon each search strategy finds bugs that are known to be there. Whether
//! a search is worth its name shows only beside chance, on the same bugs, in the same currency:
//! guest instructions, which no host's speed or load changes.

mod results;
mod run;
mod table;

use std::process::ExitCode;

use super::super::registry::{TESTS, TestCase};
use super::super::signals;
use super::Arguments;
use crate::explore::Strategy;
use results::Results;
use run::{Looked, Run};

/// Guest instructions of a run, if nobody says otherwise.
const BUDGET: u64 = 5_000_000_000;
/// The seeds, if nobody says otherwise.
const SEEDS: std::ops::Range<u64> = 0..3;

/// A bug that somebody planted: a test that is to fail, and with what.
#[derive(Clone, Copy)]
struct Planted {
    case: &'static TestCase,
    expected: &'static str,
}

impl Planted {
    /// The test function's name.
    fn name(&self) -> String {
        let path = self.case.name();
        path.rsplit("::").next().unwrap_or_default().to_owned()
    }
}

/// Every `#[should_panic(expected = "..")]` chaos test that is explored, by name.
fn all() -> Vec<Planted> {
    let explored = TESTS
        .iter()
        .filter(|case| case.attributes.schedule.is_none());
    let mut bugs: Vec<Planted> = explored
        .filter_map(|case| {
            let expected = case.should_panic??;
            Some(Planted { case, expected })
        })
        .collect();
    bugs.sort_by_key(Planted::name);
    bugs
}

/// Runs what has no result yet, and prints all results that were asked for.
pub fn zoo(mut arguments: Arguments) -> Result<ExitCode, String> {
    let json = arguments.switch("--json");
    let shrink = !arguments.switch("--no-shrink");
    let bugs = chosen(arguments.texts("--bug")?)?;
    let strategies = match arguments.texts("--strategy")? {
        none if none.is_empty() => Strategy::ALL.to_vec(),
        names => names
            .iter()
            .map(|name| name.parse().map_err(|e| format!("--strategy: {e}")))
            .collect::<Result<_, String>>()?,
    };
    let seeds = arguments.value("--seeds", "A..B or a number", seeds)?;
    let seeds = seeds.unwrap_or(SEEDS);
    let budget = arguments.value("--budget", "a number of instructions, as in 5G", amount)?;
    let budget = budget.unwrap_or(BUDGET);
    arguments.nothing_left()?;

    let mut results = Results::open(&arguments.package)?;
    let mut runs = Vec::new();
    for bug in &bugs {
        let world = arguments.world_of(bug.case, |settings| settings.wall_limit_ns = 0)?;
        for (&strategy, seed) in strategies
            .iter()
            .flat_map(|s| seeds.clone().map(move |seed| (s, seed)))
        {
            let key = run::key(bug, &world, strategy, seed, budget);
            let enough = |run: &Run| !(shrink && run.found && run.faults.is_none());
            let run = match results.get(&key).filter(enough) {
                Some(run) => run,
                None => {
                    let looked = Looked::new(bug, &world, strategy, seed, budget, shrink)?;
                    if signals::stopped() {
                        return Err("interrupted; what is done is kept".to_owned());
                    }
                    let run = looked.run;
                    let mut line = run.to_string();
                    if let Some(shrunk) = &looked.shrunk {
                        let path = results.put_schedule(&run, &run::schedule(&run, shrunk))?;
                        line += &format!(": {}", path.display());
                    }
                    if let Some(other) = looked.other {
                        line += &format!(", but something else: {other}");
                    }
                    eprintln!("chaoscontrol: {line}");
                    results.put(&key, &run)?;
                    run
                }
            };
            runs.push(run);
        }
    }
    match json {
        true => println!("{}", table::json(budget, &runs)),
        false => print!("{}", table::text(&runs)),
    }
    Ok(ExitCode::SUCCESS)
}

/// The bugs of these names; without one, all.
fn chosen(names: Vec<String>) -> Result<Vec<Planted>, String> {
    let all = all();
    let known: Vec<String> = all.iter().map(Planted::name).collect();
    if let Some(name) = names.iter().find(|name| !known.contains(name)) {
        let known = known.join(", ");
        return Err(format!(
            "--bug: no explored test `{name}` has #[should_panic(expected = \"..\")]; there are {known}"
        ));
    }
    let wanted = |bug: &Planted| names.is_empty() || names.contains(&bug.name());
    let bugs: Vec<Planted> = all.into_iter().filter(wanted).collect();
    match bugs.is_empty() {
        true => Err("no explored test has #[should_panic(expected = \"..\")]".to_owned()),
        false => Ok(bugs),
    }
}

/// `3` or `0..3`, which is not empty.
fn seeds(text: &str) -> Option<std::ops::Range<u64>> {
    let range = match text.split_once("..") {
        Some((from, to)) => from.parse().ok()?..to.parse().ok()?,
        None => {
            let seed: u64 = text.parse().ok()?;
            seed..seed.checked_add(1)?
        }
    };
    (!range.is_empty()).then_some(range)
}

/// `5G`, `300M` or `5000000000`, and not 0.
fn amount(text: &str) -> Option<u64> {
    let (digits, factor) = match text.as_bytes().last()? {
        b'G' => (&text[..text.len() - 1], 1_000_000_000),
        b'M' => (&text[..text.len() - 1], 1_000_000),
        _ => (text, 1),
    };
    let amount = digits.parse::<u64>().ok()?.checked_mul(factor)?;
    (amount > 0).then_some(amount)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_amounts_are_read() {
        assert_eq!(seeds("7"), Some(7..8));
        assert_eq!(seeds("0..3"), Some(0..3));
        assert_eq!(
            (seeds("3..3"), seeds("a..b"), seeds("")),
            (None, None, None)
        );
        assert_eq!(amount("5G"), Some(BUDGET));
        assert_eq!(amount("20M"), Some(20_000_000));
        assert_eq!(amount("12"), Some(12));
        assert_eq!((amount("0"), amount("G"), amount("5X")), (None, None, None));
        assert_eq!(amount("99999999999G"), None);
    }
}
