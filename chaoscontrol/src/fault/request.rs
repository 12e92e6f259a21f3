//! Faults that a test's body orders over the wire.

use chaoscontrol_guest::protocol::FaultRequest;

use super::kind::Fault;
use super::schedule::{FaultSchedule, ScheduledFault};

impl Fault {
    /// The fault that a guest of a cluster of `vms` VMs asks for; `None` if a VM or a value is
    /// out of range.
    pub fn from_request(request: FaultRequest, vms: usize) -> Option<Fault> {
        use FaultRequest as R;
        let id = |vm: u32| vm as usize;
        let set = |mask: u64| {
            (0..64)
                .filter(|i| mask >> i & 1 == 1)
                .collect::<Vec<usize>>()
        };
        let fault = match request {
            R::Partition { left, right } => Fault::NetworkPartition {
                side_a: set(left),
                side_b: set(right),
            },
            R::OneWayPartition { from, to } => Fault::NetworkPartitionOneWay {
                from: set(from),
                to: set(to),
            },
            R::Heal => Fault::NetworkHeal,
            R::Latency { vm, ns } => Fault::NetworkLatency {
                target: id(vm),
                latency_ns: ns,
            },
            R::Jitter { vm, ns } => Fault::NetworkJitter {
                target: id(vm),
                jitter_ns: ns,
            },
            R::Loss { vm, ppm } => Fault::PacketLoss {
                target: id(vm),
                rate_ppm: ppm,
            },
            R::Reorder { vm, ns } => Fault::PacketReorder {
                target: id(vm),
                window_ns: ns,
            },
            R::Kill { vm } => Fault::ProcessKill { target: id(vm) },
            R::Pause { vm, ns } => Fault::ProcessPause {
                target: id(vm),
                duration_ns: (ns != 0).then_some(ns),
            },
            R::Resume { vm } => Fault::ProcessResume { target: id(vm) },
            R::Restart { vm } => Fault::ProcessRestart { target: id(vm) },
            R::Skew { vm, ppm } => Fault::ClockSkew {
                target: id(vm),
                ppm,
            },
            R::WallClockJump { vm, ns } => Fault::ClockJump {
                target: id(vm),
                offset_ns: ns,
            },
        };
        let schedule = FaultSchedule::new(vec![ScheduledFault { at_ns: 0, fault }]);
        schedule.check(vms, u64::MAX).ok()?;
        schedule.into_faults().pop().map(|f| f.fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_out_of_range_are_refused() {
        let from = |r| Fault::from_request(r, 3);
        assert_eq!(
            from(FaultRequest::Partition { left: 1, right: 6 })
                .map(|f| f.to_string())
                .as_deref(),
            Some("partition {0} | {1, 2}")
        );
        for bad in [
            FaultRequest::Partition { left: 1, right: 1 },
            FaultRequest::Partition { left: 0, right: 1 },
            FaultRequest::Partition {
                left: 1,
                right: 1 << 63,
            },
            FaultRequest::Kill { vm: u32::MAX },
            FaultRequest::Latency {
                vm: 0,
                ns: u64::MAX,
            },
            FaultRequest::Loss {
                vm: 0,
                ppm: u32::MAX,
            },
            FaultRequest::Skew {
                vm: 0,
                ppm: i32::MIN,
            },
        ] {
            assert_eq!(from(bad), None, "{bad:?}");
        }
    }
}
