//! All the ways in which a branch can fail, and when two failures are the same.

use chaoscontrol_guest::protocol::PropertyKind;
use serde::{Deserialize, Serialize};

use super::encoding::{kind, site};

/// An instant and the VM it concerns. The earliest moment of a branch is its failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Moment {
    /// Cluster time in ns.
    pub time_ns: u64,
    /// The VM; for failures of the cluster as a whole, the number of VMs or any beyond.
    pub vm: usize,
}

/// A place in a source file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The file, as `file!()` gives it.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

/// A property: what it states, and the message that identifies it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Property {
    /// Its identity.
    pub message: String,
    /// What it states.
    #[serde(with = "kind")]
    pub kind: PropertyKind,
}

/// A value that a VM saw for a key of `assert_agree!`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Observed {
    /// Its `Debug` text.
    pub value: String,
    /// When and where.
    pub at: Moment,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum FailureKind {
    /// A property that must always hold did not, or one that must not be reached was.
    Property {
        /// Which.
        property: Property,
        /// Where it stands.
        place: Place,
        /// What the program said about it, `key = value` lines.
        details: String,
    },
    /// Two observations of one key differ.
    Agree {
        /// The property's message.
        message: String,
        /// Where the later observation was made.
        place: Place,
        /// The key's `Debug` text.
        key: String,
        /// The value seen first.
        first: Observed,
        /// The value that differs from it.
        second: Observed,
    },
    /// Over a complete exploration a property was never met.
    NeverMet {
        /// The property's message.
        message: String,
        /// What it states and where, if a site with this message is known.
        #[serde(with = "site")]
        site: Option<(PropertyKind, Place)>,
        /// In how many branches it was evaluated.
        evaluated: u64,
    },
    /// A thread of the body's process panicked.
    Panic {
        /// The thread's name.
        thread: String,
        /// The panic's message.
        message: String,
        /// `file:line:column`, empty if unknown.
        location: String,
        /// Return addresses, `<file>+0x<offset>`, one a line.
        backtrace: String,
    },
    /// The body returned an error, of which this is the `Debug` text.
    BodyError(String),
    /// The body's process exited with this status.
    BodyExit(i32),
    /// The body's process was ended by this signal.
    BodySignal(i32),
    /// A program that a body ran exited with a status other than 0.
    ProgramExit {
        /// The program's name.
        name: String,
        /// The status.
        code: i32,
    },
    /// A program that a body ran was ended by a signal.
    ProgramSignal {
        /// The program's name.
        name: String,
        /// The signal's number.
        signal: i32,
    },
    /// The guest's kernel panicked or oopsed; the line it wrote.
    Kernel(String),
    /// No VM sent anything for so many virtual ns.
    Stall {
        /// The limit that was reached.
        stall_ns: u64,
    },
    /// These servers never completed their setup.
    SetupIncomplete {
        /// The servers.
        vms: Vec<usize>,
        /// For how many virtual ns the cluster waited.
        limit_ns: u64,
    },
    /// Bodies that must finish did not.
    Unfinished {
        /// Their VMs.
        vms: Vec<usize>,
    },
    /// The body asked for a fault that cannot be; why.
    FaultRefused(String),
    /// The agent in the VM could not do its work.
    Agent(String),
    /// The machine went off by itself; why.
    Shutdown(String),
    /// A guest made its host remember more than it may.
    Flood(String),
    /// What a guest told of its operations makes no history; why.
    History(String),
    /// The test's `check` objects to the branch.
    Check {
        /// The function.
        check: String,
        /// What it says.
        said: String,
    },
}

/// A failure of a branch.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Failure {
    /// When and where; `None` for what an exploration as a whole failed to show.
    pub at: Option<Moment>,
    /// What.
    pub kind: FailureKind,
}

/// What makes two failures the same bug: kind and message, with numbers left out of
/// texts in which they vary from run to run. A property is its message, whichever of the
/// assertions that bear it is the first to see that it does not hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FailureId {
    /// The kind's name.
    pub kind: String,
    /// What tells failures of the kind apart.
    pub message: String,
}

