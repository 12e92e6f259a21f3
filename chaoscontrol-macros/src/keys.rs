//! The attribute's keys: one table for parsing, checking and the list in errors.
//!
//! The ranges are those of `KEYS` in chaoscontrol's `harness/settings.rs`, where a test
//! compares the two: a macro crate cannot share a table with the crate that uses it.

/// What a key's value must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole number in this range, of the type named.
    Number(u64, u64, &'static str),
    /// A time in this range, in nanoseconds.
    Time(u64, u64),
    /// A size in this range, in bytes.
    Memory(u64, u64),
    /// A size in this range, in bytes, or the path of a file.
    Disk(u64, u64),
    /// An instant in this range, in seconds since 1970.
    Epoch(u64, u64),
    /// `true` or `false`.
    Bool,
    /// One non-empty string.
    Text,
    /// A list of non-empty strings.
    Texts,
    /// A list of non-empty strings and of expressions that are some.
    Programs,
    /// A list of fault names.
    Faults,
    /// A file or a function.
    Schedule,
    /// One of these words, each in capitals a variant of the type named.
    Word(&'static str, &'static [&'static str]),
    /// Where the `chaoscontrol` crate is.
    Crate,
    /// One preset's name, or a list of them.
    Presets,
    /// A limit on what servers suffer from, or a list of them.
    Tolerance,
    /// A function that judges branches.
    Check,
}

/// A key.
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// The field of `Attributes` that it fills.
    pub field: &'static str,
    /// What its value must be.
    pub kind: Kind,
}

const fn key(name: &'static str, field: &'static str, kind: Kind) -> Key {
    Key { name, field, kind }
}

/// The shortest `duration`, and the longest of all times: a millisecond, a day.
const SHORT: u64 = 1_000_000;
const LONG: u64 = 86_400_000_000_000;

/// All keys, in the order of the documentation.
#[rustfmt::skip]
pub const KEYS: [Key; 28] = [
    key("vms", "vms", Kind::Number(1, 16, "u32")),
    key("clients", "clients", Kind::Number(0, 15, "u32")),
    key("rounds", "rounds", Kind::Number(1, u32::MAX as u64, "u32")),
    key("branches", "branches", Kind::Number(1, 4096, "u32")),
    key("duration", "duration_ns", Kind::Time(SHORT, LONG)),
    key("quiet", "quiet_ns", Kind::Time(0, LONG)),
    key("seed", "seed", Kind::Number(0, u64::MAX, "u64")),
    key("mode", "mode", Kind::Word("Mode", &["faults", "inputs", "hybrid"])),
    key("faults", "faults", Kind::Faults),
    key("preset", "presets", Kind::Presets),
    key("tolerance", "tolerance", Kind::Tolerance),
    key("schedule", "schedule", Kind::Schedule),
    key("require", "require", Kind::Texts),
    key("memory", "memory", Kind::Memory(32 << 20, 3 << 30)),
    key("binaries", "binaries", Kind::Programs),
    key("disk", "disk", Kind::Disk(4 << 20, 64 << 30)),
    key("packages", "packages", Kind::Texts),
    key("files", "files", Kind::Texts),
    key("kernel", "kernel", Kind::Text),
    key("engine", "engine", Kind::Word("EngineChoice", &["soft", "kvm", "auto"])),
    key("epoch", "epoch", Kind::Epoch(0, 4_102_444_800)),
    key("instruction_ns", "instruction_ns", Kind::Number(1, 1000, "u64")),
    key("must_finish", "must_finish", Kind::Bool),
    key("force_setup_complete", "force_setup_ns", Kind::Time(0, 59_000_000_000)),
    key("stall", "stall_ns", Kind::Time(0, LONG)),
    key("wall_limit", "wall_limit_ns", Kind::Time(0, LONG)),
    key("check", "check", Kind::Check),
    key("crate", "", Kind::Crate),
];

/// The faults that `faults = [...]` may name and that reach all VMs, in the catalogue's order.
pub const NETWORK_FAULTS: &[&str] = &[
    "partition",
    "one-way-partition",
    "latency",
    "jitter",
    "loss",
    "reorder",
    "bandwidth",
    "corruption",
    "duplicate",
    "clog",
    "release",
    "heal",
];

/// The faults that it may name and that reach servers only, unless [`CLIENTS`] follows; in the
/// catalogue's order.
pub const VM_FAULTS: &[&str] = &[
    "kill",
    "pause",
    "resume",
    "restart",
    "kill-process",
    "stop-process",
    "continue-process",
    "skew",
    "wall-clock-jump",
    "stall",
    "clock-strobe",
    "slow-cpu",
    "preempt",
    "bit-flip",
    "memory-pressure",
    "balloon",
    "irq",
    "nmi",
    "spurious-interrupt",
    "disk-read-error",
    "disk-write-error",
    "disk-flush-error",
    "disk-torn-write",
    "disk-corruption",
    "disk-lost-writes",
    "disk-misdirected-write",
    "disk-slow",
    "disk-full",
    "disk-heal",
];

/// The classes of faults that `tolerance` may name besides them.
pub const CLASSES: &[&str] = &[
    "network",
    "process",
    "clock",
    "resource",
    "interrupt",
    "disk",
];

/// What `tolerance` may name besides faults and classes.
pub const DOWN: &str = "down";

/// The names of presets.
pub const PRESETS: &[&str] = &[
    "isolate-one",
    "majorities-ring",
    "bridge",
    "swizzle-clog",
    "rolling-restart",
    "strobe-clock",
];

/// What follows the name of a fault that is meant for clients.
pub const CLIENTS: &str = " clients";

/// The key of this name.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The names of all keys.
pub fn names() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|key| key.name)
}
