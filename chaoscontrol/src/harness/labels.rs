//! Labels: what a guest said last before a fault hit. Code that was changed says the same things
//! at other times, and the fault belongs where it was said.
//!
//! What is said often tells little of where a run is, so labels are of the rare only.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::rerun::Rerun;
use crate::explore::simulation::Entry;
use crate::fault::{FaultSchedule, ScheduledFault, Unit, parse_time};

/// What a VM says more often than this in a branch is no label.
const RARE: usize = 16;

/// A moment that a guest named, and how long after it a fault came. Its text is
/// `vm 1 became_leader 2 +35 ms`: the second time that VM 1 said `became_leader`, and 35 ms.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Label {
    /// Who said it.
    pub vm: usize,
    /// An event's name, or the message of an assertion that was reached.
    pub name: String,
    /// Which time this VM said it in the branch after setup: 1 to 16.
    pub occurrence: usize,
    /// Virtual ns from then to the fault.
    pub after_ns: u64,
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let after = Unit::Time.show(i64::try_from(self.after_ns).unwrap_or(i64::MAX));
        let Label {
            vm,
            name,
            occurrence,
            ..
        } = self;
        write!(f, "vm {vm} {name} {occurrence} +{after}")
    }
}

/// Why a text is no label, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoLabel {
    /// It has another form.
    #[error(
        "`vm 1 NAME 2 +35 ms` was expected: a VM, what it said, which time, and how long after it"
    )]
    Form,
    /// It counts too far.
    #[error("{0} is not from 1 to {RARE}")]
    Occurrence(String),
    /// Its time is none.
    #[error("{0}")]
    Time(String),
}

impl FromStr for Label {
    type Err = NoLabel;

    fn from_str(text: &str) -> Result<Label, NoLabel> {
        // A name may be anything, so what stands around it is taken off first.
        let (said, after) = text.rsplit_once(" +").ok_or(NoLabel::Form)?;
        let (vm, said) = said
            .strip_prefix("vm ")
            .and_then(|rest| rest.split_once(' '))
            .ok_or(NoLabel::Form)?;
        let (name, occurrence) = said.rsplit_once(' ').ok_or(NoLabel::Form)?;
        let count = occurrence.parse().ok();
        Ok(Label {
            vm: vm.parse().map_err(|_| NoLabel::Form)?,
            name: name.to_owned(),
            occurrence: count
                .filter(|n| (1..=RARE).contains(n))
                .ok_or_else(|| NoLabel::Occurrence(occurrence.to_owned()))?,
            after_ns: parse_time(after).map_err(NoLabel::Time)?,
        })
    }
}

/// When each VM of a branch said what, in virtual ns after setup.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// By VM and name, in order; of what is not rare, no more than shows that.
    times: BTreeMap<(usize, String), Vec<u64>>,
}

impl Heard {
    /// What was said in a branch.
    pub fn of(branch: &Rerun) -> Heard {
        match branch.start_ns {
            Some(start_ns) => Heard::among(&branch.timeline, start_ns),
            None => Heard::default(),
        }
    }

    fn among(timeline: &[Entry], start_ns: u64) -> Heard {
        let mut heard = Heard::default();
        for entry in timeline {
            let at_ns = entry.at.time_ns.checked_sub(start_ns);
            let (Some(name), Some(at_ns)) = (&entry.name, at_ns) else {
                continue;
            };
            let times = heard.times.entry((entry.at.vm, name.clone())).or_default();
            if times.len() <= RARE {
                times.push(at_ns);
            }
        }
        heard
    }

    /// For each fault of `schedule` the last that is rare and was said before it.
    pub fn labels(&self, schedule: &FaultSchedule) -> Vec<Option<Label>> {
        let faults = schedule.faults().iter();
        faults.map(|fault| self.before(fault.at_ns)).collect()
    }

    fn before(&self, at_ns: u64) -> Option<Label> {
        let rare = self.times.iter().filter(|(_, times)| times.len() <= RARE);
        let last = rare.filter_map(|(said, times)| {
            let occurrence = times.partition_point(|time| *time < at_ns);
            Some((*times.get(occurrence.checked_sub(1)?)?, said, occurrence))
        });
        let (time, (vm, name), occurrence) = last.max()?;
        Some(Label {
            vm: *vm,
            name: name.clone(),
            occurrence,
            after_ns: at_ns - time,
        })
    }

