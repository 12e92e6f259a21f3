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

/// Those of `faults`, in order of time, that are of the kind of the last one; the last `most`.
pub(super) fn of_the_last_kind(faults: &[ScheduledFault], most: usize) -> Vec<ScheduledFault> {
    let Some(last) = faults.last() else {
        return Vec::new();
    };
    let same = faults
        .iter()
        .filter(|f| f.fault.kind() == last.fault.kind());
    let mut same: Vec<ScheduledFault> = same.rev().take(most).cloned().collect();
    same.reverse();
    same
}

/// The last of `faults` on it and the VMs behind it of the first `servers`, `most` in all, at once:
/// which of them has the part that matters is chance. Nothing if it does not hit one of those.
pub(super) fn everywhere(
    faults: &[ScheduledFault],
    servers: usize,
    most: usize,
) -> Vec<ScheduledFault> {
    let Some(last) = faults.last() else {
        return Vec::new();
    };
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
    fn the_last_fault_hits_the_other_servers_too() {
        let hit = |schedule: &str| text(&everywhere(&faults(schedule), 3, 3));
        assert_eq!(
            hit("+1 s heal\n+2 s restart vm 2\n"),
            "+2.000 s  restart vm 2\n+2.000 s  restart vm 0\n+2.000 s  restart vm 1\n"
        );
        assert_eq!(hit("+2 s kill vm 3\n"), "", "a client");
        assert_eq!(hit("+2 s heal\n"), "");
        assert_eq!(everywhere(&[], 3, 3), []);
    }

    #[test]
    fn the_last_faults_of_the_last_kind_are_found() {
        let faults = faults(
            "+1 s pause vm 0 for 1 s\n+2 s kill vm 1\n+3 s pause vm 2 for 1 s\n+4 s pause vm 1 for 1 s\n",
        );
        let last = |most| of_the_last_kind(&faults, most);
        assert_eq!(text(&last(2)), text(&faults[2..]));
        assert_eq!(last(3).len(), 3);
        assert_eq!(of_the_last_kind(&[], 3), []);
    }
}
