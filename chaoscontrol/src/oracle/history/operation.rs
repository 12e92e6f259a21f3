//! Operations of clients on the system under test: what was called, and what came of it.

use std::fmt;
use std::sync::Arc;

/// A value as its text: two values are equal if they read alike.
pub type Value = Arc<str>;

/// What a client asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Call {
    /// The value of a register, or all of a set or a log.
    Read,
    /// Gives a register a value.
    Write(Value),
    /// Gives a register the second value if it has the first.
    CompareAndSwap(Value, Value),
    /// Puts a value into a set.
    Add(Value),
    /// Takes a value out of a set.
    Remove(Value),
    /// Whether a set has a value.
    Contains(Value),
    /// Puts a value at the end of a queue.
    Enqueue(Value),
    /// Takes the value at the head of a queue.
    Dequeue,
    /// Puts a value at the end of a log.
    Append(Value),
    /// Something else, for a model of the test's own.
    Other {
        /// What.
        name: Value,
        /// With what.
        arguments: Vec<Value>,
    },
}

impl Call {
    /// Whether it only looks, whatever the model.
    pub(super) fn only_looks(&self) -> bool {
        matches!(self, Call::Read | Call::Contains(_))
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Call::Read => f.write_str("read"),
            Call::Write(value) => write!(f, "write {value}"),
            Call::CompareAndSwap(old, new) => write!(f, "compare-and-swap {old} by {new}"),
            Call::Add(value) => write!(f, "add {value}"),
            Call::Remove(value) => write!(f, "remove {value}"),
            Call::Contains(value) => write!(f, "contains {value}"),
            Call::Enqueue(value) => write!(f, "enqueue {value}"),
            Call::Dequeue => f.write_str("dequeue"),
            Call::Append(value) => write!(f, "append {value}"),
            Call::Other { name, arguments } => {
                f.write_str(name)?;
                arguments.iter().try_for_each(|value| write!(f, " {value}"))
            }
        }
    }
}

/// What a call that succeeded answered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Answer {
    /// That it is done.
    Done,
    /// That there is nothing.
    Nothing,
    /// A value; `true` or `false` for a yes or no.
    Value(Value),
    /// Several values.
    List(Vec<Value>),
}

impl Answer {
    /// The yes or no that it is.
    pub fn flag(&self) -> Option<bool> {
        match self {
            Answer::Value(text) => text.parse().ok(),
            _ => None,
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Done => f.write_str("done"),
            Answer::Nothing => f.write_str("nothing"),
            Answer::Value(value) => f.write_str(value),
            Answer::List(values) => write!(f, "[{}]", values.join(", ")),
        }
    }
}

/// What came of an operation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// It took effect, and returned at this cluster time in ns.
    Ok(u64, Answer),
    /// It had no effect, as is known since this cluster time in ns.
    Failed(u64),
    /// Nobody knows: it never returned, or without certainty. It may take effect at any time
    /// after its call, or never.
    Unknown,
}

/// An operation of a history.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Operation {
    /// When it was called, in ns of cluster time.
    pub called_ns: u64,
    /// The VM that called it.
    pub vm: usize,
    /// Which of the VM's clients: the lowest number that no operation of the VM was using. One of
    /// which nobody knows what came keeps its number.
    pub process: usize,
    /// What it was called on. Operations on different keys have nothing to do with each other.
    pub key: Value,
    /// What was called.
    pub call: Call,
    /// What came of it.
    pub outcome: Outcome,
}