    /// When what `label` names was said.
    fn time(&self, label: &Label) -> Option<u64> {
        let times = self.times.get(&(label.vm, label.name.clone()))?;
        times.get(label.occurrence.checked_sub(1)?).copied()
    }

    /// The first of the moments that faults followed which was another here, in words.
    pub fn difference(&self, schedule: &FaultSchedule, labels: &[Option<Label>]) -> Option<String> {
        let moments = schedule.faults().iter().zip(labels);
        let moments = moments.filter_map(|(fault, label)| {
            let label = label.as_ref()?;
            Some((fault.at_ns.saturating_sub(label.after_ns), label))
        });
        let moved = moments.filter(|(before, label)| self.time(label) != Some(*before));
        let (before, label) = moved.min_by_key(|(before, _)| *before)?;
        let now = match self.time(label) {
            Some(now) => format!("now at {}", crate::fault::format_time(now)),
            None => "now it did not".to_owned(),
        };
        let Label {
            vm,
            name,
            occurrence,
            ..
        } = label;
        Some(format!(
            "the first difference known: vm {vm} said {name:?}, number {occurrence}, at {} when it was recorded, {now}",
            crate::fault::format_time(before)
        ))
    }
}

/// `schedule` with the times that its faults have by their `labels`: those of a branch in which each
/// comes so long after what it followed. A fault without a label keeps its time, as does one whose
/// moment does not come, or too late for it to lie within `duration_ns`.
///
/// `run` tells what is said in the branch of a schedule. A run in which all is settled up to some
/// instant is the true one up to there, so each settles the fault that is due next: there is no more than
/// one for each label.
///
/// # Errors
/// Those of `run`.
pub fn resolve<E>(
    schedule: &FaultSchedule,
    labels: &[Option<Label>],
    duration_ns: u64,
    mut run: impl FnMut(FaultSchedule) -> Result<Heard, E>,
) -> Result<FaultSchedule, E> {
    let labels = labels.iter().chain(std::iter::repeat(&None));
    let all = schedule.faults().iter().cloned().zip(labels).enumerate();
    let (mut settled, mut open) = (Vec::new(), Vec::new());
    for (i, (fault, label)) in all {
        match label {
            None => settled.push((i, fault)),
            Some(label) => open.push((i, fault, label)),
        }
    }
    while !open.is_empty() {
        let heard = run(in_order(&mut settled))?;
        let due = |(at, (_, _, label)): (usize, &(usize, ScheduledFault, &Label))| {
            let due_ns = heard.time(label)?.checked_add(label.after_ns)?;
            (due_ns < duration_ns).then_some((due_ns, at))
        };
        let Some((at_ns, next)) = open.iter().enumerate().filter_map(due).min() else {
            break;
        };
        let (i, fault, _) = open.remove(next);
        settled.push((i, ScheduledFault { at_ns, ..fault }));
    }
    settled.extend(open.into_iter().map(|(i, fault, _)| (i, fault)));
    Ok(in_order(&mut settled))
}

