//! What a system promises to survive. Generated schedules stay inside it, so that a failure is the
//! system's fault; so do the schedules that shrinking tries, which might lose a restart.

use std::collections::BTreeSet;
use std::fmt;

use super::catalogue::{Fault, FaultKind};
use super::engine::{FaultEngine, Timing};
use super::info::{Class, Effect};
use super::schedule::{FaultSchedule, ScheduledFault};
use super::table::Target;

/// The kinds under which a server does nothing.
const DOWN: [FaultKind; 3] = [FaultKind::Kill, FaultKind::Pause, FaultKind::StopProcess];

/// Kinds whose damage stays when the fault itself is healed.
const DAMAGING: [FaultKind; 3] = [
    FaultKind::DiskTornWrite,
    FaultKind::DiskCorruption,
    FaultKind::DiskMisdirectedWrite,
];

/// Limits on how many servers may suffer at once. Without any, everything is allowed.
///
/// Clients do not count, nor does what bodies order themselves. Faults that nothing undoes count
/// from their instant on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tolerance {
    limits: Vec<Limit>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Limit {
    what: What,
    most: Most,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum What {
    Down,
    Kind(FaultKind),
    Class(Class),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Most {
    Number(usize),
    Minority,
    AllButOne,
}

const MINORITY: &str = "minority";
const ALL_BUT_ONE: &str = "all but one";

impl Tolerance {
    /// Reads limits such as `down: minority`, `disk: 1` or `partition: all but one`: a kind of
    /// fault, a class of them or `down` (killed, paused or stopped), and how many servers may
    /// suffer from it at once.
    ///
    /// # Errors
    /// A sentence that says what is wrong with a limit.
    pub fn parse(limits: &[&str]) -> Result<Tolerance, String> {
        let limits: Result<_, _> = limits.iter().map(|text| Limit::parse(text)).collect();
        Ok(Tolerance { limits: limits? })
    }

    /// Whether no limit is passed at any instant of `schedule`, on a cluster whose first
    /// `servers` VMs are no clients.
    pub fn allows(&self, schedule: &FaultSchedule, servers: usize) -> bool {
        if self.limits.is_empty() {
            return true;
        }
        let timing = Timing {
            duration_ns: u64::MAX,
            ..Timing::default()
        };
        let mut engine = FaultEngine::new(schedule.clone(), timing, 0);
        engine.force_setup_complete(0);
        let mut suffering = Suffering::default();
        engine.fire(u64::MAX - 1).iter().all(|firing| {
            suffering.note(&firing.fault, servers);
            self.limits
                .iter()
                .all(|limit| suffering.count(limit.what) <= limit.most.of(servers))
        })
    }

    /// `schedule` without the faults that would pass a limit.
    pub fn keep(&self, schedule: FaultSchedule, servers: usize) -> FaultSchedule {
        if self.allows(&schedule, servers) {
            return schedule;
        }
        let mut kept: Vec<ScheduledFault> = Vec::new();
        for fault in schedule.into_faults() {
            kept.push(fault);
            if !self.allows(&FaultSchedule::new(kept.clone()), servers) {
                kept.pop();
            }
        }
        FaultSchedule::new(kept)
    }
}

impl fmt::Display for Tolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, limit) in self.limits.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{limit}")?;
        }
        Ok(())
    }
}

impl Limit {
    fn parse(text: &str) -> Result<Limit, String> {
        let form = "expected as in `down: minority`, a fault and how many servers may suffer from it at once";
        let (what, most) = text
            .split_once(':')
            .ok_or_else(|| format!("`{text}`: {form}"))?;
        let (what, most) = (what.trim(), most.trim());
        let what = match what {
            "down" => What::Down,
            _ => match Class::ALL.into_iter().find(|class| class.name() == what) {
                Some(class) => What::Class(class),
                None => What::Kind(FaultKind::by_name(what).map_err(|e| format!("`{text}`: {e}"))?),
            },
        };
        let most = match most {
            MINORITY => Most::Minority,
            ALL_BUT_ONE => Most::AllButOne,
            "none" => Most::Number(0),
            number => Most::Number(number.parse().map_err(|_| {
                format!("`{text}`: `{number}` is neither a number nor `none`, `{MINORITY}` or `{ALL_BUT_ONE}`")
            })?),
        };
        Ok(Limit { what, most })
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.what {
            What::Down => "down",
            What::Kind(kind) => kind.name(),
            What::Class(class) => class.name(),
        };
        match self.most {
            Most::Number(0) => write!(f, "{what}: none"),
            Most::Number(n) => write!(f, "{what}: {n}"),
            Most::Minority => write!(f, "{what}: {MINORITY}"),
            Most::AllButOne => write!(f, "{what}: {ALL_BUT_ONE}"),
        }
    }
}

