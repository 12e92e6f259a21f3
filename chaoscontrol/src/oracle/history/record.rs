//! What is kept of a branch for its test's `check`, as it happens.

use std::collections::BTreeSet;
use std::sync::Arc;

use chaoscontrol_guest::protocol::{self, Message};

use super::operation::{Answer, Call, Value};
use super::run::{self, Run};
use crate::fault::Fault;
use crate::oracle::{FailureKind, Moment};

/// Bytes that a branch may make its host keep.
const MEMORY_LIMIT: usize = 64 << 20;

/// What an entry costs besides its texts.
const ENTRY: usize = 160;

/// Entries of a chunk.
const CHUNK: usize = 256;

/// Why something cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It would be too much.
    #[error("events and output of more than {} MiB, which `check` would have to see", MEMORY_LIMIT >> 20)]
    Flood,
    /// A return without a call.
    #[error(
        "an operation returned that nobody called, or once more: call ok, fail or unknown where the operation was called, in the same VM"
    )]
    Stray,
    /// An answer that its guest could not send.
    #[error(
        "an answer does not fit into a message of 60 KiB: let operations answer less, by more keys or fewer operations"
    )]
    TooLong,
}

impl From<RecordError> for FailureKind {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Flood => FailureKind::Flood(error.to_string()),
            RecordError::Stray | RecordError::TooLong => FailureKind::History(error.to_string()),
        }
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// When and where; a fault's `vm` is the number of VMs.
    pub at: Moment,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum What {
    /// A guest sent an event.
    Event {
        /// Its name.
        name: Box<str>,
        /// Its details.
        details: Box<str>,
    },
    /// A guest called an operation.
    Call {
        /// Its number, which no other call of the VM has.
        id: u64,
        /// On what.
        key: Value,
        /// What.
        call: Call,
    },
    /// An operation returned, and it is known what came of it.
    Answer {
        /// The number of its call.
        id: u64,
        /// What it answered; `None` if it had no effect.
        answer: Option<Answer>,
    },
    /// A fault was applied.
    Fault(Fault),
    /// A line was written.
    Line {
        /// The program that wrote it; `None` for the body, "kernel" for the console.
        program: Option<Box<str>>,
        /// The line.
        text: Box<str>,
    },
}

/// A branch's record. A clone goes on as the original would, and shares what is full: it
/// belongs into checkpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Record {
    full: Vec<Arc<Vec<Entry>>>,
    last: Arc<Vec<Entry>>,
    open: Arc<BTreeSet<(usize, u64)>>,
    bytes: usize,
}

impl Record {
    /// Takes a message that a VM sent; what is wrong with it, if it is.
    pub fn message(&mut self, at: Moment, message: &Message<'_>) -> Result<(), RecordError> {
        match *message {
            Message::Event { name, details } => {
                let what = What::Event {
                    name: name.into(),
                    details: details.into(),
                };
                self.keep(at, what, name.len() + details.len())
            }
            Message::Output { name, line, .. } => {
                let program = (!name.is_empty()).then(|| name.into());
                self.line(at, program, line)
            }
            Message::Invoke { id, key, ref call } => {
                Arc::make_mut(&mut self.open).insert((at.vm, id));
                let what = What::Call {
                    id,
                    key: key.into(),
                    call: run::call(call),
                };
                // Texts of a message are never longer than it is.
                let bytes = 64 + key.len() + text_of(call);
                self.keep(at, what, bytes)
            }
            Message::Return { id, outcome } => self.returned(at, id, outcome),
            _ => Ok(()),
        }
    }

    fn returned(
        &mut self,
        at: Moment,
        id: u64,
        outcome: protocol::Outcome<'_>,
    ) -> Result<(), RecordError> {
        let open = (at.vm, id);
        if !self.open.contains(&open) {
            return Err(RecordError::Stray);
        }
        Arc::make_mut(&mut self.open).remove(&open);
        let (answer, bytes) = match outcome {
            protocol::Outcome::Unknown => return Ok(()),
            protocol::Outcome::Failed => (None, 0),
            protocol::Outcome::Ok { answer } => {
                let Some(told) = run::answer(&answer) else {
                    return Err(RecordError::TooLong);
                };
                let bytes = match &told {
                    Answer::Value(value) => value.len(),
                    Answer::List(values) => values.iter().map(|value| value.len() + 48).sum(),
                    Answer::Done | Answer::Nothing => 0,
                };
                (Some(told), bytes)
            }
        };
        self.keep(at, What::Answer { id, answer }, bytes)
    }

    /// Takes a line of a kernel's console.
    pub fn console(&mut self, at: Moment, line: &[u8]) -> Result<(), RecordError> {
        self.line(at, Some("kernel".into()), line)
    }

    fn line(
        &mut self,
        at: Moment,
        program: Option<Box<str>>,
        line: &[u8],
    ) -> Result<(), RecordError> {
        let text: Box<str> = String::from_utf8_lossy(line).into();
        let bytes = text.len() + program.as_ref().map_or(0, |name| name.len());
        self.keep(at, What::Line { program, text }, bytes)
    }

    /// Takes a fault that was applied.
    pub fn fault(&mut self, at: Moment, fault: &Fault) {
        // The schedule bounds these, or the bodies' orders, each of which is an event elsewhere.
        let _ = self.keep(at, What::Fault(fault.clone()), 0);
    }

