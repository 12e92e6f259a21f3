//! Fault schedules: what happens at which instant after setup.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::amount::format_time;
use super::catalogue::Fault;
use super::parse::FaultParseError;
use super::table::{Target, is_process_name};

/// A fault and its instant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScheduledFault {
    /// Virtual ns after setup was complete.
    pub at_ns: u64,
    /// What happens then.
    pub fault: Fault,
}

/// Faults in order of time. Faults of one instant keep the order in which they were added.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FaultSchedule {
    faults: Vec<ScheduledFault>,
}

/// Why a fault cannot be applied to a cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// It names a VM that does not exist.
    #[error("there is no vm {vm}, the cluster has vms 0 to {}", vms - 1)]
    NoSuchVm {
        /// The VM it names.
        vm: usize,
        /// VMs in the cluster.
        vms: usize,
    },
    /// One VM stands twice in a partition.
    #[error("vm {0} stands twice")]
    Twice(usize),
    /// A side of a partition has no VM.
    #[error("a side is empty")]
    EmptySide,
    /// A process cannot have this name.
    #[error(
        "a process is named by at most 64 visible ASCII characters other than quotes, `#` and `=`"
    )]
    ProcessName,
    /// A parameter is outside what the catalogue allows.
    #[error("the amount must lie between {min} and {max}")]
    Amount {
        /// Least amount, in words.
        min: String,
        /// Greatest amount, in words.
        max: String,
    },
}

/// Why a schedule cannot be used for a cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// One of its faults cannot be applied.
    #[error("{} {fault}: {trouble}", format_time(*at_ns))]
    Fault {
        /// Time of the fault.
        at_ns: u64,
        /// The fault.
        fault: Box<Fault>,
        /// What is wrong with it.
        trouble: FaultError,
    },
    /// It lies after the time in which faults are applied.
    #[error("{} {fault}: faults end at {}, the test's `duration`", format_time(*at_ns), format_time(*duration_ns))]
    Late {
        /// Time of the fault.
        at_ns: u64,
        /// The fault.
        fault: Box<Fault>,
        /// Virtual ns for which faults are applied.
        duration_ns: u64,
    },
}

impl Fault {
    /// Checks whether the fault can be applied to a cluster of `vms` VMs.
    ///
    /// # Errors
    /// The first trouble there is.
    pub fn check(&self, vms: usize) -> Result<(), FaultError> {
        let parts = self.parts();
        let named = parts.target.vms();
        for (i, &vm) in named.iter().enumerate() {
            if vm >= vms {
                return Err(FaultError::NoSuchVm { vm, vms });
            }
            if named[..i].contains(&vm) {
                return Err(FaultError::Twice(vm));
            }
        }
        match &parts.target {
            Target::Sides(a, b) if a.is_empty() || b.is_empty() => {
                return Err(FaultError::EmptySide);
            }
            Target::Process(_, name) if !is_process_name(name) => {
                return Err(FaultError::ProcessName);
            }
            _ => {}
        }
        for (p, amount) in parts.kind.info().params.iter().zip(&parts.amounts) {
            if amount.is_some_and(|amount| !(p.min..=p.max).contains(&amount)) {
                let (min, max) = (p.unit.show(p.min), p.unit.show(p.max));
                return Err(FaultError::Amount { min, max });
            }
        }
        Ok(())
    }

    /// Reads a fault that a body of a cluster of `vms` VMs asks for, in words.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn ordered(text: &str, vms: usize) -> Result<Fault, String> {
        let fault: Fault = text.parse().map_err(|e: FaultParseError| e.to_string())?;
        match fault.check(vms) {
            Ok(()) => Ok(fault),
            Err(trouble) => Err(format!("{fault}: {trouble}")),
        }
    }
}

impl FaultSchedule {
    /// A schedule of these faults, put in order.
    pub fn new(mut faults: Vec<ScheduledFault>) -> Self {
        faults.sort_by_key(|f| f.at_ns);
        FaultSchedule { faults }
    }

    /// The faults in order.
    pub fn faults(&self) -> &[ScheduledFault] {
        &self.faults
    }

    /// The faults, to be changed and put in order again by [`FaultSchedule::new`].
    pub fn into_faults(self) -> Vec<ScheduledFault> {
        self.faults
    }

    /// How many faults there are.
    pub fn len(&self) -> usize {
        self.faults.len()
    }

    /// Whether nothing happens.
    pub fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    /// Checks the schedule against a cluster of `vms` VMs and the time in which faults are applied.
    ///
    /// # Errors
    /// The first fault, in order of time, that cannot be applied.
    pub fn check(&self, vms: usize, duration_ns: u64) -> Result<(), ScheduleError> {
        self.faults
            .iter()
            .try_for_each(|f| f.check(vms, duration_ns))
    }
}