impl Most {
    fn of(self, servers: usize) -> usize {
        match self {
            Most::Number(n) => n,
            Most::Minority => servers.saturating_sub(1) / 2,
            Most::AllButOne => servers.saturating_sub(1),
        }
    }
}

/// Which server suffers from what.
#[derive(Debug, Default)]
struct Suffering(BTreeSet<(FaultKind, usize)>);

impl Suffering {
    fn note(&mut self, fault: &Fault, servers: usize) {
        let parts = fault.parts();
        let (kind, effect) = (parts.kind, parts.kind.info().effect);
        let hit = match &parts.target {
            Target::All => Vec::new(),
            Target::Vm(vm) | Target::Process(vm, _) => vec![*vm],
            Target::Sides(a, b) => {
                let of = |side: &[usize]| side.iter().copied().filter(|vm| *vm < servers).collect();
                let (a, b): (Vec<usize>, Vec<usize>) = (of(a), of(b));
                if b.len() < a.len() { b } else { a }
            }
        };
        let over = match effect {
            Effect::Hardware(none) | Effect::Memory(none) => {
                parts.amounts.first() == Some(&Some(none))
            }
            _ => false,
        };
        for vm in hit.into_iter().filter(|vm| *vm < servers) {
            let off = self.0.contains(&(FaultKind::Kill, vm));
            match fault {
                Fault::ProcessResume { .. } => {
                    self.end(|kind, of| of == vm && kind == FaultKind::Pause)
                }
                Fault::NetworkRelease { .. } => {
                    self.end(|kind, of| of == vm && kind == FaultKind::Clog);
                }
                Fault::ProcessContinueNamed { .. } => {
                    self.end(|kind, of| of == vm && kind == FaultKind::StopProcess);
                }
                Fault::DiskHeal { .. } => {
                    self.end(|kind, of| of == vm && kind.info().effect == Effect::Disk);
                }
                // It starts again at once.
                Fault::ProcessKillNamed { .. } => {}
                Fault::ProcessPause { .. } | Fault::ProcessStopNamed { .. } if off => {}
                Fault::ProcessRestart { .. } | Fault::ProcessKill { .. } => {
                    self.end(|kind, of| of == vm && Suffering::needs_power(kind));
                    if matches!(fault, Fault::ProcessKill { .. }) {
                        self.0.insert((kind, vm));
                    }
                }
                _ if over => self.end(|other, of| of == vm && other == kind),
                _ => {
                    self.0.insert((kind, vm));
                }
            }
        }
        if let Fault::NetworkHeal = fault {
            self.end(|kind, _| kind.info().effect == Effect::Network);
        }
    }

    /// Whether what the kind does is over when a machine starts anew.
    fn needs_power(kind: FaultKind) -> bool {
        DOWN.contains(&kind) || matches!(kind.info().effect, Effect::Memory(_))
    }

    fn end(&mut self, what: impl Fn(FaultKind, usize) -> bool) {
        self.0
            .retain(|(kind, vm)| DAMAGING.contains(kind) || !what(*kind, *vm));
    }

    /// How many servers suffer from `what`.
    fn count(&self, what: What) -> usize {
        let concerns = |kind: FaultKind| match what {
            What::Down => DOWN.contains(&kind),
            What::Kind(one) => kind == one,
            What::Class(class) => kind.info().class == class,
        };
        let suffering = self.0.iter().filter(|(kind, _)| concerns(*kind));
        suffering.map(|(_, vm)| vm).collect::<BTreeSet<_>>().len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Generator, Stream};
    use super::*;

