//! What a green exploration has to show for itself: that faults were applied, that packets
//! were dropped, that the workload did something, and what was never exercised.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::time::Duration;

use super::count::count;
use crate::cpu::Engine;
use crate::explore::{Findability, RoundStats, Totals};
use crate::oracle::Verdicts;

/// Names of events shown.
const EVENTS: usize = 12;

/// A finished exploration.
pub struct Summary<'a> {
    /// The test.
    pub name: &'a str,
    /// Its seed.
    pub seed: u64,
    /// What executed the guests' code.
    pub engine: Engine,
    /// Why it cannot be reproduced, if so.
    pub unreproducible: Option<&'static str>,
    /// Where it stood at its end.
    pub stats: &'a RoundStats,
    /// Its sums.
    pub totals: &'a Totals,
    /// Its properties.
    pub verdicts: &'a Verdicts,
    /// What it says about bugs it did not find.
    pub findability: Findability,
    /// Host time it took.
    pub elapsed: Duration,
}

impl Summary<'_> {
    /// The summary's text.
    pub fn render(&self) -> String {
        let Totals {
            branches,
            simulated_ns,
            ..
        } = self.totals;
        let seconds = self.elapsed.as_secs_f64();
        let engine = match self.engine {
            Engine::Soft => String::new(),
            other => format!(", engine {}", other.name()),
        };
        let mut text = format!(
            "{}: {}, {} in {seconds:.1} s ({:.1}/s), {:.0} virtual s, {}, seed {:#x}{engine}\n",
            self.name,
            count(self.stats.round, "round"),
            count(*branches, "branch"),
            *branches as f64 / seconds.max(1e-3),
            *simulated_ns as f64 / 1e9,
            count(self.stats.edges, "edge"),
            self.seed,
        );
        rows(&mut text, self.totals, self.verdicts);
        if let Some(why) = self.unreproducible {
            row(&mut text, "marked", why);
        }
        row(&mut text, "findability", &findability(&self.findability, 1));
        text
    }
}

/// Rows of what was done and what never was.
pub fn rows(text: &mut String, totals: &Totals, verdicts: &Verdicts) {
    let kinds = totals.faults.iter();
    let kinds = kinds.map(|(kind, n)| format!("{} {n}", kind.name()));
    row(text, "faults", &list(kinds, "none"));
    row(text, "packets", &packets(&totals.packets));
    let mean = |n: &u64| *n as f64 / totals.branches.max(1) as f64;
    let per_branch = totals.events.iter().take(EVENTS);
    let per_branch = per_branch.map(|(name, n)| format!("{name} {:.1} a branch", mean(n)));
    row(text, "events", &list(per_branch, "none"));
    if let Some(what) = meddled(totals.spun) {
        row(text, "meddled", &what);
    }
    for (property, verdict) in verdicts.never_exercised() {
        let kind = property.kind.name();
        let place = verdict.places.first();
        let place = place
            .map(|place| format!(" at {place}"))
            .unwrap_or_default();
        let what = format!("{kind} \"{}\"{place}", property.message);
        row(text, "never exercised", &what);
    }
}

/// What branches say of bugs: how rare one must be to hide from green ones, or, in rounds of
/// `branches` branches, how many green ones show that what was found is mended.
pub fn findability(found: &Findability, branches: u64) -> String {
    match found.green_rounds_for_a_fix(branches) {
        None => format!(
            "a bug that shows in 1 of {} would have been found in 95 of 100 such runs",
            count((1.0 / found.at_most()).floor() as u64, "branch")
        ),
        Some(rounds) => format!(
            "{} of {} found a failure; {} in a row make a fix credible at 95 %",
            found.failed,
            count(found.branches, "branch"),
            count(rounds, "green round")
        ),
    }
}

/// What there is to say of the branches in which time was let pass for a guest without exits.
pub fn meddled(branches: u64) -> Option<String> {
    let branches = (branches > 0).then(|| count(branches, "branch"))?;
    Some(format!(
        "{branches}, in which a guest ran for 5 s of CPU time without an exit, cannot be reproduced and found nothing that is reported"
    ))
}

