//! What a branch did, as a test's `check` gets to see it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::Arc;

use super::check::{Checker, HistoryError};
use super::model::Model;
use super::operation::{Answer, Call, Operation, Outcome, Value};
use super::record::{Entry, What};
use crate::fault::Fault;
use crate::oracle::Moment;

/// An event that a guest sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// When and where.
    pub at: Moment,
    /// Its name.
    pub name: &'a str,
    /// Its details.
    pub details: &'a str,
}

/// A line that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// When and where.
    pub at: Moment,
    /// The program that wrote it; `None` for the body, "kernel" for the console.
    pub program: Option<&'a str>,
    /// The line. Bytes that are not UTF-8 are replaced.
    pub text: &'a str,
}

/// A branch after its end: events, faults and lines of all VMs in one order, by time, VM and
/// sequence, from the start of the VMs on. Faults come behind what VMs did at the same instant.
#[derive(Clone, Debug)]
pub struct Run {
    entries: Vec<Entry>,
    vms: usize,
    start_ns: u64,
    end_ns: u64,
}

impl Run {
    pub(super) fn new(mut entries: Vec<Entry>, vms: usize, start_ns: u64, end_ns: u64) -> Run {
        // What one VM did at one instant keeps its order.
        entries.sort_by_key(|entry| entry.at);
        Run {
            entries,
            vms,
            start_ns,
            end_ns,
        }
    }

    /// Everything, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// How many VMs there were.
    pub fn vms(&self) -> usize {
        self.vms
    }

    /// Cluster time in ns of schedule time 0: when the setup was complete.
    pub fn start_ns(&self) -> u64 {
        self.start_ns
    }

    /// Cluster time in ns of the end.
    pub fn end_ns(&self) -> u64 {
        self.end_ns
    }

    /// A cluster time as reports show it, relative to the setup.
    pub fn time(&self, ns: u64) -> String {
        crate::oracle::describe::since(ns, Some(self.start_ns))
    }

    /// What guests sent by `send_event`.
    pub fn events(&self) -> impl Iterator<Item = Event<'_>> {
        self.entries.iter().filter_map(|entry| match &entry.what {
            What::Event { name, details } => Some(Event {
                at: entry.at,
                name,
                details,
            }),
            _ => None,
        })
    }

    /// The faults that were applied, bodies' and recoveries included, by cluster time in ns.
    pub fn faults(&self) -> impl Iterator<Item = (u64, &Fault)> {
        self.entries.iter().filter_map(|entry| match &entry.what {
            What::Fault(fault) => Some((entry.at.time_ns, fault)),
            _ => None,
        })
    }

    /// The lines of bodies, programs and kernels.
    pub fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        self.entries.iter().filter_map(|entry| match &entry.what {
            What::Line { program, text } => Some(Line {
                at: entry.at,
                program: program.as_deref(),
                text,
            }),
            _ => None,
        })
    }

    /// The operations that guests told of by `history`, by the time of their call.
    pub fn operations(&self) -> Vec<Operation> {
        let mut operations: Vec<Operation> = Vec::new();
        let mut open: BTreeMap<(usize, u64), usize> = BTreeMap::new();
        let mut busy: BTreeSet<(usize, usize)> = BTreeSet::new();
        for Entry { at, what } in &self.entries {
            match what {
                What::Call { id, key, call } => {
                    let free = (0..).find(|&process| busy.insert((at.vm, process)));
                    open.insert((at.vm, *id), operations.len());
                    operations.push(Operation {
                        called_ns: at.time_ns,
                        vm: at.vm,
                        process: free.unwrap_or(0),
                        key: Arc::clone(key),
                        call: call.clone(),
                        outcome: Outcome::Unknown,
                    });
                }
                What::Answer { id, answer } => {
                    // One that has no call was refused when it came.
                    let Some(number) = open.remove(&(at.vm, *id)) else {
                        continue;
                    };
                    let operation = &mut operations[number];
                    busy.remove(&(at.vm, operation.process));
                    operation.outcome = match answer {
                        Some(answer) => Outcome::Ok(at.time_ns, answer.clone()),
                        None => Outcome::Failed(at.time_ns),
                    };
                }
                _ => {}
            }
        }
        operations
    }

    /// Whether the history of operations is linearizable, each key by itself.
    ///
    /// # Errors
    /// See [`Checker::check`].
    pub fn linearizable(&self, model: impl Model) -> Result<(), HistoryError> {
        self.check_by(&Checker::new(model))
    }

    /// The same by a checker with bounds of its own.
    ///
    /// # Errors
    /// See [`Checker::check`].
    pub fn check_by<M: Model>(&self, checker: &Checker<M>) -> Result<(), HistoryError> {
        let verdict = checker.check(&self.operations());
        verdict.map_err(|error| error.since(self.start_ns))
    }
}

/// What a `check` may answer.
#[diagnostic::on_unimplemented(
    message = "a `check` is a `fn(&Run) -> Result<(), E>` with `E: Display`, and answers no `{Self}`"
)]
pub trait Checked {
    /// The error's text, if it is one.
    fn checked(self) -> Result<(), String>;
}

impl<E: Display> Checked for Result<(), E> {
    fn checked(self) -> Result<(), String> {
        self.map_err(|error| error.to_string())
    }
}

/// A call as it came over the wire.
pub(crate) fn call(call: &chaoscontrol_guest::protocol::Call<'_>) -> Call {
    use chaoscontrol_guest::protocol::Call as C;
    let value = |text: &str| Value::from(text);
    match *call {
        C::Read => Call::Read,
        C::Write { value: v } => Call::Write(value(v)),
        C::CompareAndSwap { expected, new } => Call::CompareAndSwap(value(expected), value(new)),
        C::Add { value: v } => Call::Add(value(v)),
        C::Remove { value: v } => Call::Remove(value(v)),
        C::Contains { value: v } => Call::Contains(value(v)),
        C::Enqueue { value: v } => Call::Enqueue(value(v)),
        C::Dequeue => Call::Dequeue,
        C::Append { value: v } => Call::Append(value(v)),
        C::Other { name, arguments } => Call::Other {
            name: value(name),
            arguments: arguments.iter().map(Value::from).collect(),
        },
    }
}

/// An answer as it came over the wire; `None` for one that did not fit.
pub(crate) fn answer(answer: &chaoscontrol_guest::protocol::Answer<'_>) -> Option<Answer> {
    use chaoscontrol_guest::protocol::Answer as A;
    Some(match *answer {
        A::Done => Answer::Done,
        A::Nothing => Answer::Nothing,
        A::Value { value } => Answer::Value(value.into()),
        A::List { values } => Answer::List(values.iter().map(Value::from).collect()),
        A::TooLong => return None,
    })
}
