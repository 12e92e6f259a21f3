//! The results, for people and for programs.

use std::collections::BTreeMap;

use super::run::Run;
use crate::explore::Strategy;

/// One object; names of bugs are Rust's, so that nothing has to be escaped.
pub fn json(budget: u64, runs: &[Run]) -> String {
    let rows: Vec<String> = runs
        .iter()
        .map(|run| {
            let faults = run.faults.map_or("null".to_owned(), |n| n.to_string());
            format!(
                "{{\"bug\": \"{}\", \"strategy\": \"{}\", \"seed\": {}, \"found\": {}, \"branches\": {}, \"instructions\": {}, \"faults\": {faults}}}",
                run.bug,
                run.strategy,
                run.seed,
                run.found,
                run.cost.branches,
                run.cost.instructions,
            )
        })
        .collect();
    format!(
        "{{\"budget\": {budget}, \"runs\": [\n  {}\n]}}",
        rows.join(",\n  ")
    )
}

/// A row a bug, a column a strategy: the geometric mean of instructions over its seeds, and how
/// many of them missed it.
pub fn text(runs: &[Run]) -> String {
    let mut cells: BTreeMap<(&str, Strategy), Vec<&Run>> = BTreeMap::new();
    for run in runs {
        cells.entry((&run.bug, run.strategy)).or_default().push(run);
    }
    let bugs: Vec<&str> = sorted(cells.keys().map(|key| key.0));
    let strategies: Vec<Strategy> = sorted(cells.keys().map(|key| key.1));
    let width = bugs.iter().map(|bug| bug.len()).max().unwrap_or(0);
    let mut text = format!("{:width$}", "");
    for strategy in &strategies {
        text += &format!("  {:>18}", strategy.name());
    }
    text += "\n";
    for bug in bugs {
        text += &format!("{bug:width$}");
        for strategy in &strategies {
            let cell = cells
                .get(&(bug, *strategy))
                .map_or("".to_owned(), |runs| cell(runs));
            text += &format!("  {cell:>18}");
        }
        text += "\n";
    }
    if let Some(ratio) = ratio(runs) {
        text += &format!(
            "\nOver the bugs that random finds, guided takes {ratio:.2} times its guest instructions.\n"
        );
    }
    text
}

fn cell(runs: &[&Run]) -> String {
    let missed = runs.iter().filter(|run| !run.found).count();
    let mean = mean(runs.iter().map(|run| run.cost.instructions)) / 1e9;
    match missed {
        0 => format!("{mean:.2} G"),
        _ => format!("{mean:.2} G, {missed} missed"),
    }
}

/// What guided takes of what random takes, as the geometric mean over those pairs of equal bug and
/// seed that random finds; nothing without such a pair.
fn ratio(runs: &[Run]) -> Option<f64> {
    let of = |strategy, bug: &str, seed| {
        runs.iter()
            .find(|run| run.strategy == strategy && run.bug == bug && run.seed == seed)
    };
    let chance = runs
        .iter()
        .filter(|run| run.strategy == Strategy::Random && run.found);
    let pairs: Vec<(u64, u64)> = chance
        .filter_map(|random| {
            let guided = of(Strategy::Guided, &random.bug, random.seed)?;
            Some((guided.cost.instructions, random.cost.instructions))
        })
        .collect();
    let [guided, random] = [
        pairs.iter().map(|p| p.0).collect(),
        pairs.iter().map(|p| p.1).collect(),
    ]
    .map(|side: Vec<u64>| mean(side.into_iter()));
    (!pairs.is_empty()).then(|| guided / random)
}

/// The geometric mean.
fn mean(values: impl ExactSizeIterator<Item = u64>) -> f64 {
    let count = values.len().max(1) as f64;
    let logs: f64 = values.map(|value| (value.max(1) as f64).ln()).sum();
    (logs / count).exp()
}

fn sorted<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.collect();
    items.sort();
    items.dedup();
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explore::Cost;

    fn run(bug: &str, strategy: Strategy, seed: u64, faults: Option<u64>, giga: u64) -> Run {
        Run {
            bug: bug.to_owned(),
            strategy,
            seed,
            found: faults.is_some(),
            faults,
            cost: Cost {
                branches: 1,
                instructions: giga * 1_000_000_000,
            },
        }
    }

    #[test]
    fn strategies_are_compared_where_chance_has_found_the_bug() {
        let runs = [
            run("a", Strategy::Random, 0, Some(1), 4),
            run("a", Strategy::Random, 1, Some(1), 1),
            run("a", Strategy::Guided, 0, Some(1), 1),
            run("a", Strategy::Guided, 1, Some(2), 1),
            run("b", Strategy::Random, 0, None, 5),
            run("b", Strategy::Guided, 0, Some(1), 1),
        ];
        let text = text(&runs);
        assert!(text.contains("guided takes 0.50 times"), "{text}");
        assert!(text.contains("a              2.00 G"), "{text}");
        assert!(text.contains("5.00 G, 1 missed"), "{text}");
        let json = json(5, &runs[4..]);
        assert!(
            json.contains("\"seed\": 0, \"found\": false, \"branches\": 1, \"instructions\": 5000000000, \"faults\": null}"),
            "{json}"
        );
        assert_eq!(ratio(&runs[4..]), None);
    }
}
