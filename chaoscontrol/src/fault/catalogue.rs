//! The catalogue: every fault, what it stands for in the real world, whom it hits, what its
//! parameters are and what undoes it.

use super::info::{Class, Effect, FaultInfo, Param, Shape, Unit};
use super::table::{Amount, Target, faults};

/// A fault taken apart. Amounts are in the units that the catalogue's entry names, one for each
/// parameter; `None` where an optional one is absent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Parts {
    /// What happens.
    pub kind: FaultKind,
    /// To whom.
    pub target: Target,
    /// How much.
    pub amounts: Vec<Option<i64>>,
}

const MS: i64 = 1_000_000;
const SEC: i64 = 1000 * MS;
const MIN: i64 = 60 * SEC;
const YEAR: i64 = 366 * 24 * 60 * MIN;

faults! {
    /// Packets between the two sides are dropped, both ways. VMs on neither side still reach
    /// everyone. Partitions add up until the next heal.
    Partition = NetworkPartition { side_a: Vec<usize>, side_b: Vec<usize>; },
        "partition", "partition", Shape::Sides("|"), Class::Network, Effect::Network,
        "a switch or a link between racks fails, and the cluster falls into groups";

    /// Packets sent by the first group to the second are dropped; the way back works.
    OneWayPartition = NetworkPartitionOneWay { from: Vec<usize>, to: Vec<usize>; },
        "one-way-partition", "one-way partition", Shape::Sides("->"), Class::Network, Effect::Network,
        "a firewall rule or a dying transceiver loses one direction only";

    /// Sets the extra base latency of one VM's link; 0 is the default link.
    Latency = NetworkLatency { target: usize;
        /// Added to the link's own latency, in ns.
        latency_ns: u64 = Param::time("of", MIN, (MS, 500 * MS), 50 * MS) },
        "latency", "latency", Shape::Vm, Class::Network, Effect::Hardware(0),
        "a rerouted or distant link";

    /// Adds a random delay to each packet of one VM.
    Jitter = NetworkJitter { target: usize;
        /// Greatest delay, in ns.
        jitter_ns: u64 = Param::time("of", MIN, (MS, 200 * MS), 20 * MS) },
        "jitter", "jitter", Shape::Vm, Class::Network, Effect::Network,
        "a congested link whose delay varies from packet to packet";

    /// Drops packets of one VM at random.
    Loss = PacketLoss { target: usize;
        /// How many of a million packets are dropped.
        rate_ppm: u32 = Param::rate("of", (10_000, 700_000), 300_000) },
        "loss", "packet loss", Shape::Vm, Class::Network, Effect::Network,
        "an overloaded or damaged link that drops packets";

    /// Delays packets of one VM at random within a window, so that they overtake each other.
    Reorder = PacketReorder { target: usize;
        /// Length of the window, in ns.
        window_ns: u64 = Param::time("within", MIN, (MS, 100 * MS), 10 * MS) },
        "reorder", "packet reorder", Shape::Vm, Class::Network, Effect::Network,
        "packets that take several paths and overtake each other";

    /// Ends every network fault except base latency.
    Heal = NetworkHeal,
        "heal", "heal", Shape::All, Class::Network, Effect::Known,
        "the network is repaired while the cluster is still in its new shape";

    /// Power cut: the VM is gone with its memory and unflushed writes.
    Kill = ProcessKill { target: usize; },
        "kill", "kill", Shape::Vm, Class::Process, Effect::Known,
        "a power cut or a kernel crash";

    /// The VM executes nothing for a while, and its clocks stand still with it.
    Pause = ProcessPause { target: usize;
        /// Resumed by itself after so many ns; `None` until a resume or the end of faults.
        duration_ns: Option<u64> =
            Param::time("for", 60 * MIN, (50 * MS, 4 * SEC), SEC).or_none() },
        "pause", "pause", Shape::Vm, Class::Process, Effect::Known,
        "a long garbage collection, a stopped process or a live migration";

    /// A paused VM goes on.
    Resume = ProcessResume { target: usize; },
        "resume", "resume", Shape::Vm, Class::Process, Effect::Known,
        "a stalled machine comes back and believes no time has passed";

    /// Starts a killed VM again; a running one suffers a power cut first.
    Restart = ProcessRestart { target: usize; },
        "restart", "restart", Shape::Vm, Class::Process, Effect::Known,
        "a machine reboots, or a supervisor starts it again";

    /// The VM's counters and timers run at a rate of (1,000,000 + ppm) per million.
    Skew = ClockSkew { target: usize;
        /// Deviation from the cluster's rate; 0 ends the skew.
        ppm: i32 = Param::time("by", 9_000_000, (1_000, 500_000), 100_000).of(Unit::Rate).from(-900_000) },
        "skew", "clock skew", Shape::Vm, Class::Clock, Effect::Hardware(0),
        "an oscillator that runs fast or slow, or a guest clock that drifts";

    /// The VM's wall clock jumps; its monotonic clock does not.
    WallClockJump = ClockJump { target: usize;
        /// Forward when positive, in ns.
        offset_ns: i64 = Param::time("by", YEAR, (100 * MS, 60 * MIN), 5 * SEC).from(-YEAR) },
        "wall-clock-jump", "wall-clock jump", Shape::Vm, Class::Clock, Effect::Known,
        "a time server steps the clock, or an operator sets it";
}

impl Fault {
    /// What kind of fault it is.
    pub fn kind(&self) -> FaultKind {
        self.parts().kind
    }

    /// The VMs that the fault names, in order of mention.
    pub fn vms(&self) -> Vec<usize> {
        self.parts().target.vms()
    }
}