impl ScheduledFault {
    fn check(&self, vms: usize, duration_ns: u64) -> Result<(), ScheduleError> {
        let at_ns = self.at_ns;
        let fault = || Box::new(self.fault.clone());
        self.fault
            .check(vms)
            .map_err(|trouble| ScheduleError::Fault {
                at_ns,
                fault: fault(),
                trouble,
            })?;
        if at_ns >= duration_ns {
            return Err(ScheduleError::Late {
                at_ns,
                fault: fault(),
                duration_ns,
            });
        }
        Ok(())
    }
}

/// Builds a schedule fault by fault.
///
/// ```
/// use chaoscontrol::fault::{Fault, FaultScheduleBuilder};
/// use std::time::Duration;
///
/// let schedule = FaultScheduleBuilder::new()
///     .at(Duration::from_secs(1), Fault::NetworkPartition { side_a: vec![0], side_b: vec![1, 2] })
///     .at_ns(5_000_000_000, Fault::NetworkHeal)
///     .build();
/// assert_eq!(schedule.faults()[0].to_string(), "+1.000 s  partition {0} | {1, 2}");
/// ```
#[derive(Clone, Debug, Default)]
pub struct FaultScheduleBuilder {
    faults: Vec<ScheduledFault>,
}

impl FaultScheduleBuilder {
    /// A schedule without faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `fault` at so many virtual ns after setup.
    #[must_use]
    pub fn at_ns(mut self, at_ns: u64, fault: Fault) -> Self {
        self.faults.push(ScheduledFault { at_ns, fault });
        self
    }

    /// Adds `fault` at this virtual time after setup.
    #[must_use]
    pub fn at(self, at: Duration, fault: Fault) -> Self {
        self.at_ns(u64::try_from(at.as_nanos()).unwrap_or(u64::MAX), fault)
    }

    /// The schedule, in order of time.
    pub fn build(self) -> FaultSchedule {
        FaultSchedule::new(self.faults)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_ordered_by_time_and_then_by_insertion() {
        let s = FaultScheduleBuilder::new()
            .at_ns(20, Fault::NetworkHeal)
            .at_ns(10, Fault::ProcessKill { target: 1 })
            .at_ns(20, Fault::ProcessKill { target: 0 })
            .build();
        let order: Vec<_> = s.faults().iter().map(|f| f.fault.to_string()).collect();
        assert_eq!(order, ["kill vm 1", "heal", "kill vm 0"]);
    }

    #[test]
    fn what_a_body_asks_for_is_checked() {
        let asked = |text| Fault::ordered(text, 3).map(|fault| fault.to_string());
        assert_eq!(
            asked("partition {0} | {1,2}").unwrap(),
            "partition {0} | {1, 2}"
        );
        let refused = |text| asked(text).unwrap_err();
        assert!(refused("kil vm 1").contains("did you mean `kill`"));
        assert_eq!(
            refused("kill vm 3"),
            "kill vm 3: there is no vm 3, the cluster has vms 0 to 2"
        );
        assert!(refused("partition {0} | {0}").contains("vm 0 stands twice"));
        assert!(refused("loss vm 0 of 4294967295 ppm").contains("outside 0 % to 100 %"));
        assert!(refused("latency vm 0 of 18446744073709551615 ns").contains("not a number"));
    }

    #[test]
    fn a_schedule_that_does_not_fit_its_cluster_is_refused_with_the_reason() {
        let check = |fault| {
            FaultScheduleBuilder::new()
                .at_ns(2_000_000_000, fault)
                .build()
                .check(3, 10_000_000_000)
        };
        let err = |fault| check(fault).unwrap_err().to_string();
        check(Fault::ProcessKill { target: 2 }).unwrap();
        assert_eq!(
            err(Fault::ProcessKill { target: 3 }),
            "+2.000 s kill vm 3: there is no vm 3, the cluster has vms 0 to 2"
        );
        assert!(
            err(Fault::NetworkPartition {
                side_a: vec![0],
                side_b: vec![0]
            })
            .contains("vm 0 stands twice")
        );
        assert!(
            err(Fault::NetworkPartition {
                side_a: vec![0],
                side_b: vec![]
            })
            .contains("a side is empty")
        );
        assert!(
            err(Fault::PacketLoss {
                target: 0,
                rate_ppm: 2_000_000
            })
            .contains("between 0 % and 100 %")
        );
        let late = FaultScheduleBuilder::new()
            .at(Duration::from_secs(11), Fault::NetworkHeal)
            .build();
        assert!(
            late.check(3, 10_000_000_000)
                .unwrap_err()
                .to_string()
                .contains("faults end at +10.000 s")
        );
    }
}
