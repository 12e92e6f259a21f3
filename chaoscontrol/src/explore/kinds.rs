//! Shorter schedules by the kinds of faults: those of one kind are often one event to a reader, or
//! each of them could stand for the others.

use crate::fault::{Parts, ScheduledFault, Target};

/// Schedules without one of `faults`, in which the others of each kind come at one moment: that of
/// the last, or of the first.
pub(super) fn gathered(faults: &[ScheduledFault]) -> Vec<Vec<ScheduledFault>> {
    let mut schedules = Vec::new();
    for i in 0..faults.len() {
        let rest = [&faults[..i], &faults[i + 1..]].concat();
        let same = |fault: &ScheduledFault| {
            let kind = fault.fault.kind();
            let times = rest.iter().filter(move |f| f.fault.kind() == kind);
            times.map(|f| f.at_ns)
        };
        for last in [true, false] {
            let mut schedule = rest.clone();
            for fault in &mut schedule {
                let at_ns = match last {
                    true => same(fault).max(),
                    false => same(fault).min(),
                };
                fault.at_ns = at_ns.unwrap_or(fault.at_ns);
            }
            if schedule != rest {
                schedules.push(schedule);
            }
        }
    }
    schedules
}

/// Schedules of one kind of fault, for each of the kinds of `faults`, that of the latest first: the last
/// `most` of that kind, and the very last of them on its server and those behind it of the first `servers`.
pub(super) fn of_one_kind(
    faults: &[ScheduledFault],
    servers: usize,
    most: usize,
) -> Vec<Vec<ScheduledFault>> {
    let mut schedules = Vec::new();
    let mut left = faults.to_vec();
    while let Some(last) = left.last().cloned() {
        let kind = last.fault.kind();
        let same = left.extract_if(.., |f| f.fault.kind() == kind);
        let mut same: Vec<ScheduledFault> = same.collect();
        schedules.push(everywhere(&last, servers, most));
        schedules.push(same.split_off(same.len().saturating_sub(most)));
    }
    schedules.retain(|schedule| !schedule.is_empty());
    schedules
}

/// `last` on its VM and those behind it of the first `servers`, `most` in all, at once: which of them
/// has the part that matters is chance. Nothing if it does not hit one of those.
fn everywhere(last: &ScheduledFault, servers: usize, most: usize) -> Vec<ScheduledFault> {
    let parts = last.fault.parts();
    let on = |target| Parts {
        target,
        ..parts.clone()
    };
    let (Target::Vm(first) | Target::Process(first, _)) = parts.target else {
        return Vec::new();
    };
    let vms = (0..most.min(servers)).map(|i| (first + i) % servers);
    let faults = vms.filter(|_| first < servers).filter_map(|vm| {
        let target = match &parts.target {
            Target::Process(_, name) => Target::Process(vm, name.clone()),
            _ => Target::Vm(vm),
        };
        let (at_ns, fault) = (last.at_ns, on(target).build()?);
        Some(ScheduledFault { at_ns, fault })
    });
    faults.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::FaultSchedule;

    fn faults(text: &str) -> Vec<ScheduledFault> {
        let schedule: FaultSchedule = text.parse().unwrap();
        schedule.faults().to_vec()
    }

    fn text(schedule: &[ScheduledFault]) -> String {
        FaultSchedule::new(schedule.to_vec()).to_string()
    }

    #[test]
    fn restarts_that_came_one_by_one_come_at_once_without_the_heal() {
        let faults = faults(
            "+0.5 s partition {0} | {1, 2}\n+1.2 s restart vm 2\n+1.5 s heal\n+1.6 s restart vm 1\n",
        );
        let schedules: Vec<String> = gathered(&faults).iter().map(|s| text(s)).collect();
        let wanted = [
            "+0.500 s  partition {0} | {1, 2}\n+1.600 s  restart vm 2\n+1.600 s  restart vm 1\n",
            "+0.500 s  partition {0} | {1, 2}\n+1.200 s  restart vm 2\n+1.200 s  restart vm 1\n",
        ];
        for wanted in wanted {
            assert!(schedules.iter().any(|s| s == wanted), "{schedules:#?}");
        }
        // Without one of the restarts, nothing is of one kind.
        assert_eq!(schedules.len(), 4);
    }

    #[test]
    fn each_kind_has_schedules_of_its_own() {
        let faults = faults(
            "+1 s kill vm 3\n+1.2 s restart vm 2\n+1.5 s heal\n+2 s restart vm 1\n+2.2 s latency vm 1 of 1 ms\n",
        );
        let schedules: Vec<String> = of_one_kind(&faults, 3, 2).iter().map(|s| text(s)).collect();
        let wanted = [
            "+2.200 s  latency vm 1 of 1 ms\n+2.200 s  latency vm 2 of 1 ms\n",
            "+2.200 s  latency vm 1 of 1 ms\n",
            "+2.000 s  restart vm 1\n+2.000 s  restart vm 2\n",
            "+1.200 s  restart vm 2\n+2.000 s  restart vm 1\n",
            "+1.500 s  heal\n",
            "+1.000 s  kill vm 3\n",
        ];
        assert_eq!(schedules, wanted, "vm 3 is a client");
        let (last, none) = (of_one_kind(&faults[..4], 3, 1), of_one_kind(&[], 3, 2));
        assert_eq!(
            text(&last[1]),
            "+2.000 s  restart vm 1\n",
            "the last of them"
        );
        assert_eq!(none, Vec::<Vec<ScheduledFault>>::new());
    }
}
