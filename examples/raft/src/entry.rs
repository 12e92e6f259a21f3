//! What the log consists of.

use crate::codec::{Encode, Malformed};
use crate::{Index, Term};

/// An entry's place, or the end of a log. Of two logs the one whose end is greater is the
/// more up to date (Raft paper, 5.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The term in which the entry was made.
    pub term: Term,
    /// Where it stands.
    pub index: Index,
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands.
    pub at: Position,
    /// What it does.
    pub command: Command,
}

/// What an entry does when it is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Nothing: a new leader's first entry.
    Nothing,
    /// Opens a session, which is named by the entry's index.
    Open,
    /// A client's operation.
    Operate {
        /// The client's session.
        session: Index,
        /// Its number in the session, from 1.
        sequence: u64,
        /// What the client wants.
        operation: Operation,
    },
}

/// A change of a counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Gives it a value.
    Set {
        /// The counter's name.
        key: String,
        /// Its value from then on.
        value: u64,
    },
    /// Adds to it; a counter that nobody has set is 0.
    Add {
        /// The counter's name.
        key: String,
        /// How much.
        amount: u64,
    },
}

impl Encode for Position {
    fn encode(&self, to: &mut Vec<u8>) {
        self.term.encode(to);
        self.index.encode(to);
    }

    fn decode(from: &mut &[u8]) -> Result<Self, Malformed> {
        Ok(Position {
            term: Encode::decode(from)?,
            index: Encode::decode(from)?,
        })
    }
}

impl Encode for Entry {
    fn encode(&self, to: &mut Vec<u8>) {
        self.at.encode(to);
        self.command.encode(to);
    }

    fn decode(from: &mut &[u8]) -> Result<Self, Malformed> {
        Ok(Entry {
            at: Encode::decode(from)?,
            command: Encode::decode(from)?,
        })
    }
}

impl Encode for Command {
    fn encode(&self, to: &mut Vec<u8>) {
        match self {
            Command::Nothing => to.push(0),
            Command::Open => to.push(1),
            Command::Operate {
                session,
                sequence,
                operation,
            } => {
                to.push(2);
                session.encode(to);
                sequence.encode(to);
                operation.encode(to);
            }
        }
    }

    fn decode(from: &mut &[u8]) -> Result<Self, Malformed> {
        match u8::decode(from)? {
            0 => Ok(Command::Nothing),
            1 => Ok(Command::Open),
            2 => Ok(Command::Operate {
                session: Encode::decode(from)?,
                sequence: Encode::decode(from)?,
                operation: Encode::decode(from)?,
            }),
            _ => Err(Malformed),
        }
    }
}

impl Encode for Operation {
    fn encode(&self, to: &mut Vec<u8>) {
        let (kind, key, number) = match self {
            Operation::Set { key, value } => (0, key, value),
            Operation::Add { key, amount } => (1, key, amount),
        };
        to.push(kind);
        key.encode(to);
        number.encode(to);
    }

    fn decode(from: &mut &[u8]) -> Result<Self, Malformed> {
        let kind = u8::decode(from)?;
        let key = Encode::decode(from)?;
        match kind {
            0 => Ok(Operation::Set {
                key,
                value: Encode::decode(from)?,
            }),
            1 => Ok(Operation::Add {
                key,
                amount: Encode::decode(from)?,
            }),
            _ => Err(Malformed),
        }
    }
}
