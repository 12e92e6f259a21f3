//! What a server is at the moment, and what it knows only as that.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, SystemTime};

use crate::node::Ticket;
use crate::{Index, ServerId};

/// What a server is.
#[derive(Clone, Debug)]
pub enum Role {
    /// It obeys a leader, or waits for one.
    Follower,
    /// It asks who would vote for it; these would.
    PreCandidate(BTreeSet<ServerId>),
    /// It asks for votes; these have voted for it.
    Candidate(BTreeSet<ServerId>),
    /// It decides what the log is.
    Leader(Leadership),
}

/// What a leader knows.
#[derive(Clone, Debug)]
pub struct Leadership {
    /// What it knows of each server.
    pub followers: Vec<Follower>,
    /// The number of its latest message: its clock, in microseconds, or more.
    pub round: u64,
    /// When it has to be heard of again.
    pub heartbeat_due: Duration,
    /// The last entry of earlier terms.
    pub inherited: Index,
    /// Who waits for which entry.
    pub waiting: BTreeMap<Index, Ticket>,
    /// Reads that are not confirmed yet, oldest first.
    pub reads: VecDeque<Read>,
    /// Until when nobody else can be elected: only for [`crate::Bug::StaleReadByLease`].
    pub lease: SystemTime,
    /// Who is to be leader, and until when that is waited for.
    pub successor: Option<(ServerId, Duration)>,
}

/// What a leader knows of another server.
#[derive(Clone, Copy, Debug)]
pub struct Follower {
    /// Up to where its log is known to be the leader's.
    pub matching: Index,
    /// What it is sent next.
    pub next: Index,
    /// The latest round that it has answered.
    pub answered: u64,
}

/// A read that waits for a majority to confirm that there is no other leader.
#[derive(Clone, Debug)]
pub struct Read {
    /// Who waits for it.
    pub ticket: Ticket,
    /// The counter.
    pub key: String,
    /// The round that has to be answered.
    pub round: u64,
}