/// The schedule of these faults; those of one instant have their old order.
fn in_order(settled: &mut [(usize, ScheduledFault)]) -> FaultSchedule {
    settled.sort_by_key(|(i, _)| *i);
    FaultSchedule::new(settled.iter().map(|(_, fault)| fault.clone()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explore::simulation::EntryKind;
    use crate::oracle::Moment;

    const MS: u64 = 1_000_000;

    fn said(ms: u64, vm: usize, name: &str) -> Entry {
        Entry {
            at: Moment {
                time_ns: ms * MS,
                vm,
            },
            kind: EntryKind::Event,
            name: Some(name.to_owned()),
            text: String::new(),
        }
    }

    fn labels(texts: &[&str]) -> Vec<Option<Label>> {
        let label = |text: &&str| (!text.is_empty()).then(|| text.parse().unwrap());
        texts.iter().map(label).collect()
    }

    #[test]
    fn a_fault_follows_the_last_rare_moment_before_it() {
        let mut timeline = vec![said(900, 1, "leads"), said(1100, 1, "leads")];
        timeline.extend((0..17).map(|i| said(1100 + 10 * i, 0, "beats")));
        timeline.extend([said(1200, 1, "leads"), said(1300, 0, "lost +1 s")]);
        let heard = Heard::among(&timeline, 1000 * MS);
        let schedule = "+100 ms kill vm 0\n+235 ms kill vm 1\n+1 s heal";
        let found = heard.labels(&schedule.parse().unwrap());
        // What was said in the setup does not count, nor what is said at the fault's instant.
        let wanted = ["", "vm 1 leads 2 +35 ms", "vm 0 lost +1 s 1 +700 ms"];
        assert_eq!(found, labels(&wanted));
        let texts = found.iter().flatten().map(ToString::to_string);
        assert_eq!(texts.collect::<Vec<_>>(), wanted[1..]);
    }

    #[test]
    fn damaged_labels_say_what_is_wrong() {
        let error = |text: &str| text.parse::<Label>().unwrap_err().to_string();
        for text in [
            "",
            "vm 1",
            "vm x leads 1 +1 ms",
            "vm 1 leads +1 ms",
            "leads 1 +1 ms",
        ] {
            assert!(error(text).contains("was expected"), "{text}");
        }
        assert_eq!(error("vm 1 leads 17 +1 ms"), "17 is not from 1 to 16");
        assert_eq!(error("vm 1 leads x +1 ms"), "x is not from 1 to 16");
        assert!(error("vm 1 leads 1 +1 mss").contains("unknown unit `mss`"));
    }

    /// A system that says `up` at 300 ms, and `back` 50 ms after each restart, which `down` precedes.
    fn run(schedule: &FaultSchedule) -> Heard {
        let mut timeline = vec![said(300, 0, "up")];
        for fault in schedule.faults() {
            let (ms, text) = (fault.at_ns / MS, fault.fault.to_string());
            if text == "kill vm 1" && ms > 300 {
                timeline.push(said(ms + 200, 0, "down"));
            } else if text == "restart vm 1" {
                timeline.push(said(ms + 50, 1, "back"));
            }
        }
        timeline.sort_by_key(|entry| entry.at);
        Heard::among(&timeline, 0)
    }

    #[test]
    fn each_fault_is_due_after_its_moment_and_changes_what_comes_after() {
        let recorded = "+110 ms kill vm 1\n+140 ms restart vm 1\n+160 ms kill vm 0\n+170 ms heal\n+180 ms heal";
        let recorded: FaultSchedule = recorded.parse().unwrap();
        let followed = [
            "vm 0 up 1 +10 ms",
            "vm 0 down 1 +5 ms",
            "vm 1 back 1 +1 ms",
            "",
            "vm 1 never 1 +7 ms",
        ];
        let followed = labels(&followed);
        let mut runs = 0;
        let mut count = |schedule| {
            runs += 1;
            Ok::<_, ()>(run(&schedule))
        };
        let resolved = resolve(&recorded, &followed, 1000 * MS, &mut count).unwrap();
        let wanted = "+170 ms heal\n+180 ms heal\n+310 ms kill vm 1\n+515 ms restart vm 1\n+566 ms kill vm 0";
        assert_eq!(resolved, wanted.parse().unwrap());
        // What does not come in time stays where it was.
        let resolved = resolve(&recorded, &followed, 500 * MS, &mut count).unwrap();
        let wanted = "+140 ms restart vm 1\n+160 ms kill vm 0\n+170 ms heal\n+180 ms heal\n+310 ms kill vm 1";
        assert_eq!(resolved, wanted.parse().unwrap());
        // Records of old have no labels.
        assert_eq!(
            resolve(&recorded, &[], 1000 * MS, &mut count).unwrap(),
            recorded
        );
        assert_eq!(runs, 4 + 2);
        let heard = run(&recorded);
        assert_eq!(
            heard.difference(&recorded, &followed).unwrap(),
            "the first difference known: vm 0 said \"up\", number 1, at +0.100 s when it was recorded, now at +0.300 s"
        );
    }
}
