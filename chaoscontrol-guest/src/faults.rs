//! Faults that a test's body orders itself, for tests that know what they want to see.

use std::time::Duration;

use crate::protocol::{FaultRequest, MAX_VMS, Message, OK};
use crate::transport::send;
use crate::{Error, Result};

/// Orders faults; from [`Node::faults`](crate::Node::faults). Each takes effect at once,
/// whatever the schedule does, and is recorded as an event. VMs are named by index.
///
/// Every method fails if the host refuses the fault: a VM that is not there, or a value
/// out of range.
#[derive(Clone, Copy, Debug)]
pub struct Faults(pub(crate) ());

impl Faults {
    /// No packet passes between the two sets of VMs, either way.
    pub fn partition(
        &self,
        left: impl IntoIterator<Item = usize>,
        right: impl IntoIterator<Item = usize>,
    ) -> Result {
        let (left, right) = (set(left)?, set(right)?);
        order(FaultRequest::Partition { left, right })
    }

    /// No packet passes from the one set of VMs to the other; replies do.
    pub fn partition_one_way(
        &self,
        from: impl IntoIterator<Item = usize>,
        to: impl IntoIterator<Item = usize>,
    ) -> Result {
        let (from, to) = (set(from)?, set(to)?);
        order(FaultRequest::OneWayPartition { from, to })
    }

    /// Ends all network faults.
    pub fn heal(&self) -> Result {
        order(FaultRequest::Heal)
    }

    /// Adds to the latency of a VM's packets.
    pub fn latency(&self, vm: usize, added: Duration) -> Result {
        let (vm, ns) = (one(vm)?, nanoseconds(added)?);
        order(FaultRequest::Latency { vm, ns })
    }

    /// Adds a random time, up to `greatest`, to the latency of a VM's packets.
    pub fn jitter(&self, vm: usize, greatest: Duration) -> Result {
        let (vm, ns) = (one(vm)?, nanoseconds(greatest)?);
        order(FaultRequest::Jitter { vm, ns })
    }

    /// Loses `ppm` of a million of a VM's packets.
    pub fn loss(&self, vm: usize, ppm: u32) -> Result {
        let vm = one(vm)?;
        order(FaultRequest::Loss { vm, ppm })
    }

    /// Holds a VM's packets back at random, for up to `window`, so that they overtake
    /// each other.
    pub fn reorder(&self, vm: usize, window: Duration) -> Result {
        let (vm, ns) = (one(vm)?, nanoseconds(window)?);
        order(FaultRequest::Reorder { vm, ns })
    }

    /// Cuts a VM's power. A VM that kills itself does not return from this.
    pub fn kill(&self, vm: usize) -> Result {
        order(FaultRequest::Kill { vm: one(vm)? })
    }

    /// Lets a VM stand still until it is resumed.
    pub fn pause(&self, vm: usize) -> Result {
        let vm = one(vm)?;
        order(FaultRequest::Pause { vm, ns: 0 })
    }

    /// Lets a VM stand still for a while, at least a nanosecond.
    pub fn pause_for(&self, vm: usize, time: Duration) -> Result {
        let (vm, ns) = (one(vm)?, nanoseconds(time)?.max(1));
        order(FaultRequest::Pause { vm, ns })
    }

    /// Lets a paused VM go on.
    pub fn resume(&self, vm: usize) -> Result {
        order(FaultRequest::Resume { vm: one(vm)? })
    }

    /// Cuts a VM's power and boots it again, its incarnation one higher.
    pub fn restart(&self, vm: usize) -> Result {
        order(FaultRequest::Restart { vm: one(vm)? })
    }

    /// Lets a VM's clock run faster by `ppm` of a million, slower if negative; 0 ends it.
    pub fn skew(&self, vm: usize, ppm: i32) -> Result {
        let vm = one(vm)?;
        order(FaultRequest::Skew { vm, ppm })
    }

    /// Sets a VM's wall clock forward.
    pub fn jump_forward(&self, vm: usize, by: Duration) -> Result {
        jump(vm, by, 1)
    }

    /// Sets a VM's wall clock backward.
    pub fn jump_backward(&self, vm: usize, by: Duration) -> Result {
        jump(vm, by, -1)
    }
}

fn jump(vm: usize, by: Duration, sign: i64) -> Result {
    let vm = one(vm)?;
    let ns = i64::try_from(by.as_nanos()).map_err(|_| "the jump is too long")? * sign;
    order(FaultRequest::WallClockJump { vm, ns })
}

fn order(fault: FaultRequest) -> Result {
    match send(&Message::Fault { fault }) {
        OK => Ok(()),
        _ => Err(Error::from(format!("the host refused {fault:?}"))),
    }
}

fn nanoseconds(time: Duration) -> Result<u64> {
    Ok(u64::try_from(time.as_nanos()).map_err(|_| "the time is too long")?)
}

fn one(vm: usize) -> Result<u32> {
    if vm < MAX_VMS {
        Ok(vm as u32)
    } else {
        Err(Error::from(format!("there is no vm {vm}")))
    }
}

fn set(vms: impl IntoIterator<Item = usize>) -> Result<u64> {
    vms.into_iter()
        .try_fold(0, |set, vm| Ok(set | 1 << one(vm)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_masks_and_wrong_vms_are_errors() {
        assert_eq!(set([0, 2, 2]).unwrap(), 0b101);
        assert_eq!(set([]).unwrap(), 0);
        assert!(set([MAX_VMS]).is_err());
        assert!(Faults(()).pause_for(0, Duration::MAX).is_err());
        assert!(Faults(()).heal().is_ok());
    }
}
