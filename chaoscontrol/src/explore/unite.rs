//! Two faults that one can stand for: a schedule is read fault by fault, so that one of a
//! slightly greater reach is simpler than a pair.

use crate::fault::{Fault, FaultKind, Parts, ScheduledFault, Target};

/// Schedules in which one fault stands for two of `faults`, those of the first pairs first.
pub(super) fn united(faults: &[ScheduledFault]) -> Vec<Vec<ScheduledFault>> {
    let mut schedules = Vec::new();
    for j in 1..faults.len() {
        for i in 0..j {
            for one in unite(&faults[i], &faults[j]) {
                let mut schedule = faults.to_vec();
                schedule.remove(j);
                schedule[i] = one;
                schedules.push(schedule);
            }
        }
    }
    schedules
}

/// What can stand for `first` and the later `second`.
fn unite(first: &ScheduledFault, second: &ScheduledFault) -> Vec<ScheduledFault> {
    let (a, b) = (first.fault.parts(), second.fault.parts());
    if let Some((target, straight)) = joined(&a.target, &b.target) {
        let kind = match straight && a.kind == b.kind {
            true => a.kind,
            false => FaultKind::Partition,
        };
        let fault = build(kind, target, Vec::new());
        let at = [first.at_ns, second.at_ns];
        let each = |fault: Fault| {
            at.map(|at_ns| ScheduledFault {
                at_ns,
                fault: fault.clone(),
            })
        };
        return fault.map(each).into_iter().flatten().collect();
    }
    let (kind, targets) = match (a.kind, b.kind) {
        (FaultKind::Kill, FaultKind::Restart) if a.target == b.target => {
            // The power is away for a moment, or the machine stands still for as long.
            let restart = [first.at_ns, second.at_ns].map(|at_ns| ScheduledFault {
                at_ns,
                fault: second.fault.clone(),
            });
            let paused = lasting(FaultKind::Pause, a.target, first, second);
            return restart.into_iter().chain(paused).collect();
        }
        (FaultKind::Pause, FaultKind::Resume) if a.target == b.target => {
            (FaultKind::Pause, vec![a.target])
        }
        (FaultKind::StopProcess, FaultKind::ContinueProcess) if a.target == b.target => {
            (FaultKind::StopProcess, vec![a.target])
        }
        (FaultKind::Partition | FaultKind::OneWayPartition, FaultKind::Heal) => {
            (FaultKind::Pause, alone(&a.target))
        }
        _ => return Vec::new(),
    };
    let targets = targets.into_iter();
    let faults = targets.filter_map(|target| lasting(kind, target, first, second));
    faults.collect()
}

/// A fault that lasts from `first` to `second`.
fn lasting(
    kind: FaultKind,
    target: Target,
    first: &ScheduledFault,
    second: &ScheduledFault,
) -> Option<ScheduledFault> {
    let span = i64::try_from(second.at_ns - first.at_ns).unwrap_or(i64::MAX);
    let fault = build(kind, target, vec![Some(span)])?;
    Some(ScheduledFault {
        at_ns: first.at_ns,
        fault,
    })
}

/// The VMs that a cut leaves alone: hardly anybody can tell that from a pause.
fn alone(cut: &Target) -> Vec<Target> {
    let Target::Sides(a, b) = cut else {
        return Vec::new();
    };
    let sides = [a, b].into_iter();
    let alone = sides.filter_map(|side| match side[..] {
        [vm] => Some(Target::Vm(vm)),
        _ => None,
    });
    alone.collect()
}

fn build(kind: FaultKind, target: Target, amounts: Vec<Option<i64>>) -> Option<Fault> {
    Parts {
        kind,
        target,
        amounts,
    }
    .build()
}

/// Two cuts as one, where they have a side in common: that side against both others, and whether
/// it stands first in both, as a cut of one direction has to know.
fn joined(a: &Target, b: &Target) -> Option<(Target, bool)> {
    let (Target::Sides(a, b), Target::Sides(c, d)) = (a, b) else {
        return None;
    };
    let [a, b, c, d] = [a, b, c, d].map(|side| {
        let mut side = side.clone();
        side.sort_unstable();
        side
    });
    let straight = a == c;
    let (common, one, other) = match () {
        () if straight => (a, b, d),
        () if b == d => (b, a, c),
        () if a == d => (a, b, c),
        () if b == c => (b, a, d),
        () => return None,
    };
    let mut union = [one, other].concat();
    union.sort_unstable();
    union.dedup();
    let apart = union.iter().all(|vm| !common.contains(vm));
    apart.then_some((Target::Sides(common, union), straight))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::FaultSchedule;

    fn forms(text: &str) -> Vec<String> {
        let schedule: FaultSchedule = text.parse().unwrap();
        let united = united(schedule.faults()).into_iter();
        united
            .map(|faults| {
                let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
                lines.join("; ")
            })
            .collect()
    }

    #[test]
    fn two_cuts_with_a_common_side_become_one() {
        assert_eq!(
            forms("+1 s one-way partition {0} -> {1, 2}\n+2 s one-way partition {2, 1} -> {0}"),
            [
                "+1.000 s  partition {0} | {1, 2}",
                "+2.000 s  partition {0} | {1, 2}"
            ]
        );
        assert_eq!(
            forms("+1 s one-way partition {0} -> {1}\n+1 s one-way partition {0} -> {2}")[0],
            "+1.000 s  one-way partition {0} -> {1, 2}"
        );
        assert_eq!(
            forms("+1 s partition {0} | {1}\n+2 s partition {1} | {2}")[0],
            "+1.000 s  partition {1} | {0, 2}"
        );
        assert_eq!(
            forms("+1 s one-way partition {1} -> {0}\n+2 s one-way partition {2} -> {0}")[0],
            "+1.000 s  partition {0} | {1, 2}"
        );
        assert!(forms("+1 s partition {0} | {1}\n+2 s partition {2} | {3}").is_empty());
    }

    #[test]
    fn what_is_undone_later_lasts_so_long() {
        assert_eq!(
            forms("+1 s pause vm 1\n+2 s kill vm 0\n+2.5 s resume vm 1"),
            ["+1.000 s  pause vm 1 for 1.5 s; +2.000 s  kill vm 0"]
        );
        assert_eq!(
            forms("+1 s kill vm 1\n+2 s restart vm 1"),
            [
                "+1.000 s  restart vm 1",
                "+2.000 s  restart vm 1",
                "+1.000 s  pause vm 1 for 1 s"
            ]
        );
        assert!(forms("+1 s kill vm 1\n+2 s restart vm 2").is_empty());
        assert_eq!(
            forms("+1 s one-way partition {1, 2, 3} -> {0}\n+2.5 s heal"),
            ["+1.000 s  pause vm 0 for 1.5 s"]
        );
        assert_eq!(forms("+1 s partition {1} | {0}\n+2 s heal").len(), 2);
        assert!(forms("+1 s partition {0, 1} | {2, 3}\n+2 s heal").is_empty());
        assert!(forms("+1 s heal").is_empty() && forms("").is_empty());
    }
}
