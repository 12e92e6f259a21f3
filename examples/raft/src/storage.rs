//! What a server must not forget, and where it keeps that.

use std::io;

use crate::codec::{Encode, Malformed};
use crate::entry::{Entry, Position};
use crate::log::Log;
use crate::{ServerId, Term};

/// A server's term, and its vote in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// The latest term that it has heard of.
    pub term: Term,
    /// Whom it has voted for.
    pub vote: Option<ServerId>,
}

/// The state machine after some entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// That entry.
    pub last: Position,
    /// The machine's bytes; none before the first entry.
    pub machine: Vec<u8>,
}

/// What a server has kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Its term and vote.
    pub hard: HardState,
    /// Its latest snapshot.
    pub snapshot: Snapshot,
    /// The log behind it.
    pub log: Log,
}

/// Keeps what a server must not forget. What a call has stored is durable when it returns.
///
/// # Errors
/// After one, nobody knows what is stored, so the server has to stop.
pub trait Storage {
    /// Stores term and vote.
    fn save_hard(&mut self, hard: HardState) -> io::Result<()>;

    /// Stores entries. One whose index is there already replaces it, and all behind it.
    fn append(&mut self, entries: &[Entry]) -> io::Result<()>;

    /// Stores a snapshot, and that only `rest` is behind it.
    fn save_snapshot(&mut self, snapshot: &Snapshot, rest: &[Entry]) -> io::Result<()>;
}

impl Encode for HardState {
    fn encode(&self, to: &mut Vec<u8>) {
        self.term.encode(to);
        self.vote.encode(to);
    }

    fn decode(from: &mut &[u8]) -> Result<Self, Malformed> {
        Ok(HardState {
            term: Encode::decode(from)?,
            vote: Encode::decode(from)?,
        })
    }
}

impl Encode for Snapshot {
    fn encode(&self, to: &mut Vec<u8>) {
        self.last.encode(to);
        self.machine.encode(to);
    }

    fn decode(from: &mut &[u8]) -> Result<Self, Malformed> {
        Ok(Snapshot {
            last: Encode::decode(from)?,
            machine: Encode::decode(from)?,
        })
    }
}
