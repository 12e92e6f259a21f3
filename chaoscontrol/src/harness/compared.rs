//! How a run compares with its record, in words: whether it is the recorded one, and if not,
//! where it left it and why that may be.

use super::engine;
use super::labels::Heard;
use super::regression::Recorded;
use super::rerun::{Rerun, RerunError, rerun};
use super::world::World;
use crate::cluster::TICK_NS;
use crate::replay::{Divergence, HashRecord};

/// The most instants that are compared between two runs.
const COMPARED: u64 = 2000;

/// Where a replay is to record hashes, to be compared with those of `recorded`.
pub fn stops(recorded: &Recorded) -> Vec<u64> {
    let ticks = recorded.trail.ticks.iter();
    ticks.map(|tick| tick.time_ns).collect()
}

/// How a record was replayed on what has changed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// With its faults at their virtual times.
    Time,
    /// That did not fail as recorded; with its faults so long after what they followed it did.
    Labels,
    /// In both ways, and it failed as recorded in neither.
    Neither,
}

impl Way {
    fn words(self) -> &'static str {
        match self {
            Way::Time => "replayed by virtual time",
            Way::Labels => {
                "it did not fail so by virtual time; replayed by labelled events, it did"
            }
            Way::Neither => {
                "replayed by virtual time and by labelled events, it did not fail so in either way"
            }
        }
    }
}

/// What there is to say of `branch`, the replay of `recorded` in `world`, where it was replayed in
/// that `way` if anything has changed. A replay that ought
/// to have been the same is run twice more, to tell why it was not.
///
/// # Errors
/// See [`RerunError`].
pub fn compared(
    world: &World,
    recorded: &Recorded,
    branch: &Rerun,
    way: Way,
) -> Result<Vec<String>, RerunError> {
    let mut notes = vec![recorded.found.clone()];
    let id = branch.failure.as_ref().map(|failure| failure.id());
    if id.as_ref().is_some_and(|id| *id != recorded.bug) {
        let bug = &recorded.bug;
        notes.push(format!(
            "another failure was recorded: {} {:?}",
            bug.kind, bug.message
        ));
    }
    notes.extend(engine::missing(recorded, world.booted.engine));
    let (state, before) = (branch.state_hash, recorded.state);
    if let Some(changed) = recorded.changed(&world.booted) {
        notes.push(format!("recorded with another {changed}: {}", way.words()));
        let heard = Heard::of(branch);
        notes.extend(heard.difference(&recorded.recipe.schedule, &recorded.labels));
        if state != before {
            notes.push(format!(
                "it ended in state {state:016x}; the recorded {before:016x} belongs to the other {changed}, so their states differ from the start"
            ));
        }
    } else if state == before {
        notes.push(format!(
            "replayed exactly: it ended in the recorded state {state:016x}"
        ));
    } else if unreproducible(world, branch).is_some() {
        notes.push(format!(
            "it ended in state {state:016x}, recorded was {before:016x}, as may be"
        ));
    } else {
        notes.push(format!(
            "diverged: it ended in state {state:016x}, recorded was {before:016x}"
        ));
        let divergence = recorded.trail.compare(&branch.trail.short());
        let again = twice(world, recorded, branch, divergence.as_ref())?;
        notes.extend(explained(
            &recorded.trail,
            divergence.as_ref(),
            again.as_ref(),
        ));
    }
    Ok(notes)
}

/// Why `branch` may not come again, if so, in words.
pub fn unreproducible(world: &World, branch: &Rerun) -> Option<&'static str> {
    world.booted.unreproducible.or(branch.unreproducible)
}

/// Runs `recorded` twice, and compares the runs at every tick in which `divergence` may have
/// begun, and at the instants of the record.
fn twice(
    world: &World,
    recorded: &Recorded,
    branch: &Rerun,
    divergence: Option<&Divergence>,
) -> Result<Option<Divergence>, RerunError> {
    let end = branch.trail.ticks.last().map_or(0, |tick| tick.time_ns);
    let (from, to) = divergence.map_or((0, end), |d| (d.same_ns.unwrap_or(0), d.time_ns));
    let mut stops = stops(recorded);
    stops.extend(window(from, to));
    stops.sort_unstable();
    let run = || -> Result<HashRecord, RerunError> {
        Ok(rerun(&world.scenario, &recorded.recipe, &stops)?.trail)
    };
    Ok(run()?.compare(&run()?))
}

/// The ticks from `from` to `to`, or as many of them as are worth comparing.
fn window(from: u64, to: u64) -> impl Iterator<Item = u64> {
    let step = (to.saturating_sub(from) / COMPARED).next_multiple_of(TICK_NS);
    (1..=COMPARED)
        .map(move |i| from.saturating_add(i.saturating_mul(step.max(TICK_NS))))
        .take_while(move |at| *at <= to)
}

/// What a divergence from the record means, two more runs having differed as `again` says.
fn explained(
    trail: &HashRecord,
    divergence: Option<&Divergence>,
    again: Option<&Divergence>,
) -> [String; 2] {
    let first = match divergence {
        Some(divergence) => format!("by time after setup, {divergence}"),
        None if trail.ticks.is_empty() => {
            "the record has no `trail` that could tell where".to_owned()
        }
        None => "it is the same at all recorded instants, the last included: only the record's `state` is another".to_owned(),
    };
    let why = match again {
        Some(again) => format!(
            "run twice more, it was not the same either: {again}; this host does not compute the same each time: test its memory, and report it to chaoscontrol"
        ),
        None => "run twice more, the runs are the same at each tick compared: this host computes reliably, so the record was changed, or made by a chaoscontrol that is another in all but its version".to_owned(),
    };
    [first, why]
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_divergence_is_explained_by_what_two_more_runs_did() {
        let line = |text: &str| text.parse().unwrap();
        let mut trail = HashRecord::default();
        for text in [
            "0 00000001 0000000a:0000000b:0000000c .",
            "9000000 00000002 off .",
        ] {
            trail.push(line(text));
        }
        let mut other = trail.clone();
        other.ticks[1] = line("9000000 00000003 off .");
        let divergence = trail.compare(&other);
        let [first, why] = explained(&trail, divergence.as_ref(), None);
        assert!(first.contains("by time after setup, the runs differ at +0.009 s: the network"));
        assert!(why.contains("this host computes reliably"), "{why}");
        let [first, why] = explained(&trail, None, divergence.as_ref());
        assert!(first.contains("only the record's `state`"), "{first}");
        assert!(
            why.contains("+0.009 s") && why.contains("test its memory"),
            "{why}"
        );
        let [first, _] = explained(&HashRecord::default(), None, None);
        assert!(first.contains("no `trail`"), "{first}");
    }

    #[test]
    fn a_window_has_each_tick_or_as_many_as_are_worth_it() {
        assert_eq!(window(3 * MS, 5 * MS).collect::<Vec<_>>(), [4 * MS, 5 * MS]);
        assert_eq!(window(5 * MS, 5 * MS).count(), 0);
        let all: Vec<u64> = window(7, 86_400_000 * MS).collect();
        assert!(all.len() <= 2000 && all.len() > 1990);
        assert!(window(0, u64::MAX).count() <= 2000);
    }
}
