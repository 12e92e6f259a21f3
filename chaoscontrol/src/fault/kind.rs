//! What a fault is: the typed form that code builds, and the uniform form
//! (kind, target, amount) that text, generation and shrinking work on.

/// One injectable fault. Times are nanoseconds of virtual time, rates parts
/// per million; VMs are numbered from 0, clients last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// Packets between the two sides are dropped, both ways. VMs on neither
    /// side still reach everyone. Partitions add up until the next heal.
    NetworkPartition {
        /// One side.
        side_a: Vec<usize>,
        /// The other side.
        side_b: Vec<usize>,
    },
    /// Packets sent by `from` to `to` are dropped; the way back works.
    NetworkPartitionOneWay {
        /// Senders that are not heard.
        from: Vec<usize>,
        /// Receivers that do not hear them.
        to: Vec<usize>,
    },
    /// Sets the extra base latency of one VM's link; 0 is the default link.
    NetworkLatency {
        /// The VM.
        target: usize,
        /// Added to the link's own latency, in ns.
        latency_ns: u64,
    },
    /// Adds a random delay up to `jitter_ns` to each packet of one VM.
    NetworkJitter {
        /// The VM.
        target: usize,
        /// Greatest delay, in ns.
        jitter_ns: u64,
    },
    /// Drops packets of one VM at random.
    PacketLoss {
        /// The VM.
        target: usize,
        /// How many of a million packets are dropped.
        rate_ppm: u32,
    },
    /// Delays packets of one VM at random within a window, so that they overtake each other.
    PacketReorder {
        /// The VM.
        target: usize,
        /// Length of the window, in ns.
        window_ns: u64,
    },
    /// Ends every network fault except base latency.
    NetworkHeal,
    /// Power cut: the VM is gone with its memory and unflushed writes.
    ProcessKill {
        /// The VM.
        target: usize,
    },
    /// The VM executes nothing for a while, and its clocks stand still with it.
    ProcessPause {
        /// The VM.
        target: usize,
        /// Resumed by itself after so many ns; `None` until a resume or the end of faults.
        duration_ns: Option<u64>,
    },
    /// A paused VM goes on.
    ProcessResume {
        /// The VM.
        target: usize,
    },
    /// Starts a killed VM again; a running one suffers a power cut first.
    ProcessRestart {
        /// The VM.
        target: usize,
    },
    /// The VM's counters and timers run at a rate of (1,000,000 + ppm) per million.
    ClockSkew {
        /// The VM.
        target: usize,
        /// Deviation from the cluster's rate; 0 ends the skew.
        ppm: i32,
    },
    /// The VM's wall clock jumps; its monotonic clock does not.
    ClockJump {
        /// The VM.
        target: usize,
        /// Forward when positive, in ns.
        offset_ns: i64,
    },
}

/// The kinds of faults, in the catalogue's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each is described by its catalogue entry")]
pub enum FaultKind {
    Partition,
    OneWayPartition,
    Latency,
    Jitter,
    Loss,
    Reorder,
    Heal,
    Kill,
    Pause,
    Resume,
    Restart,
    Skew,
    WallClockJump,
}

/// Whom a fault hits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// The whole cluster.
    All,
    /// One VM.
    Vm(usize),
    /// Two groups of VMs.
    Sides(Vec<usize>, Vec<usize>),
}

/// A fault taken apart. The amount is in the unit its catalogue entry names
/// (ns or ppm); `None` where the kind has no parameter or an optional one is absent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Parts {
    /// What happens.
    pub kind: FaultKind,
    /// To whom.
    pub target: Target,
    /// How much.
    pub amount: Option<i64>,
}

