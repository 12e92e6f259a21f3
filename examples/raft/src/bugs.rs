//! The mistakes that a server can be given. Each stands where somebody might make it, and
//! shows only under faults.

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Votes for whoever asks, though it has voted in this term.
    DoubleVote,
    /// A follower keeps entries that conflict with those of its leader.
    SkipTruncate,
    /// A follower obeys the leader of a term that is over.
    AcceptStaleTerm,
    /// A leader that hears of a later term takes the term and remains leader.
    LeaderNoStepdown,
    /// A leader commits entries of earlier terms by counting who has them, and so needs no
    /// entry of its own term to begin with (figure 8 of the Raft paper).
    Fig8Commit,
    /// Half of the servers, rounded down, is taken for a majority.
    PrematureCommit,
    /// Votes are written, but not synced.
    VoteNotSynced,
    /// Entries are written, but not synced.
    LogNotSynced,
    /// A leader answers reads by itself for as long as, by its wall clock, no other can have
    /// been elected.
    StaleReadByLease,
    /// Threads draw tickets for requests without regard to each other.
    LostUpdateRace,
}
