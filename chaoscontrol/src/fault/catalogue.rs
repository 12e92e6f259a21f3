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

    /// Lets each link of one VM carry so much and no more, in each direction. Packets queue for it.
    Bandwidth = NetworkBandwidth { target: usize;
        /// Bytes in a second.
        bytes_per_s: u64 = Param::time("of", 1_000_000_000, (1_000, 1_000_000), 20_000)
            .of(Unit::Speed).from(1).better() },
        "bandwidth", "bandwidth", Shape::Vm, Class::Network, Effect::Network,
        "a backup, or a link that fell back to a lower rate, leaves little to the others";

    /// Flips a bit in packets of one VM at random, behind the Ethernet header.
    Corruption = PacketCorruption { target: usize;
        /// How many of a million packets are hit.
        rate_ppm: u32 = Param::rate("of", (10_000, 700_000), 300_000) },
        "corruption", "packet corruption", Shape::Vm, Class::Network, Effect::Network,
        "a bad cable, or a card that computes checksums over what it has damaged";

    /// Lets packets of one VM arrive twice at random.
    Duplicate = PacketDuplicate { target: usize;
        /// How many of a million packets are.
        rate_ppm: u32 = Param::rate("of", (10_000, 700_000), 300_000) },
        "duplicate", "packet duplicate", Shape::Vm, Class::Network, Effect::Network,
        "a retransmission whose original was only late, or a loop between switches";

    /// Packets to and from one VM are held until a release or a heal.
    Clog = NetworkClog { target: usize; },
        "clog", "clog", Shape::Vm, Class::Network, Effect::Network,
        "a switch that stops forwarding and keeps what it has";

    /// Packets that a clog holds arrive, late, complete and in order.
    Release = NetworkRelease { target: usize; },
        "release", "release", Shape::Vm, Class::Network, Effect::Known,
        "a switch forwards at last what everyone has given up";

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

    /// Processes of a VM are killed. A body whose process it was starts again 100 ms later, its
    /// incarnation one higher and its files as they were, and what it had started is gone.
    KillProcess = ProcessKillNamed { target: usize, name: String; },
        "kill-process", "kill process", Shape::Process, Class::Process, Effect::Known,
        "a crash, an operator or a deployment ends a service, and its supervisor starts it again";

    /// Processes of a VM stand still with all their threads, while the VM and its clocks go on.
    StopProcess = ProcessStopNamed { target: usize, name: String;
        /// Continued by itself after so many ns; `None` until a continue or the end of faults.
        duration_ns: Option<u64> =
            Param::time("for", 60 * MIN, (50 * MS, 4 * SEC), SEC).or_none() },
        "stop-process", "stop process", Shape::Process, Class::Process, Effect::Known,
        "a long garbage collection, a debugger, or memory that comes from a slow disk";

    /// Stopped processes of a VM go on.
    ContinueProcess = ProcessContinueNamed { target: usize, name: String; },
        "continue-process", "continue process", Shape::Process, Class::Process, Effect::Known,
        "a process that stood still goes on with what it believed then";

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

    /// The VM executes nothing for a while, and all its clocks run on. Its kernel has to look
    /// at the PM timer before that wraps, after 4.69 s, so a stall is shorter.
    Stall = ClockStall { target: usize;
        /// For so long, in ns; 0 ends a stall.
        duration_ns: u64 = Param::time("for", 4 * SEC, (50 * MS, 4 * SEC), SEC) },
        "stall", "clock stall", Shape::Vm, Class::Clock, Effect::Memory(0),
        "a host that was suspended, or ran other machines: deadlines have passed unnoticed";

    /// The VM's wall clock jumps to and fro; its monotonic clock does not.
    ClockStrobe = ClockStrobe { target: usize;
        /// Where it jumps from true time, in ns; 0 ends the strobe.
        offset_ns: i64 = Param::time("by", YEAR, (100 * MS, 60 * MIN), 5 * SEC).from(-YEAR),
        /// How long it stays, there as at true time, in ns.
        period_ns: u64 = Param::time("every", MIN, (10 * MS, SEC), 100 * MS)
            .from(MS).better() },
        "clock-strobe", "clock strobe", Shape::Vm, Class::Clock, Effect::Memory(0),
        "two time servers that disagree, and a client that believes each in turn";

    /// The VM's CPU runs slower, and its clocks as ever.
    SlowCpu = CpuSlow { target: usize;
        /// Its speed, in millionths of the normal one.
        rate_ppm: u32 = Param::rate("to", (20_000, 700_000), 100_000).from(1_000).better() },
        "slow-cpu", "slow cpu", Shape::Vm, Class::Resource, Effect::Hardware(1_000_000),
        "a CPU that is too hot, or one that a neighbour takes most of";

    /// Lets the clocks of a VM run on while its CPU stands, where it is in user mode after so
    /// many instructions: a slice of 10 ms or more makes the guest's scheduler switch there.
    Preempt = Preempt { target: usize;
        /// Length of the slice, in ns; 0 takes back what is to come.
        slice_ns: u64 = Param::time("for", SEC, (10 * MS, 50 * MS), 20 * MS),
        /// Instructions that are to retire before it.
        instructions: u64 = Param::place("after", 10_000_000_000, 1_000)
            .of(Unit::Instructions).usually(1, 1_000_000) },
        "preempt", "preempt", Shape::Vm, Class::Resource, Effect::Memory(0),
        "a thread loses its CPU between two instructions that belong together";

    /// Flips a bit of the VM's memory.
    BitFlip = MemoryBitFlip { target: usize;
        /// The number of the bit, from the first of memory on, and again from there.
        bit: u64 = Param::place("at", (3 << 33) - 1, 1 << 28) },
        "bit-flip", "memory bit flip", Shape::Vm, Class::Resource, Effect::None,
        "memory without error correction, or with more errors than it corrects";

    /// Another process takes memory of the VM; when none is left, the kernel kills the largest
    /// of the test's. A body's process that it kills starts again, as after `kill process`.
    MemoryPressure = MemoryPressure { target: usize;
        /// How many of a million bytes that are available at that time; 0 gives them back.
        rate_ppm: u32 = Param::rate("of", (500_000, 1_000_000), 950_000) },
        "memory-pressure", "memory pressure", Shape::Vm, Class::Resource, Effect::Memory(0),
        "a neighbour with a leak, until the kernel has to kill somebody";

    /// The host takes memory back from the VM, whose kernel gives what is free. When others want it
    /// then, the kernel kills the largest of the test's processes; if what is left is too little
    /// for itself, it panics. A body's process that it kills starts again, as after `kill process`.
    Balloon = MemoryBalloon { target: usize;
        /// How many of a million bytes of the VM's memory; 0 gives them back.
        rate_ppm: u32 = Param::rate("of", (100_000, 500_000), 400_000) },
        "balloon", "balloon", Shape::Vm, Class::Resource, Effect::Memory(0),
        "a host that has promised more memory than it has, and takes some back from its guests";

    /// A pulse on a line of the VM's interrupt controller that no device made.
    Irq = InjectInterrupt { target: usize;
        /// The line.
        line: u8 = Param::place("on", 15, 6) },
        "irq", "irq", Shape::Vm, Class::Interrupt, Effect::None,
        "a device or a wire with a glitch";

    /// A non-maskable interrupt.
    Nmi = InjectNmi { target: usize; },
        "nmi", "nmi", Shape::Vm, Class::Interrupt, Effect::None,
        "a watchdog, a memory error or an operator's button";

    /// An interrupt whose cause is gone when the CPU asks for it.
    SpuriousInterrupt = SpuriousInterrupt { target: usize; },
        "spurious-interrupt", "spurious interrupt", Shape::Vm, Class::Interrupt, Effect::None,
        "a device that takes its request back too late";

    /// Reads of one VM's disk fail. This and the other faults of a disk stay over restarts.
    DiskReadError = DiskReadError { target: usize;
        /// How many of a million reads fail.
        rate_ppm: u32 = Param::rate("of", (1_000, 500_000), 100_000) },
        "disk-read-error", "disk read error", Shape::Vm, Class::Disk, Effect::Disk,
        "sectors that a drive can no longer read";

    /// Writes to one VM's disk fail, and change nothing.
    DiskWriteError = DiskWriteError { target: usize;
        /// How many of a million writes fail.
        rate_ppm: u32 = Param::rate("of", (1_000, 500_000), 100_000) },
        "disk-write-error", "disk write error", Shape::Vm, Class::Disk, Effect::Disk,
        "a drive that runs out of spare sectors, or a network drive that goes away";

    /// Flushes of one VM's disk fail, and make nothing durable.
    DiskFlushError = DiskFlushError { target: usize;
        /// How many of a million flushes fail.
        rate_ppm: u32 = Param::rate("of", (10_000, 1_000_000), 300_000) },
        "disk-flush-error", "disk flush error", Shape::Vm, Class::Disk, Effect::Disk,
        "an fsync that fails, after which a database trusted what it had written";

    /// Writes to one VM's disk are reported as done, and only their first sectors are stored.
    DiskTornWrite = DiskTornWrite { target: usize;
        /// How many of a million writes are torn.
        rate_ppm: u32 = Param::rate("of", (1_000, 300_000), 50_000) },
        "disk-torn-write", "disk torn write", Shape::Vm, Class::Disk, Effect::Disk,
        "a drive or its firmware stops in the middle of a write and does not say so";

    /// One bit of what is written to one VM's disk is stored wrong.
    DiskCorruption = DiskCorruption { target: usize;
        /// How many of a million writes are stored wrong.
        rate_ppm: u32 = Param::rate("of", (1_000, 300_000), 50_000) },
        "disk-corruption", "disk corruption", Shape::Vm, Class::Disk, Effect::Disk,
        "a bit that rots on the medium or flips on the way to it";

    /// One VM's disk loses what was written since the last flush, and the VM runs on.
    DiskLostWrites = DiskLostWrites { target: usize; },
        "disk-lost-writes", "disk lost writes", Shape::Vm, Class::Disk, Effect::None,
        "a drive that resets itself and forgets its cache";

    /// Writes to one VM's disk land at another place, and their own keeps what it had.
    DiskMisdirectedWrite = DiskMisdirectedWrite { target: usize;
        /// How many of a million writes land elsewhere.
        rate_ppm: u32 = Param::rate("of", (1_000, 300_000), 50_000) },
        "disk-misdirected-write", "disk misdirected write", Shape::Vm, Class::Disk, Effect::Disk,
        "a write that firmware or a controller sends to the wrong address";

    /// Each request to one VM's disk takes longer.
    DiskSlow = DiskSlow { target: usize;
        /// Added to each request, in ns.
        delay_ns: u64 = Param::time("by", MIN, (MS, 500 * MS), 20 * MS) },
        "disk-slow", "disk slow", Shape::Vm, Class::Disk, Effect::Disk,
        "a drive that retries, or a volume whose neighbours are busy";

    /// One VM's directory for data has no space left, until it heals or the VM restarts.
    DiskFull = DiskFull { target: usize; },
        "disk-full", "full disk", Shape::Vm, Class::Disk, Effect::Disk,
        "logs that nobody rotates, or a backup that was left behind";

    /// Ends every fault of one VM's disk. What they did to its contents stays.
    DiskHeal = DiskHeal { target: usize; },
        "disk-heal", "disk heal", Shape::Vm, Class::Disk, Effect::Known,
        "the drive is replaced by a sound one with the same contents";
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
