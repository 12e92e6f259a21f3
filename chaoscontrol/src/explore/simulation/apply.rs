//! How each fault is done to a cluster.

use chaoscontrol_guest::protocol::Signal;

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
        if let Fault::ProcessKill { target } | Fault::ProcessRestart { target } = &fault {
            // Its counters go with its power.
            self.count(*target);
        }
        let cluster = &mut self.cluster;
        match &fault {
            Fault::NetworkPartition { side_a, side_b } => cluster.partition(side_a, side_b),
            Fault::NetworkPartitionOneWay { from, to } => cluster.one_way(from, to),
            Fault::NetworkLatency { target, latency_ns } => cluster.latency(*target, *latency_ns),
            Fault::NetworkJitter { target, jitter_ns } => cluster.jitter(*target, *jitter_ns),
            Fault::PacketLoss { target, rate_ppm } => cluster.loss(*target, *rate_ppm),
            Fault::PacketReorder { target, window_ns } => cluster.reorder(*target, *window_ns),
            Fault::NetworkBandwidth {
                target,
                bytes_per_s,
            } => cluster.bandwidth(*target, *bytes_per_s),
            Fault::PacketCorruption { target, rate_ppm } => cluster.corruption(*target, *rate_ppm),
            Fault::PacketDuplicate { target, rate_ppm } => cluster.duplicate(*target, *rate_ppm),
            Fault::NetworkClog { target } => cluster.clog(*target),
            Fault::NetworkRelease { target } => cluster.release(*target),
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
            Fault::ProcessKillNamed { target, name } => {
                cluster.signal(*target, name, Signal::Kill);
            }
            Fault::ProcessStopNamed { target, name, .. } => {
                cluster.signal(*target, name, Signal::Stop);
            }
            Fault::ProcessContinueNamed { target, name } => {
                cluster.signal(*target, name, Signal::Continue);
            }
            Fault::ClockSkew { target, ppm } => cluster.skew(*target, i64::from(*ppm)),
            Fault::ClockJump { target, offset_ns } => {
                cluster.wall_jump(*target, *offset_ns);
            }
            Fault::ClockStall {
                target,
                duration_ns,
            } => cluster.stall(*target, *duration_ns),
            Fault::CpuSlow { target, rate_ppm } => cluster.cpu_speed(*target, *rate_ppm),
            Fault::Preempt {
                target,
                slice_ns,
                instructions,
            } => cluster.preempt(*target, *slice_ns, *instructions),
            Fault::MemoryBitFlip { target, bit } => cluster.flip_bit(*target, *bit),
            Fault::InjectInterrupt { target, line } => cluster.interrupt(*target, *line),
            Fault::InjectNmi { target } => cluster.nmi(*target),
            Fault::SpuriousInterrupt { target } => cluster.spurious(*target),
            Fault::ClockStrobe {
                target,
                offset_ns,
                period_ns,
            } => {
                cluster.strobe(*target, *offset_ns, *period_ns);
            }
            Fault::MemoryPressure { target, rate_ppm } => {
                cluster.memory_pressure(*target, *rate_ppm);
            }
            Fault::MemoryBalloon { target, rate_ppm } => {
                let memory = cluster.vm(*target).config().memory_size;
                let share = u128::from(memory) * u128::from(*rate_ppm) / 1_000_000;
                cluster.balloon(*target, share as u64);
            }
            Fault::DiskReadError { target, rate_ppm } => {
                cluster.disk_read_errors(*target, *rate_ppm);
            }
            Fault::DiskWriteError { target, rate_ppm } => {
                cluster.disk_write_errors(*target, *rate_ppm);
            }
            Fault::DiskFlushError { target, rate_ppm } => {
                cluster.disk_flush_errors(*target, *rate_ppm);
            }
            Fault::DiskTornWrite { target, rate_ppm } => {
                cluster.disk_torn_writes(*target, *rate_ppm);
            }
            Fault::DiskCorruption { target, rate_ppm } => {
                cluster.disk_corruption(*target, *rate_ppm);
            }
            Fault::DiskLostWrites { target } => cluster.disk_lose_unflushed(*target),
            Fault::DiskMisdirectedWrite { target, rate_ppm } => {
                cluster.disk_misdirected_writes(*target, *rate_ppm);
            }
            Fault::DiskSlow { target, delay_ns } => cluster.disk_slow(*target, *delay_ns),
            Fault::DiskFull { target } => {
                cluster.fill_disk(*target, true);
            }
            Fault::DiskHeal { target } => cluster.disk_heal(*target),
        }
        self.oracle.fault(&fault);
        if let Some(record) = &mut self.record {
            let at = Moment {
                time_ns: at_ns,
                vm: self.scenario.cluster.vms,
            };
            record.fault(at, &fault);
        }
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