impl Failure {
    /// A failure at a moment.
    pub fn new(time_ns: u64, vm: usize, kind: FailureKind) -> Self {
        Failure {
            at: Some(Moment { time_ns, vm }),
            kind,
        }
    }

    /// Which bug this is.
    pub fn id(&self) -> FailureId {
        use FailureKind as K;
        let (kind, message) = match &self.kind {
            K::Property {
                property: Property { message, .. },
                ..
            }
            | K::Agree { message, .. } => ("property", message.clone()),
            K::NeverMet { message, .. } => ("never met", message.clone()),
            K::Panic {
                location, message, ..
            } if location.is_empty() => ("panic", without_numbers(message)),
            K::Panic { location, .. } => ("panic", location.clone()),
            K::BodyError(text) => ("error", without_numbers(text)),
            K::BodyExit(code) => ("exit", code.to_string()),
            K::BodySignal(signal) => ("signal", signal.to_string()),
            K::ProgramExit { name, code } => ("program exit", format!("{name} {code}")),
            K::ProgramSignal { name, signal } => ("program signal", format!("{name} {signal}")),
            K::Kernel(line) => ("kernel", without_numbers(line)),
            K::Stall { .. } => ("stall", String::new()),
            K::SetupIncomplete { .. } => ("setup incomplete", String::new()),
            K::Unfinished { .. } => ("unfinished", String::new()),
            K::FaultRefused(why) => ("fault refused", why.clone()),
            K::Agent(text) => ("agent", without_numbers(text)),
            K::Shutdown(reason) => ("shutdown", without_numbers(reason)),
            K::Flood(what) => ("flood", what.clone()),
            K::History(what) => ("history", what.clone()),
            K::Check { check, said } => {
                let first = said.lines().next().unwrap_or_default();
                ("check", format!("{check}: {}", without_numbers(first)))
            }
        };
        FailureId {
            kind: kind.to_owned(),
            message,
        }
    }
}

/// `text` with each run of digits (and what follows within its word in hexadecimal) as `#`.
fn without_numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut number = false;
    for c in text.chars() {
        number = c.is_ascii_digit() || (number && c.is_ascii_hexdigit()) || (number && c == 'x');
        if !number {
            out.push(c);
        } else if !out.ends_with('#') {
            out.push('#');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bug_is_recognised_whatever_its_numbers() {
        let id = |kind| Failure::new(1, 0, kind).id();
        let error = |t: &str| id(FailureKind::BodyError(t.to_owned()));
        assert_eq!(
            error("timed out after 3.25 s at 0xdeadbeef"),
            error("timed out after 14.5 s at 0x1")
        );
        assert_ne!(error("timed out"), error("refused"));
        assert_ne!(id(FailureKind::BodyExit(1)), id(FailureKind::BodyExit(2)));
        let panic = |message: &str, location: &str| {
            let [thread, backtrace] = [String::new(), String::new()];
            id(FailureKind::Panic {
                thread,
                message: message.into(),
                location: location.into(),
                backtrace,
            })
        };
        assert_eq!(panic("index 3", "a.rs:1:2"), panic("other", "a.rs:1:2"));
        assert_ne!(panic("index 3", "a.rs:1:2"), panic("index 3", "a.rs:2:2"));
        assert_eq!(panic("index 3", ""), panic("index 4", ""));
        let place = Place {
            file: "a.rs".into(),
            line: 1,
            column: 2,
        };
        let property = |kind, message: &str| {
            let message = message.to_owned();
            id(FailureKind::Property {
                property: Property { message, kind },
                place: place.clone(),
                details: String::new(),
            })
        };
        let one = property(PropertyKind::Always, "one leader");
        assert_eq!(one, property(PropertyKind::Unreachable, "one leader"));
        assert_ne!(one, property(PropertyKind::Always, "no leader"));
        let observed = Observed {
            value: "0".to_owned(),
            at: Moment { time_ns: 1, vm: 0 },
        };
        let agree = id(FailureKind::Agree {
            message: "one leader".to_owned(),
            place: place.clone(),
            key: "1".to_owned(),
            first: observed.clone(),
            second: observed,
        });
        assert_eq!(one, agree);
    }
}