impl Fault {
    /// Takes the fault apart.
    pub fn parts(&self) -> Parts {
        use Fault as F;
        use FaultKind as K;
        let vm = |kind, target: &usize, amount| Parts {
            kind,
            target: Target::Vm(*target),
            amount,
        };
        let sides = |kind, a: &Vec<usize>, b: &Vec<usize>| Parts {
            kind,
            target: Target::Sides(a.clone(), b.clone()),
            amount: None,
        };
        let ns = |n: &u64| Some(i64::try_from(*n).unwrap_or(i64::MAX));
        match self {
            F::NetworkPartition { side_a, side_b } => sides(K::Partition, side_a, side_b),
            F::NetworkPartitionOneWay { from, to } => sides(K::OneWayPartition, from, to),
            F::NetworkLatency { target, latency_ns } => vm(K::Latency, target, ns(latency_ns)),
            F::NetworkJitter { target, jitter_ns } => vm(K::Jitter, target, ns(jitter_ns)),
            F::PacketLoss { target, rate_ppm } => vm(K::Loss, target, Some(i64::from(*rate_ppm))),
            F::PacketReorder { target, window_ns } => vm(K::Reorder, target, ns(window_ns)),
            F::NetworkHeal => Parts {
                kind: K::Heal,
                target: Target::All,
                amount: None,
            },
            F::ProcessKill { target } => vm(K::Kill, target, None),
            F::ProcessPause {
                target,
                duration_ns,
            } => vm(K::Pause, target, duration_ns.as_ref().and_then(ns)),
            F::ProcessResume { target } => vm(K::Resume, target, None),
            F::ProcessRestart { target } => vm(K::Restart, target, None),
            F::ClockSkew { target, ppm } => vm(K::Skew, target, Some(i64::from(*ppm))),
            F::ClockJump { target, offset_ns } => vm(K::WallClockJump, target, Some(*offset_ns)),
        }
    }

    /// What kind of fault it is.
    pub fn kind(&self) -> FaultKind {
        self.parts().kind
    }

    /// The VMs that the fault names, in order of mention.
    pub fn vms(&self) -> Vec<usize> {
        match self.parts().target {
            Target::All => Vec::new(),
            Target::Vm(vm) => vec![vm],
            Target::Sides(mut a, b) => {
                a.extend(b);
                a
            }
        }
    }
}

impl Parts {
    /// The typed fault, or `None` if target or amount do not fit the kind.
    pub fn build(self) -> Option<Fault> {
        use Fault as F;
        use FaultKind as K;
        let amount = self.amount;
        let ns = || u64::try_from(amount?).ok();
        Some(match (self.kind, self.target) {
            (K::Partition, Target::Sides(side_a, side_b)) => F::NetworkPartition { side_a, side_b },
            (K::OneWayPartition, Target::Sides(from, to)) => F::NetworkPartitionOneWay { from, to },
            (K::Latency, Target::Vm(target)) => F::NetworkLatency {
                target,
                latency_ns: ns()?,
            },
            (K::Jitter, Target::Vm(target)) => F::NetworkJitter {
                target,
                jitter_ns: ns()?,
            },
            (K::Loss, Target::Vm(target)) => F::PacketLoss {
                target,
                rate_ppm: u32::try_from(amount?).ok()?,
            },
            (K::Reorder, Target::Vm(target)) => F::PacketReorder {
                target,
                window_ns: ns()?,
            },
            (K::Heal, Target::All) => F::NetworkHeal,
            (K::Kill, Target::Vm(target)) => F::ProcessKill { target },
            (K::Pause, Target::Vm(target)) => {
                let duration_ns = match amount {
                    Some(n) => Some(u64::try_from(n).ok()?),
                    None => None,
                };
                F::ProcessPause {
                    target,
                    duration_ns,
                }
            }
            (K::Resume, Target::Vm(target)) => F::ProcessResume { target },
            (K::Restart, Target::Vm(target)) => F::ProcessRestart { target },
            (K::Skew, Target::Vm(target)) => F::ClockSkew {
                target,
                ppm: i32::try_from(amount?).ok()?,
            },
            (K::WallClockJump, Target::Vm(target)) => F::ClockJump {
                target,
                offset_ns: amount?,
            },
            _ => return None,
        })
    }
}
