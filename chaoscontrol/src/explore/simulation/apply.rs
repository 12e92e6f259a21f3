//! How each fault is done to a cluster.

use crate::fault::{Cause, Fault, Firing, ScheduledFault};

use super::timeline::EntryKind;
use super::{Counted, Moment, Simulation};

impl Simulation {
    pub(super) fn apply(&mut self, firing: Firing) {
        let Firing {
            at_ns,
            fault,
            cause,
        } = firing;
        let cluster = &mut self.cluster;
        match &fault {
            Fault::NetworkPartition { side_a, side_b } => cluster.partition(side_a, side_b),
            Fault::NetworkPartitionOneWay { from, to } => cluster.one_way(from, to),
            Fault::NetworkLatency { target, latency_ns } => cluster.latency(*target, *latency_ns),
            Fault::NetworkJitter { target, jitter_ns } => cluster.jitter(*target, *jitter_ns),
            Fault::PacketLoss { target, rate_ppm } => cluster.loss(*target, *rate_ppm),
            Fault::PacketReorder { target, window_ns } => cluster.reorder(*target, *window_ns),
            Fault::NetworkHeal => cluster.heal(),
            Fault::ProcessKill { target } => cluster.kill(*target),
            Fault::ProcessPause {
                target,
                duration_ns,
            } => cluster.pause(*target, *duration_ns),
            Fault::ProcessResume { target } => cluster.resume(*target),
            Fault::ProcessRestart { target } => {
                cluster.restart(*target);
                self.counted[*target] = Counted::of(cluster.vm(*target));
            }
            Fault::ClockSkew { target, ppm } => cluster.skew(*target, i64::from(*ppm)),
            Fault::ClockJump { target, offset_ns } => {
                cluster.wall_jump(*target, *offset_ns);
            }
        }
        self.oracle.fault(&fault);
        if cause != Cause::Recovery {
            *self.tally.faults.entry(fault.kind()).or_default() += 1;
        }
        let at = at_ns.saturating_sub(self.engine.start_ns().unwrap_or(at_ns));
        self.tally.applied.push(ScheduledFault {
            at_ns: at,
            fault: fault.clone(),
        });
        let vm = match fault.vms()[..] {
            [vm] => vm,
            _ => self.scenario.cluster.vms,
        };
        let text = match cause {
            Cause::Schedule => format!("fault: {fault}"),
            Cause::Body => format!("fault, asked for by a body: {fault}"),
            Cause::Recovery => format!("recovery: {fault}"),
        };
        self.note(Moment { time_ns: at_ns, vm }, EntryKind::Fault, || text);
    }
}