/// A row of a summary.
pub fn row(text: &mut String, name: &str, what: &str) {
    let _ = writeln!(text, "  {name:<11} {what}");
}

fn list(items: impl Iterator<Item = impl Display>, none: &str) -> String {
    let items: Vec<String> = items.map(|item| item.to_string()).collect();
    match items.len() {
        0 => none.to_owned(),
        _ => items.join(", "),
    }
}

/// Packets by what became of them; all but these two were dropped.
fn packets(packets: &BTreeMap<String, u64>) -> String {
    const ARRIVED: [&str; 2] = ["delivered", "reordered"];
    let of = |name| packets.get(name).copied().unwrap_or(0);
    let dropped: Vec<(&str, u64)> = packets
        .iter()
        .filter(|(name, n)| !ARRIVED.contains(&name.as_str()) && **n > 0)
        .map(|(name, n)| (name.as_str(), *n))
        .collect();
    let sum: u64 = dropped.iter().map(|(_, n)| n).sum();
    let mut text = format!("{} delivered, {sum} dropped", of("delivered"));
    if sum > 0 {
        let causes = dropped.iter().map(|(name, n)| format!("{n} {name}"));
        let _ = write!(text, " ({})", list(causes, ""));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explore::Strategy;
    use crate::fault::FaultKind;
    use crate::oracle::Place;
    use chaoscontrol_guest::protocol::PropertyKind;

    #[test]
    fn a_summary_shows_what_was_done() {
        let totals = Totals {
            branches: 800,
            faults: BTreeMap::from([(FaultKind::Kill, 120), (FaultKind::Partition, 98)]),
            packets: BTreeMap::from(
                [
                    ("delivered", 5000),
                    ("lost", 7),
                    ("down", 0),
                    ("reordered", 3),
                ]
                .map(|(name, n)| (name.to_owned(), n)),
            ),
            events: BTreeMap::from([("acknowledged".to_owned(), 48_000)]),
            simulated_ns: 8_000_000_000_000,
            ..Totals::default()
        };
        let mut verdicts = Verdicts::new([]);
        let place = Place {
            file: "tests/chaos.rs".into(),
            line: 9,
            column: 1,
        };
        verdicts.site(PropertyKind::Reachable, "retries", place, false);
        let summary = Summary {
            name: "mutual_exclusion",
            seed: 0x2a,
            engine: Engine::Kvm,
            unreproducible: Some("not reproducible"),
            stats: &RoundStats {
                round: 100,
                strategy: Strategy::Guided,
                instructions: 0,
                of: 100,
                branches: 800,
                edges: 4321,
                corpus: 9,
                frontier: 2,
                bugs: 0,
            },
            totals: &totals,
            verdicts: &verdicts,
            findability: Findability {
                branches: 800,
                failed: 0,
                singletons: 1,
            },
            elapsed: Duration::from_secs(160),
        };
        let text = summary.render();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "mutual_exclusion: 100 rounds, 800 branches in 160.0 s (5.0/s), 8000 virtual s, 4321 edges, seed 0x2a, engine kvm",
                "  faults      partition 98, kill 120",
                "  packets     5000 delivered, 7 dropped (7 lost)",
                "  events      acknowledged 60.0 a branch",
                "  never exercised reachable \"retries\" at tests/chaos.rs:9",
                "  marked      not reproducible",
                "  findability a bug that shows in 1 of 267 branches would have been found in 95 of 100 such runs",
            ]
        );
    }

    #[test]
    fn a_failure_says_how_many_green_rounds_a_fix_takes() {
        let found = Findability {
            branches: 136,
            failed: 2,
            singletons: 0,
        };
        assert_eq!(
            findability(&found, 8),
            "2 of 136 branches found a failure; 26 green rounds in a row make a fix credible at 95 %"
        );
    }

    #[test]
    fn branches_that_were_meddled_with_are_counted() {
        assert_eq!(meddled(0), None);
        assert!(meddled(1).unwrap().starts_with("1 branch, in which"));
        assert!(meddled(2).unwrap().starts_with("2 branches, in which"));
    }
}