    fn keep(&mut self, at: Moment, what: What, bytes: usize) -> Result<(), RecordError> {
        let all = self.bytes.saturating_add(bytes + ENTRY);
        if all > MEMORY_LIMIT {
            return Err(RecordError::Flood);
        }
        self.bytes = all;
        Arc::make_mut(&mut self.last).push(Entry { at, what });
        if self.last.len() == CHUNK {
            self.full.push(std::mem::take(&mut self.last));
        }
        Ok(())
    }

    /// All of it, after the branch's end.
    pub fn run(&self, vms: usize, start_ns: u64, end_ns: u64) -> Run {
        let chunks = self.full.iter().chain([&self.last]);
        let entries = chunks.flat_map(|chunk| chunk.iter().cloned());
        Run::new(entries.collect(), vms, start_ns, end_ns)
    }
}

/// Bytes of a call's texts.
fn text_of(call: &protocol::Call<'_>) -> usize {
    use protocol::Call as C;
    match *call {
        C::Read | C::Dequeue => 0,
        C::CompareAndSwap { expected, new } => expected.len() + new.len(),
        C::Write { value }
        | C::Add { value }
        | C::Remove { value }
        | C::Contains { value }
        | C::Enqueue { value }
        | C::Append { value } => value.len(),
        C::Other { name, arguments } => {
            let arguments = arguments.iter().map(|argument| argument.len() + 48);
            name.len() + arguments.sum::<usize>()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Outcome, Register};
    use super::*;

    fn at(time_ns: u64, vm: usize) -> Moment {
        Moment { time_ns, vm }
    }

    fn invoke(id: u64, call: protocol::Call<'_>) -> Message<'_> {
        Message::Invoke { id, key: "x", call }
    }

    fn done(id: u64, answer: protocol::Answer<'_>) -> Message<'_> {
        let outcome = protocol::Outcome::Ok { answer };
        Message::Return { id, outcome }
    }

    #[test]
    fn calls_meet_their_returns_and_those_of_the_killed_stay_open() {
        let (write, read) = (protocol::Call::Write { value: "1" }, protocol::Call::Read);
        let mut record = Record::default();
        let mut take = |time, vm, message: &Message<'_>| record.message(at(time, vm), message);
        take(10, 0, &invoke(1, write)).unwrap();
        take(11, 1, &invoke(1, read)).unwrap();
        take(12, 0, &invoke(2, read)).unwrap();
        take(13, 0, &done(1, protocol::Answer::Done)).unwrap();
        take(14, 0, &invoke(3, read)).unwrap();
        take(15, 0, &done(3, protocol::Answer::Value { value: "1" })).unwrap();
        // The next life of VM 0.
        take(20, 0, &invoke(1 << 32, read)).unwrap();
        take(21, 0, &done(1 << 32, protocol::Answer::Nothing)).unwrap();
        let wrong = take(22, 1, &done(7, protocol::Answer::Done)).unwrap_err();
        assert_eq!(wrong, RecordError::Stray);
        assert!(take(23, 0, &done(3, protocol::Answer::Done)).is_err());
        let unknown = protocol::Outcome::Unknown;
        take(
            24,
            1,
            &Message::Return {
                id: 1,
                outcome: unknown,
            },
        )
        .unwrap();
        let run = record.run(2, 5, 30);
        let operations = run.operations();
        let short: Vec<_> = operations
            .iter()
            .map(|o| (o.vm, o.process, &o.outcome))
            .collect();
        let value = |text: &str| Answer::Value(text.into());
        assert_eq!(
            short,
            [
                (0, 0, &Outcome::Ok(13, Answer::Done)),
                (1, 0, &Outcome::Unknown),
                (0, 1, &Outcome::Unknown),
                (0, 0, &Outcome::Ok(15, value("1"))),
                (0, 0, &Outcome::Ok(21, Answer::Nothing)),
            ]
        );
        let error = run.linearizable(Register::new()).unwrap_err().to_string();
        assert!(
            error.contains("+0.000 s to +0.000 s  vm 0 process 0  read -> nothing"),
            "{error}"
        );
    }

    #[test]
    fn entries_of_all_vms_stand_in_one_order() {
        let mut record = Record::default();
        let event = Message::Event {
            name: "e",
            details: "",
        };
        record.fault(at(5, 2), &Fault::NetworkHeal);
        record.message(at(5, 1), &event).unwrap();
        record.message(at(4, 1), &event).unwrap();
        record.console(at(5, 0), b"line \xFF").unwrap();
        let run = record.run(2, 0, 9);
        let order: Vec<_> = run
            .entries()
            .iter()
            .map(|e| (e.at.time_ns, e.at.vm))
            .collect();
        assert_eq!(order, [(4, 1), (5, 0), (5, 1), (5, 2)]);
        assert_eq!(run.events().count(), 2);
        assert!(run.faults().eq([(5, &Fault::NetworkHeal)]));
        assert_eq!(run.lines().next().unwrap().text, "line \u{FFFD}");
    }

    #[test]
    fn a_flood_of_events_ends_in_a_failure_and_bounded_memory() {
        let mut record = Record::default();
        let details = "x".repeat(60_000);
        let event = Message::Event {
            name: "e",
            details: &details,
        };
        let results: Vec<_> = (0..2000)
            .map(|n| record.message(at(n, 0), &event))
            .collect();
        let kept = results.iter().take_while(|result| result.is_ok()).count();
        assert!((1000..1200).contains(&kept), "{kept}");
        assert_eq!(results[kept], Err(RecordError::Flood));
        assert_eq!(record.run(1, 0, 0).entries().len(), kept);
    }
}
