//! Elections (Raft paper, 5.2 and 5.4.1), with pre-votes and loyalty to a leader that was
//! heard of lately (dissertation, 9.6): a server that was cut off does not depose a leader that
//! the others hear.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::time::{Duration, SystemTime};

use chaoscontrol_guest::{assert_agree, assert_always, assert_reachable};

use crate::entry::{Command, Position};
use crate::messages::Body;
use crate::node::Raft;
use crate::role::{Follower, Leadership, Role};
use crate::storage::{HardState, Storage};
use crate::{Bug, ServerId, Term};

impl<S: Storage> Raft<S> {
    /// Gives the leader, or a new one, time to be heard of.
    ///
    /// In a cluster where nothing has happened yet server 0 is first to try.
    pub(crate) fn wait_for_leader(&mut self) {
        let least = self.config.election;
        let wait = match (self.hard.term, self.config.id) {
            (0, 0) => least / 4,
            (0, _) => least * 4,
            _ => least + (least / 2).mul_f64((self.random)() as f64 / u64::MAX as f64),
        };
        self.election_due = self.now + wait;
    }

    /// Whether the server stands by its leader, whoever asks for its vote.
    pub(crate) fn is_loyal(&self, transfer: bool) -> bool {
        let leads = matches!(self.role, Role::Leader(_));
        let lately = |heard: Duration| self.now < heard + self.config.election;
        !transfer && (leads || self.heard.is_some_and(lately))
    }

    /// Takes a term that it has heard of.
    pub(crate) fn adopt(&mut self, term: Term) -> io::Result<()> {
        self.store(HardState { term, vote: None })?;
        if matches!(self.role, Role::Leader(_)) {
            assert_reachable!("a leader hears of a later term");
            if self.config.has(Bug::LeaderNoStepdown) {
                return Ok(());
            }
        }
        self.leader = None;
        self.follow();
        Ok(())
    }

    /// Is no leader or candidate any more.
    pub(crate) fn follow(&mut self) {
        if let Role::Leader(leadership) = std::mem::replace(&mut self.role, Role::Follower) {
            let entries = leadership.waiting.into_values();
            let reads = leadership.reads.into_iter().map(|read| read.ticket);
            for ticket in entries.chain(reads) {
                assert_reachable!("a client waits for a leader that is deposed");
                self.refuse(ticket);
            }
            self.wait_for_leader();
        }
    }

    fn store(&mut self, hard: HardState) -> io::Result<()> {
        assert_always!(
            hard.term >= self.hard.term,
            "a term never falls",
            old = self.hard.term,
            new = hard.term
        );
        self.storage.save_hard(hard)?;
        self.hard = hard;
        Ok(())
    }

    /// Begins an election; with `pre` only asks whether there would be one.
    pub(crate) fn ask_for_votes(&mut self, pre: bool, transfer: bool) -> io::Result<()> {
        let own = self.config.id;
        let granted = BTreeSet::from([own]);
        self.leader = None;
        self.wait_for_leader();
        let term = self.hard.term + 1;
        if pre {
            assert_reachable!("a server misses its leader");
            self.role = Role::PreCandidate(granted);
        } else {
            let vote = Some(own);
            self.store(HardState { term, vote })?;
            self.role = Role::Candidate(granted);
        }
        let last = self.log.last();
        for other in self.others() {
            let body = Body::Vote {
                pre,
                transfer,
                last,
            };
            self.send_in(term, other, body);
        }
        self.count_votes()
    }

    /// `from` wants a vote for `term`, and has a log that ends at `last`.
    pub(crate) fn on_vote(
        &mut self,
        from: ServerId,
        term: Term,
        pre: bool,
        transfer: bool,
        last: Position,
    ) -> io::Result<()> {
        let current = last >= self.log.last();
        let granted = if pre {
            term > self.hard.term && current && !self.is_loyal(transfer)
        } else {
            let free = self.hard.vote.is_none_or(|vote| vote == from);
            let free = free || self.config.has(Bug::DoubleVote);
            if term == self.hard.term && !free {
                assert_reachable!("two servers want one vote");
            }
            term == self.hard.term && free && current
        };
        if !current {
            assert_reachable!("a server asks for a vote with an old log");
        }
        if granted && !pre {
            self.store(HardState {
                term,
                vote: Some(from),
            })?;
            self.wait_for_leader();
        }
        let term = if granted { term } else { self.hard.term };
        self.send_in(term, from, Body::Voted { pre, granted });
        Ok(())
    }

    /// `from` has voted, or has said that it would.
    pub(crate) fn on_voted(
        &mut self,
        from: ServerId,
        term: Term,
        pre: bool,
        granted: bool,
    ) -> io::Result<()> {
        if !granted {
            return Ok(());
        }
        match &mut self.role {
            Role::PreCandidate(votes) if pre && term == self.hard.term + 1 => votes.insert(from),
            Role::Candidate(votes) if !pre && term == self.hard.term => votes.insert(from),
            _ => return Ok(()),
        };
        self.count_votes()
    }

    fn count_votes(&mut self) -> io::Result<()> {
        let majority = self.config.majority();
        match &self.role {
            Role::PreCandidate(votes) if votes.len() >= majority => {
                self.ask_for_votes(false, false)
            }
            Role::Candidate(votes) if votes.len() >= majority => self.lead(),
            _ => Ok(()),
        }
    }

    /// Is elected.
    fn lead(&mut self) -> io::Result<()> {
        let (own, term) = (self.config.id, self.hard.term);
        let last = self.log.last();
        claim(term, own);
        assert_always!(
            last.term < term,
            "one leader per term",
            log = last,
            term = term
        );
        if last.index > self.machine.applied() {
            assert_reachable!("a new leader has entries of which nobody knows whether they count");
        }
        let follower = Follower {
            matching: 0,
            next: last.index + 1,
            answered: 0,
        };
        self.leader = Some(own);
        self.role = Role::Leader(Leadership {
            followers: vec![follower; self.config.servers.len()],
            round: 0,
            heartbeat_due: self.now,
            inherited: last.index,
            waiting: BTreeMap::new(),
            reads: VecDeque::new(),
            lease: SystemTime::UNIX_EPOCH,
            successor: None,
        });
        if self.config.has(Bug::Fig8Commit) {
            self.broadcast();
            return Ok(());
        }
        // Entries of earlier terms count when one of this term does (5.4.2).
        self.propose(None, Command::Nothing)
    }

    /// Whether to obey `from`, which says that it is the leader of `term`. If not, it is told
    /// the server's term.
    pub(crate) fn obeys(&mut self, from: ServerId, term: Term, round: u64) -> io::Result<bool> {
        if term < self.hard.term {
            assert_reachable!("the leader of an earlier term is heard of");
            if !self.config.has(Bug::AcceptStaleTerm) {
                let body = Body::Appended {
                    matching: None,
                    retry: 0,
                    round,
                };
                self.send(from, body);
                return Ok(false);
            }
        }
        if self.leader != Some(from) {
            if matches!(self.role, Role::Leader(_)) {
                claim(self.hard.term, self.config.id);
            }
            claim(term, from);
            self.leader = Some(from);
        }
        self.follow();
        self.heard = Some(self.now);
        self.wait_for_leader();
        Ok(true)
    }
}

/// `leader` acts as the leader of `term`.
fn claim(term: Term, leader: ServerId) {
    assert_agree!(("leader", term), leader, "one leader per term");
}
