//! The catalogue: one table that names every fault, says what it stands for in
//! the real world, and bounds its parameter.

use std::fmt;

use super::kind::FaultKind;

/// What a parameter is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds, written as `20 ms`.
    Time,
    /// Parts per million, written as `30 %`.
    Rate,
}

/// The parameter of a kind of fault.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    /// The word before the amount: "vm 1 *by* 40 %".
    pub word: &'static str,
    /// Its unit.
    pub unit: Unit,
    /// Least value accepted.
    pub min: i64,
    /// Greatest value accepted.
    pub max: i64,
    /// Generated magnitudes lie between these two (and either sign where `min` is negative).
    pub usual: (i64, i64),
    /// The value taken when none is said.
    pub default: i64,
    /// Whether it may be left out altogether.
    pub optional: bool,
}

/// Whom a kind of fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The whole cluster.
    All,
    /// One VM.
    Vm,
    /// Two groups of VMs, written with this sign between them.
    Sides(&'static str),
}

/// A catalogue entry.
#[derive(Clone, Copy, Debug)]
pub struct FaultInfo {
    /// The kind it describes.
    pub kind: FaultKind,
    /// Its name in `faults = [...]`.
    pub name: &'static str,
    /// Its name in reports and schedules.
    pub words: &'static str,
    /// Whom it hits.
    pub shape: Shape,
    /// Its parameter, if it has one.
    pub param: Option<Param>,
    /// Whether it is a network fault: those reach clients too; others reach
    /// clients only where a test asks for it.
    pub network: bool,
    /// The incident in production that it stands for.
    pub incident: &'static str,
}

const MS: i64 = 1_000_000;
const SEC: i64 = 1000 * MS;

const fn time(word: &'static str, max: i64, usual: (i64, i64), default: i64) -> Option<Param> {
    Some(Param {
        word,
        unit: Unit::Time,
        min: 0,
        max,
        usual,
        default,
        optional: false,
    })
}

const fn rate(
    word: &'static str,
    min: i64,
    max: i64,
    usual: (i64, i64),
    default: i64,
) -> Option<Param> {
    Some(Param {
        word,
        unit: Unit::Rate,
        min,
        max,
        usual,
        default,
        optional: false,
    })
}

const fn entry(
    kind: FaultKind,
    name: &'static str,
    words: &'static str,
    shape: Shape,
    param: Option<Param>,
    network: bool,
    incident: &'static str,
) -> FaultInfo {
    FaultInfo {
        kind,
        name,
        words,
        shape,
        param,
        network,
        incident,
    }
}

const PAUSE: Option<Param> = Some(Param {
    word: "for",
    unit: Unit::Time,
    min: 0,
    max: 3600 * SEC,
    usual: (50 * MS, 4 * SEC),
    default: SEC,
    optional: true,
});
const JUMP: Option<Param> = Some(Param {
    word: "by",
    unit: Unit::Time,
    min: -366 * 86_400 * SEC,
    max: 366 * 86_400 * SEC,
    usual: (100 * MS, 3600 * SEC),
    default: 5 * SEC,
    optional: false,
});

use FaultKind as K;