    fn tolerance(limits: &[&str]) -> Tolerance {
        Tolerance::parse(limits).unwrap()
    }

    fn allowed(limit: &str, schedule: &str) -> bool {
        tolerance(&[limit]).allows(&schedule.parse().unwrap(), 5)
    }

    #[test]
    fn servers_that_are_down_count_until_they_are_back() {
        let both = "+1 s kill vm 0\n+2 s pause vm 1 for 3 s\n";
        assert!(allowed("down: minority", both));
        assert!(!allowed("down: 1", both));
        let one_more = |at: &str| format!("{both}+{at} kill vm 2");
        assert!(!allowed("down: minority", &one_more("3 s")));
        assert!(
            allowed("down: minority", &one_more("5.1 s")),
            "the pause is over"
        );
        let stopped = format!("{both}+3 s stop process in vm 2");
        assert!(!allowed("down: minority", &stopped));
        let again = format!(
            "{both}+2.1 s continue process in vm 1\n+2.2 s stop process in vm 3 for 100 ms"
        );
        assert!(!allowed("down: minority", &again), "the pause goes on");
        let back = format!("{both}+2.5 s restart vm 0\n+3 s kill vm 2");
        assert!(allowed("down: minority", &back));
        let two = both.parse().unwrap();
        let minority = tolerance(&["down: minority"]);
        let of = [2, 4, 5].map(|servers| minority.allows(&two, servers));
        assert_eq!(of, [false, false, true]);
        let off = "+1 s kill vm 0\n+2 s pause vm 0";
        assert!(allowed("pause: none", off), "nothing is there to pause");
        assert!(
            allowed("down: none", "+1 s kill vm 7"),
            "clients do not count"
        );
    }

    #[test]
    fn the_smaller_side_of_a_partition_suffers_until_it_heals() {
        let once = "+1 s partition {0, 1, 2} | {3, 4}\n";
        assert!(allowed("partition: 2", once) && !allowed("partition: 1", once));
        let twice = format!("{once}+2 s partition {{0}} | {{1, 2, 3, 4}}");
        assert!(!allowed("network: 2", &twice));
        let healed = twice.replace("+2 s", "+1.5 s heal\n+2 s");
        assert!(allowed("network: 2", &healed));
    }

    #[test]
    fn damage_outlives_the_fault_that_did_it() {
        let after =
            |fault: &str| format!("+1 s {fault} vm 0\n+2 s disk heal vm 0\n+3 s disk slow vm 1");
        assert!(allowed("disk: 1", &after("disk slow")));
        assert!(!allowed("disk: 1", &after("disk corruption")));
    }

    #[test]
    fn what_an_amount_ends_is_over() {
        assert!(!allowed("clock: 1", "+1 s skew vm 0\n+2 s skew vm 1"));
        assert!(allowed(
            "clock: 1",
            "+1 s skew vm 0\n+2 s skew vm 0 by 0 %\n+3 s skew vm 1"
        ));
    }

    #[test]
    fn generated_schedules_are_kept_inside() {
        let limits = tolerance(&["down: minority", "network: 1", "clock: none"]);
        let g = Generator {
            vms: 6,
            clients: 1,
            ..Generator::default()
        };
        let mut dropped = 0;
        for seed in 0..300 {
            let schedule = g.generate(&mut Stream::new(seed, "tolerance", &[]));
            let kept = limits.keep(schedule.clone(), 5);
            assert!(limits.allows(&kept, 5));
            dropped += schedule.len() - kept.len();
            if limits.allows(&schedule, 5) {
                assert_eq!(kept, schedule);
            }
        }
        assert!(dropped > 300, "{dropped}");
    }

    #[test]
    fn limits_read_as_they_are_written_and_errors_help() {
        let text = "down: minority, disk: 1, kill: none, loss: all but one";
        let limits: Vec<&str> = text.split(", ").collect();
        assert_eq!(tolerance(&limits).to_string(), text);
        let wrong = |text: &str| Tolerance::parse(&[text]).unwrap_err();
        assert!(wrong("minority down").contains("expected as in `down: minority`"));
        assert!(wrong("kil: 1").contains("did you mean `kill`"));
        assert!(wrong("kill: most").contains("`most` is neither a number nor"));
    }
}
