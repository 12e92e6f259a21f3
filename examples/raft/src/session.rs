//! Client sessions: each operation of a session counts once, however often its client sends
//! it (Raft dissertation, 6.3). Sessions are part of the replicated state, so all servers
//! agree on them.

use std::collections::BTreeMap;

use chaoscontrol_guest::{assert_always_or_unreachable, assert_reachable};

use crate::Index;
use crate::codec::{Encode, Malformed};

/// How many sessions are kept; the one unused for the longest time goes first.
const SESSIONS: usize = 64;

/// What is remembered of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Session {
    /// Its latest operation, and what came of that.
    sequence: u64,
    value: u64,
    /// When that was applied.
    used: Index,
}

/// All sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sessions(BTreeMap<Index, Session>);

/// What to do with an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Do it: it is new.
    New,
    /// It was done, and this came of it.
    Done(u64),
    /// A later one was done, so nobody waits for it.
    Outdated,
    /// The session is not known (any more).
    Unknown,
}

impl Sessions {
    /// Opens the session that the entry at `index` asks for.
    pub fn open(&mut self, index: Index) {
        if self.0.len() >= SESSIONS {
            let oldest = self.0.iter().min_by_key(|(_, session)| session.used);
            if let Some(oldest) = oldest.map(|(id, _)| *id) {
                assert_reachable!("an unused session is given up");
                self.0.remove(&oldest);
            }
        }
        let session = Session {
            sequence: 0,
            value: 0,
            used: index,
        };
        self.0.insert(index, session);
    }

    /// Whether the operation `sequence` of `session` is to be done.
    pub fn admit(&self, session: Index, sequence: u64) -> Admission {
        let Some(known) = self.0.get(&session) else {
            return Admission::Unknown;
        };
        if sequence < known.sequence {
            return Admission::Outdated;
        }
        if sequence == known.sequence {
            assert_reachable!("an operation is sent again after it was done");
            return Admission::Done(known.value);
        }
        assert_always_or_unreachable!(
            sequence == known.sequence + 1,
            "a session has no gaps",
            session = session,
            sequence = sequence
        );
        Admission::New
    }

    /// The operation `sequence` was done at `index`, and `value` came of it.
    pub fn done(&mut self, session: Index, sequence: u64, value: u64, index: Index) {
        if let Some(known) = self.0.get_mut(&session) {
            assert_always_or_unreachable!(
                sequence > known.sequence,
                "an operation is done once",
                session = session,
                sequence = sequence
            );
            *known = Session {
                sequence,
                value,
                used: index,
            };
        }
    }
}

impl Encode for Sessions {
    fn encode(&self, to: &mut Vec<u8>) {
        self.0.len().encode(to);
        for (id, session) in &self.0 {
            for number in [*id, session.sequence, session.value, session.used] {
                number.encode(to);
            }
        }
    }

    fn decode(from: &mut &[u8]) -> Result<Self, Malformed> {
        let mut sessions = BTreeMap::new();
        for _ in 0..usize::decode(from)? {
            let id = Encode::decode(from)?;
            let session = Session {
                sequence: Encode::decode(from)?,
                value: Encode::decode(from)?,
                used: Encode::decode(from)?,
            };
            sessions.insert(id, session);
        }
        Ok(Sessions(sessions))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_counts_once() {
        let mut sessions = Sessions::default();
        assert_eq!(sessions.admit(7, 1), Admission::Unknown);
        sessions.open(7);
        assert_eq!(sessions.admit(7, 1), Admission::New);
        sessions.done(7, 1, 40, 8);
        assert_eq!(sessions.admit(7, 1), Admission::Done(40));
        assert_eq!(sessions.admit(7, 2), Admission::New);
        sessions.done(7, 2, 41, 9);
        assert_eq!(sessions.admit(7, 1), Admission::Outdated);
        assert_eq!(Sessions::from_bytes(&sessions.to_bytes()), Ok(sessions));
    }

    #[test]
    fn the_session_unused_for_longest_goes_first() {
        let mut sessions = Sessions::default();
        (1..=SESSIONS as Index).for_each(|index| sessions.open(index));
        sessions.done(1, 1, 0, 100);
        sessions.open(101);
        assert_eq!(sessions.admit(1, 1), Admission::Done(0));
        assert_eq!(sessions.admit(2, 1), Admission::Unknown);
        assert_eq!(sessions.0.len(), SESSIONS);
    }
}