/// All kinds, in the order of [`FaultKind`].
#[rustfmt::skip]
static CATALOGUE: [FaultInfo; 13] = [
    entry(K::Partition, "partition", "partition", Shape::Sides("|"), None, true,
        "a switch or a link between racks fails, and the cluster falls into groups"),
    entry(K::OneWayPartition, "one-way-partition", "one-way partition", Shape::Sides("->"), None, true,
        "a firewall rule or a dying transceiver loses one direction only"),
    entry(K::Latency, "latency", "latency", Shape::Vm, time("of", 60 * SEC, (MS, 500 * MS), 50 * MS), true,
        "a rerouted or distant link"),
    entry(K::Jitter, "jitter", "jitter", Shape::Vm, time("of", 60 * SEC, (MS, 200 * MS), 20 * MS), true,
        "a congested link whose delay varies from packet to packet"),
    entry(K::Loss, "loss", "packet loss", Shape::Vm, rate("of", 0, 1_000_000, (10_000, 700_000), 300_000), true,
        "an overloaded or damaged link that drops packets"),
    entry(K::Reorder, "reorder", "packet reorder", Shape::Vm, time("within", 60 * SEC, (MS, 100 * MS), 10 * MS), true,
        "packets that take several paths and overtake each other"),
    entry(K::Heal, "heal", "heal", Shape::All, None, true,
        "the network is repaired while the cluster is still in its new shape"),
    entry(K::Kill, "kill", "kill", Shape::Vm, None, false,
        "a power cut or a kernel crash"),
    entry(K::Pause, "pause", "pause", Shape::Vm, PAUSE, false,
        "a long garbage collection, a stopped process or a live migration"),
    entry(K::Resume, "resume", "resume", Shape::Vm, None, false,
        "a stalled machine comes back and believes no time has passed"),
    entry(K::Restart, "restart", "restart", Shape::Vm, None, false,
        "a machine reboots, or a supervisor starts it again"),
    entry(K::Skew, "skew", "clock skew", Shape::Vm, rate("by", -900_000, 9_000_000, (1_000, 500_000), 100_000), false,
        "an oscillator that runs fast or slow, or a guest clock that drifts"),
    entry(K::WallClockJump, "wall-clock-jump", "wall-clock jump", Shape::Vm, JUMP, false,
        "a time server steps the clock, or an operator sets it"),
];

impl FaultKind {
    /// Every kind, in the catalogue's order.
    pub fn all() -> impl ExactSizeIterator<Item = FaultKind> + Clone {
        CATALOGUE.iter().map(|e| e.kind)
    }

    /// The catalogue entry of this kind.
    pub fn info(self) -> &'static FaultInfo {
        &CATALOGUE[self as usize]
    }

    /// Its name in `faults = [...]`.
    pub fn name(self) -> &'static str {
        self.info().name
    }

    /// The kind with this name; otherwise the error names the nearest kind.
    ///
    /// # Errors
    /// A sentence that says the name is unknown, and a suggestion or the valid names.
    pub fn by_name(name: &str) -> Result<FaultKind, String> {
        if let Some(e) = CATALOGUE.iter().find(|e| e.name == name || e.words == name) {
            return Ok(e.kind);
        }
        Err(match nearest(name) {
            Some(near) => format!("unknown fault `{name}`, did you mean `{near}`?"),
            None => {
                let names: Vec<_> = CATALOGUE.iter().map(|e| e.name).collect();
                format!(
                    "unknown fault `{name}`; the faults are {}",
                    names.join(", ")
                )
            }
        })
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The catalogue name that `name` most likely misspells.
fn nearest(name: &str) -> Option<&'static str> {
    if name.len() > 40 {
        return None;
    }
    let name = name.to_ascii_lowercase().replace(['_', ' '], "-");
    CATALOGUE
        .iter()
        .flat_map(|e| {
            [e.name, e.words].map(|known| (distance(&name, &known.replace(' ', "-")), e.name))
        })
        .filter(|(d, known)| *d <= 1 + known.len() / 4)
        .min_by_key(|(d, _)| *d)
        .map(|(_, known)| known)
}

/// Levenshtein distance of two short strings, in bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (diagonal + usize::from(x != y))
                .min(above + 1)
                .min(row[j] + 1);
            diagonal = above;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_stand_in_the_order_of_the_enum_and_bound_themselves() {
        for (i, e) in CATALOGUE.iter().enumerate() {
            assert_eq!(e.kind as usize, i, "{}", e.name);
            assert!(!e.incident.is_empty());
            if let Some(p) = e.param {
                assert!(p.min <= p.default && p.default <= p.max, "{}", e.name);
                assert!(
                    0 < p.usual.0 && p.usual.0 < p.usual.1 && p.usual.1 <= p.max,
                    "{}",
                    e.name
                );
                assert!(p.min >= 0 || p.min <= -p.usual.1, "{}", e.name);
            }
        }
    }

    #[test]
    fn misspelled_kinds_are_recognised() {
        assert_eq!(FaultKind::by_name("kill"), Ok(FaultKind::Kill));
        assert_eq!(FaultKind::by_name("clock skew"), Ok(FaultKind::Skew));
        let near = |n| FaultKind::by_name(n).unwrap_err();
        assert!(near("partitoin").contains("did you mean `partition`"));
        assert!(near("clock_skew").contains("did you mean `skew`"));
        assert!(near("earthquake").contains("the faults are partition, "));
    }
}
