//! What the catalogue says of a kind of fault, and how kinds are found by name.

use std::fmt;
use std::str::FromStr;

use super::catalogue::{CATALOGUE, FaultKind};
use crate::encoding::as_text;

/// What a parameter is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds, written as `20 ms`.
    Time,
    /// Parts per million, written as `30 %`.
    Rate,
    /// Bytes per second, written as `20 kB/s`.
    Speed,
    /// Retired instructions, written as `1234 instructions`.
    Instructions,
    /// A number such as a bit's or a line's, written as it is.
    Number,
}

/// How values of a parameter are drawn, and which are milder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sense {
    /// Small sizes are drawn as often as great ones, and are milder.
    Less,
    /// Small sizes are drawn as often as great ones, which are milder.
    More,
    /// Every value is drawn as often as any other; rounder ones are simpler.
    Place,
}

/// A parameter of a kind of fault.
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
    /// How it is drawn and shrunk.
    pub sense: Sense,
}

impl Param {
    /// A time in ns from 0 to `max`; shorter is milder.
    pub(super) const fn time(
        word: &'static str,
        max: i64,
        usual: (i64, i64),
        default: i64,
    ) -> Param {
        Param {
            word,
            unit: Unit::Time,
            min: 0,
            max,
            usual,
            default,
            optional: false,
            sense: Sense::Less,
        }
    }

    /// A rate in ppm from 0 to 100 %; less is milder.
    pub(super) const fn rate(word: &'static str, usual: (i64, i64), default: i64) -> Param {
        Param {
            unit: Unit::Rate,
            ..Param::time(word, 1_000_000, usual, default)
        }
    }

    /// The same with another least value.
    pub(super) const fn from(self, min: i64) -> Param {
        Param { min, ..self }
    }

    /// The same in another unit.
    pub(super) const fn of(self, unit: Unit) -> Param {
        Param { unit, ..self }
    }

    /// The same, of which more is milder.
    pub(super) const fn better(self) -> Param {
        Param {
            sense: Sense::More,
            ..self
        }
    }

    /// The same, drawn between `least` and `most`.
    pub(super) const fn usually(self, least: i64, most: i64) -> Param {
        Param {
            usual: (least, most),
            ..self
        }
    }

    /// A plain number from 0 to `max`, none of which is milder than another.
    pub(super) const fn place(word: &'static str, max: i64, default: i64) -> Param {
        Param {
            unit: Unit::Number,
            sense: Sense::Place,
            ..Param::time(word, max, (1, max), default)
        }
    }

    /// The same, which may be left out.
    pub(super) const fn or_none(self) -> Param {
        Param {
            optional: true,
            ..self
        }
    }

    /// The amount's words in a fault's text.
    pub(super) fn show(&self, amount: i64) -> String {
        format!("{} {}", self.word, self.unit.show(amount))
    }
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
    /// Processes of one VM, by name.
    Process,
}

/// The part of a system that a kind of fault troubles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The links between VMs. These faults reach clients too; others reach clients only where
    /// a test asks for it.
    Network,
    /// VMs and processes coming and going.
    Process,
    /// What a VM knows of time.
    Clock,
    /// CPU and memory.
    Resource,
    /// Interrupts.
    Interrupt,
    /// A VM's disk.
    Disk,
}

impl Class {
    /// Every class, in the catalogue's order.
    pub const ALL: [Class; 6] = [
        Class::Network,
        Class::Process,
        Class::Clock,
        Class::Resource,
        Class::Interrupt,
        Class::Disk,
    ];

    /// The class in a word.
    pub fn name(self) -> &'static str {
        match self {
            Class::Network => "network",
            Class::Disk => "disk",
            Class::Process => "process",
            Class::Clock => "clock",
            Class::Resource => "resource",
            Class::Interrupt => "interrupt",
        }
    }
}

/// What of a fault stands after its instant, and what undoes it when faults end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing that would have to be undone.
    None,
    /// Something until the network heals.
    Network,
    /// Something until this VM's disk heals.
    Disk,
    /// Something in the VM's hardware, until the same fault comes with this as its first amount.
    Hardware(i64),
    /// The same in the VM's memory: it does not outlive its power.
    Memory(i64),
    /// What the engine knows of this kind by itself.
    Known,
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
    /// Its parameters, in the order of its text.
    pub params: &'static [Param],
    /// What it troubles.
    pub class: Class,
    /// What of it stands.
    pub effect: Effect,
    /// The incident in production that it stands for.
    pub incident: &'static str,
}

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

impl FromStr for FaultKind {
    type Err = String;

    fn from_str(name: &str) -> Result<FaultKind, String> {
        FaultKind::by_name(name)
    }
}

as_text!(FaultKind);

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
    use super::super::catalogue::Parts;
    use super::super::table::Target;
    use super::*;

    #[test]
    fn entries_stand_in_the_order_of_the_enum_and_bound_themselves() {
        for (i, e) in CATALOGUE.iter().enumerate() {
            assert_eq!(e.kind as usize, i, "{}", e.name);
            assert!(!e.incident.is_empty());
            for p in e.params {
                assert!(p.min <= p.default && p.default <= p.max, "{}", e.name);
                assert!(
                    0 < p.usual.0 && p.usual.0 < p.usual.1 && p.usual.1 <= p.max,
                    "{}",
                    e.name
                );
                assert!(p.min >= 0 || p.min <= -p.usual.1, "{}", e.name);
            }
            if let Effect::Hardware(none) | Effect::Memory(none) = e.effect {
                let p = e.params.first().expect("its first amount ends it");
                assert!((p.min..=p.max).contains(&none), "{}", e.name);
            }
        }
    }

    #[test]
    fn names_are_told_apart() {
        let classes = Class::ALL.map(Class::name);
        assert!(CATALOGUE.iter().all(|e| !classes.contains(&e.name)));
        assert!(CATALOGUE.is_sorted_by_key(|e| e.class));
        for (i, a) in CATALOGUE.iter().enumerate() {
            for b in &CATALOGUE[i + 1..] {
                assert!(![b.name, b.words].contains(&a.name), "{}", a.name);
                assert!(![b.name, b.words].contains(&a.words), "{}", a.words);
            }
        }
    }

    /// A fault of this kind with the catalogue's amounts, as code writes it.
    fn typed(info: &FaultInfo) -> String {
        let target = match info.shape {
            Shape::All => Target::All,
            Shape::Vm => Target::Vm(0),
            Shape::Sides(_) => Target::Sides(vec![0], vec![1]),
            Shape::Process => Target::Process(0, String::new()),
        };
        let parts = Parts {
            kind: info.kind,
            target,
            amounts: info.params.iter().map(|p| Some(p.default)).collect(),
        };
        let fault = parts.clone().build().expect("defaults fit");
        assert_eq!(fault.parts(), parts);
        let name = format!("{fault:?}");
        name.split([' ', '{']).next().unwrap_or_default().to_owned()
    }

    #[test]
    fn faults_have_the_names_that_people_know() {
        let names: Vec<String> = CATALOGUE.iter().map(typed).collect();
        let known = "NetworkPartition NetworkLatency NetworkJitter NetworkBandwidth NetworkHeal PacketLoss \
            PacketCorruption PacketReorder PacketDuplicate DiskReadError DiskWriteError DiskTornWrite \
            DiskCorruption DiskFull ProcessKill ProcessPause ProcessRestart ClockSkew ClockJump \
            MemoryPressure InjectInterrupt InjectNmi";
        for name in known.split_whitespace() {
            assert!(names.iter().any(|n| n == name), "{name} of {names:?}");
        }
        assert!(names.len() >= 35, "{}", names.len());
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
