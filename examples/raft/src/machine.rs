//! The replicated state machine: named counters, and the sessions of those who change them.

use std::collections::BTreeMap;

use chaoscontrol_guest::{assert_agree, assert_always};

use crate::Index;
use crate::codec::{Encode, Malformed, checksum};
use crate::entry::{Command, Entry, Operation};
use crate::session::{Admission, Sessions};

/// What came of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing that anybody waits for.
    Nothing,
    /// A session was opened.
    Opened(Index),
    /// A counter has this value now, or had when the operation was first done.
    Done(u64),
    /// The session is not known.
    Expired,
}

/// Counters and sessions after some entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    applied: Index,
    counters: BTreeMap<String, u64>,
    sessions: Sessions,
}

impl Machine {
    /// The last entry that was applied.
    pub fn applied(&self) -> Index {
        self.applied
    }

    /// The value of a counter.
    pub fn get(&self, key: &str) -> u64 {
        self.counters.get(key).copied().unwrap_or(0)
    }

    /// Applies the next entry.
    pub fn apply(&mut self, entry: &Entry) -> Outcome {
        assert_always!(
            entry.at.index == self.applied + 1,
            "entries are applied in order",
            entry = entry.at,
            applied = self.applied
        );
        assert_agree!(
            ("entry", entry.at.index),
            (entry.at.term, checksum(&entry.to_bytes())),
            "a committed entry never changes"
        );
        self.applied = entry.at.index;
        match &entry.command {
            Command::Nothing => Outcome::Nothing,
            Command::Open => {
                self.sessions.open(entry.at.index);
                Outcome::Opened(entry.at.index)
            }
            Command::Operate {
                session,
                sequence,
                operation,
            } => match self.sessions.admit(*session, *sequence) {
                Admission::New => {
                    let value = self.operate(operation);
                    let index = entry.at.index;
                    self.sessions.done(*session, *sequence, value, index);
                    Outcome::Done(value)
                }
                Admission::Done(value) => Outcome::Done(value),
                Admission::Outdated | Admission::Unknown => Outcome::Expired,
            },
        }
    }

    fn operate(&mut self, operation: &Operation) -> u64 {
        match operation {
            Operation::Set { key, value } => {
                self.counters.insert(key.clone(), *value);
                *value
            }
            Operation::Add { key, amount } => {
                let counter = self.counters.entry(key.clone()).or_default();
                *counter = counter.saturating_add(*amount);
                *counter
            }
        }
    }
}

impl Encode for Machine {
    fn encode(&self, to: &mut Vec<u8>) {
        self.applied.encode(to);
        self.sessions.encode(to);
        self.counters.len().encode(to);
        for (key, value) in &self.counters {
            key.encode(to);
            value.encode(to);
        }
    }

    fn decode(from: &mut &[u8]) -> Result<Self, Malformed> {
        let applied = Encode::decode(from)?;
        let sessions = Encode::decode(from)?;
        let mut counters = BTreeMap::new();
        for _ in 0..usize::decode(from)? {
            let key = Encode::decode(from)?;
            counters.insert(key, Encode::decode(from)?);
        }
        Ok(Machine {
            applied,
            counters,
            sessions,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Position;

    fn entry(index: Index, command: Command) -> Entry {
        let at = Position { term: 1, index };
        Entry { at, command }
    }

    fn add(session: Index, sequence: u64) -> Command {
        Command::Operate {
            session,
            sequence,
            operation: Operation::Add {
                key: "a".to_owned(),
                amount: 5,
            },
        }
    }

    #[test]
    fn an_addition_that_is_sent_twice_counts_once() {
        let mut machine = Machine::default();
        assert_eq!(machine.apply(&entry(1, add(9, 1))), Outcome::Expired);
        assert_eq!(machine.apply(&entry(2, Command::Open)), Outcome::Opened(2));
        assert_eq!(machine.apply(&entry(3, add(2, 1))), Outcome::Done(5));
        assert_eq!(machine.apply(&entry(4, add(2, 1))), Outcome::Done(5));
        assert_eq!(machine.apply(&entry(5, add(2, 2))), Outcome::Done(10));
        assert_eq!(machine.get("a"), 10);
        assert_eq!(Machine::from_bytes(&machine.to_bytes()), Ok(machine));
    }
}
