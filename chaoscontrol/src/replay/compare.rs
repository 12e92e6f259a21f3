//! Where two runs first differ.

use std::fmt;

use super::record::{HashRecord, TickRecord, VmHashes};
use crate::fault::format_time;

/// A part of a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The CPU.
    Cpu,
    /// The devices.
    Devices,
    /// The memory.
    Memory,
}

impl Part {
    const ALL: [Part; 3] = [Part::Cpu, Part::Devices, Part::Memory];

    fn of(self, vm: &VmHashes) -> u64 {
        match self {
            Part::Cpu => vm.cpu,
            Part::Devices => vm.devices,
            Part::Memory => vm.memory,
        }
    }
}

/// What differs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// These parts of a VM; the first VM that differs is named.
    Vm(usize, Vec<Part>),
    /// One run has the VM's power on, the other has not.
    Power(usize),
    /// The network, while all VMs agree.
    Fabric,
    /// The number of VMs.
    Vms,
    /// One run was recorded at this instant, the other was not.
    Instant,
    /// One run ended, the other went on.
    Length,
}

/// The first difference of two runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Divergence {
    /// The last instant at which both were the same; `None` if they never were.
    pub same_ns: Option<u64>,
    /// The instant at which they differ, in ns.
    pub time_ns: u64,
    /// What differs.
    pub subject: Subject,
    /// All VMs that differ then.
    pub vms: Vec<usize>,
}

impl HashRecord {
    /// The first difference from `other`; `None` if the runs are the same.
    pub fn compare(&self, other: &HashRecord) -> Option<Divergence> {
        let mut same_ns = None;
        for (a, b) in self.ticks.iter().zip(&other.ticks) {
            if let Some(subject) = difference(a, b) {
                let differ = |vm: &usize| a.vms.get(*vm) != b.vms.get(*vm);
                let vms = (0..a.vms.len().max(b.vms.len())).filter(differ).collect();
                let time_ns = a.time_ns.min(b.time_ns);
                return Some(Divergence {
                    same_ns,
                    time_ns,
                    subject,
                    vms,
                });
            }
            same_ns = Some(a.time_ns);
        }
        let shorter = self.ticks.len().min(other.ticks.len());
        let next = self
            .ticks
            .get(shorter)
            .or_else(|| other.ticks.get(shorter))?;
        Some(Divergence {
            same_ns,
            time_ns: next.time_ns,
            subject: Subject::Length,
            vms: Vec::new(),
        })
    }
}

fn difference(a: &TickRecord, b: &TickRecord) -> Option<Subject> {
    if a == b {
        return None;
    }
    if a.time_ns != b.time_ns {
        return Some(Subject::Instant);
    }
    if a.vms.len() != b.vms.len() {
        return Some(Subject::Vms);
    }
    let vms = a.vms.iter().zip(&b.vms).enumerate();
    let first = vms.into_iter().find(|(_, (x, y))| x != y);
    Some(match first {
        None => Subject::Fabric,
        Some((vm, (Some(x), Some(y)))) => Subject::Vm(
            vm,
            Part::ALL
                .into_iter()
                .filter(|p| p.of(x) != p.of(y))
                .collect(),
        ),
        Some((vm, _)) => Subject::Power(vm),
    })
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Cpu => "cpu",
            Part::Devices => "devices",
            Part::Memory => "memory",
        })
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the runs differ at {}: ", format_time(self.time_ns))?;
        match &self.subject {
            Subject::Vm(vm, parts) => {
                let parts: Vec<_> = parts.iter().map(ToString::to_string).collect();
                write!(f, "vm {vm} in {}", parts.join(", "))?;
            }
            Subject::Power(vm) => write!(f, "vm {vm} has power in one run only")?,
            Subject::Fabric => write!(f, "the network, while all VMs agree")?,
            Subject::Vms => write!(f, "the number of VMs")?,
            Subject::Instant => write!(f, "only one run was recorded then")?,
            Subject::Length => write!(f, "one run had ended, the other went on")?,
        }
        let others: Vec<_> = self.vms.iter().skip(1).map(ToString::to_string).collect();
        if !others.is_empty() {
            write!(f, " (vms {} differ, too)", others.join(", "))?;
        }
        match self.same_ns {
            Some(ns) => write!(f, "; they were the same at {}", format_time(ns)),
            None => write!(f, "; they were never the same"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> HashRecord {
        let vm = |n| {
            Some(VmHashes {
                cpu: n,
                devices: n + 1,
                memory: n + 2,
            })
        };
        let tick = |t: u64| TickRecord {
            time_ns: t * 1_000_000,
            vms: vec![vm(t), vm(t + 10), None],
            fabric: t,
        };
        HashRecord {
            ticks: (1..=20).map(tick).collect(),
        }
    }

    fn changed(change: impl FnOnce(&mut HashRecord)) -> String {
        let mut other = record();
        change(&mut other);
        let text = record().compare(&other).unwrap().to_string();
        assert_eq!(other.compare(&record()).unwrap().to_string(), text);
        text
    }

    #[test]
    fn equal_runs_do_not_differ() {
        assert_eq!(record().compare(&record()), None);
        assert_eq!(HashRecord::default().compare(&HashRecord::default()), None);
    }

    #[test]
    fn the_first_difference_is_named() {
        let flip = |r: &mut HashRecord| {
            r.ticks[4].vms[1].as_mut().unwrap().memory ^= 1;
            r.ticks[5].vms[0] = None;
        };
        assert_eq!(
            changed(flip),
            "the runs differ at +0.005 s: vm 1 in memory; they were the same at +0.004 s"
        );
        let both = |r: &mut HashRecord| {
            r.ticks[0].vms[0].as_mut().unwrap().cpu ^= 1;
            r.ticks[0].vms[0].as_mut().unwrap().devices ^= 1;
            r.ticks[0].vms[1] = None;
        };
        assert_eq!(
            changed(both),
            "the runs differ at +0.001 s: vm 0 in cpu, devices (vms 1 differ, too); they were never the same"
        );
        assert!(changed(|r| r.ticks[2].fabric = 0).contains("the network, while all VMs agree"));
        assert!(changed(|r| r.ticks[2].vms[1] = None).contains("vm 1 has power in one run only"));
        assert!(changed(|r| r.ticks.truncate(7)).contains("+0.008 s: one run had ended"));
        assert!(changed(|r| r.ticks[3].time_ns += 5).contains("only one run was recorded then"));
        assert!(changed(|r| r.ticks[3].vms.truncate(1)).contains("the number of VMs"));
    }

    #[test]
    fn a_cut_within_a_tick_does_not_show() {
        let mut twice = HashRecord::default();
        for tick in record().ticks {
            twice.push(tick.clone());
            twice.push(tick);
        }
        assert_eq!(twice, record());
    }
}
