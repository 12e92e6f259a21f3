//! What servers say to each other, and clients to servers.

use crate::codec::{Encode, Malformed};
use crate::entry::{Entry, Operation, Position};
use crate::storage::Snapshot;
use crate::{Index, ServerId, Term};

/// A message from one server to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who sends it.
    pub from: ServerId,
    /// The sender's term; of a pre-vote the one that it would begin.
    pub term: Term,
    /// What it says.
    pub body: Body,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Asks for a vote.
    Vote {
        /// Whether it is only to learn who would vote.
        pre: bool,
        /// Whether the leader wants this election.
        transfer: bool,
        /// The end of the sender's log.
        last: Position,
    },
    /// Answers [`Body::Vote`].
    Voted {
        /// Of which kind it was.
        pre: bool,
        /// Whether the sender has the vote.
        granted: bool,
    },
    /// A leader's entries; without any, a heartbeat.
    Append {
        /// The entry that they follow.
        previous: Position,
        /// They.
        entries: Vec<Entry>,
        /// Up to where the log is committed.
        commit: Index,
        /// When they were sent: a number that grows with each message of the leader's.
        round: u64,
    },
    /// A leader's snapshot, for a follower that lacks entries which the leader no longer has.
    Install {
        /// The snapshot.
        snapshot: Snapshot,
        /// As in [`Body::Append`].
        round: u64,
    },
    /// Answers [`Body::Append`] and [`Body::Install`].
    Appended {
        /// Up to where the sender's log is the leader's, if it is known now.
        matching: Option<Index>,
        /// Where else the leader might try.
        retry: Index,
        /// That of the message.
        round: u64,
    },
    /// A leader asks its successor to be elected at once.
    TakeOver,
}

impl Body {
    /// Whether it answers another message.
    pub fn is_answer(&self) -> bool {
        matches!(self, Body::Voted { .. } | Body::Appended { .. })
    }
}

impl Encode for Message {
    fn encode(&self, to: &mut Vec<u8>) {
        self.from.encode(to);
        self.term.encode(to);
        self.body.encode(to);
    }

    fn decode(from: &mut &[u8]) -> Result<Self, Malformed> {
        Ok(Message {
            from: Encode::decode(from)?,
            term: Encode::decode(from)?,
            body: Encode::decode(from)?,
        })
    }
}

impl Encode for Body {
    fn encode(&self, to: &mut Vec<u8>) {
        match self {
            Body::Vote {
                pre,
                transfer,
                last,
            } => {
                to.push(0);
                pre.encode(to);
                transfer.encode(to);
                last.encode(to);
            }
            Body::Voted { pre, granted } => {
                to.push(1);
                pre.encode(to);
                granted.encode(to);
            }
            Body::Append {
                previous,
                entries,
                commit,
                round,
            } => {
                to.push(2);
                previous.encode(to);
                entries.encode(to);
                commit.encode(to);
                round.encode(to);
            }
            Body::Install { snapshot, round } => {
                to.push(3);
                snapshot.encode(to);
                round.encode(to);
            }
            Body::Appended {
                matching,
                retry,
                round,
            } => {
                to.push(4);
                matching.encode(to);
                retry.encode(to);
                round.encode(to);
            }
            Body::TakeOver => to.push(5),
        }
    }

    fn decode(from: &mut &[u8]) -> Result<Self, Malformed> {
        Ok(match u8::decode(from)? {
            0 => Body::Vote {
                pre: Encode::decode(from)?,
                transfer: Encode::decode(from)?,
                last: Encode::decode(from)?,
            },
            1 => Body::Voted {
                pre: Encode::decode(from)?,
                granted: Encode::decode(from)?,
            },
            2 => Body::Append {
                previous: Encode::decode(from)?,
                entries: Encode::decode(from)?,
                commit: Encode::decode(from)?,
                round: Encode::decode(from)?,
            },
            3 => Body::Install {
                snapshot: Encode::decode(from)?,
                round: Encode::decode(from)?,
            },
            4 => Body::Appended {
                matching: Encode::decode(from)?,
                retry: Encode::decode(from)?,
                round: Encode::decode(from)?,
            },
            5 => Body::TakeOver,
            _ => return Err(Malformed),
        })
    }
}

/// What a client asks a server for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientRequest {
    /// A session.
    Open,
    /// A change.
    Operate {
        /// The session.
        session: Index,
        /// The number of the operation in it.
        sequence: u64,
        /// The change.
        operation: Operation,
    },
    /// The value of a counter.
    Get {
        /// Its name.
        key: String,
    },
    /// Another leader.
    Transfer {
        /// Who is to be.
        to: ServerId,
    },
}

/// A server's answer to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientReply {
    /// A session was opened.
    Opened(Index),
    /// The value that a counter has or was given.
    Value(u64),
    /// The session is not known any more.
    Expired,
    /// The server asks another to become leader.
    Transferring,
    /// The server is not, or no longer, leader. What was asked may be done all the same.
    NotLeader(Option<ServerId>),
}

impl Encode for ClientRequest {
    fn encode(&self, to: &mut Vec<u8>) {
        match self {
            ClientRequest::Open => to.push(0),
            ClientRequest::Operate {
                session,
                sequence,
                operation,
            } => {
                to.push(1);
                session.encode(to);
                sequence.encode(to);
                operation.encode(to);
            }
            ClientRequest::Get { key } => {
                to.push(2);
                key.encode(to);
            }
            ClientRequest::Transfer { to: server } => {
                to.push(3);
                server.encode(to);
            }
        }
    }

    fn decode(from: &mut &[u8]) -> Result<Self, Malformed> {
        Ok(match u8::decode(from)? {
            0 => ClientRequest::Open,
            1 => ClientRequest::Operate {
                session: Encode::decode(from)?,
                sequence: Encode::decode(from)?,
                operation: Encode::decode(from)?,
            },
            2 => ClientRequest::Get {
                key: Encode::decode(from)?,
            },
            3 => ClientRequest::Transfer {
                to: Encode::decode(from)?,
            },
            _ => return Err(Malformed),
        })
    }
}

impl Encode for ClientReply {
    fn encode(&self, to: &mut Vec<u8>) {
        match self {
            ClientReply::Opened(session) => {
                to.push(0);
                session.encode(to);
            }
            ClientReply::Value(value) => {
                to.push(1);
                value.encode(to);
            }
            ClientReply::Expired => to.push(2),
            ClientReply::Transferring => to.push(3),
            ClientReply::NotLeader(leader) => {
                to.push(4);
                leader.encode(to);
            }
        }
    }

    fn decode(from: &mut &[u8]) -> Result<Self, Malformed> {
        Ok(match u8::decode(from)? {
            0 => ClientReply::Opened(Encode::decode(from)?),
            1 => ClientReply::Value(Encode::decode(from)?),
            2 => ClientReply::Expired,
            3 => ClientReply::Transferring,
            4 => ClientReply::NotLeader(Encode::decode(from)?),
            _ => return Err(Malformed),
        })
    }
}
