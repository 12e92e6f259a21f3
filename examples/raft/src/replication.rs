//! Replication and commitment (Raft paper, 5.3 and 5.4.2).

use std::io;

use chaoscontrol_guest::{assert_always, assert_always_or_unreachable, assert_reachable};

use crate::entry::{Command, Entry, Position};
use crate::machine::Outcome;
use crate::messages::{Body, ClientReply};
use crate::node::{Raft, Ticket};
use crate::role::Role;
use crate::storage::Storage;
use crate::{Bug, Index, ServerId, Term};

/// Entries of a message at most.
const BATCH: usize = 64;

impl<S: Storage> Raft<S> {
    /// As leader, adds an entry to the log, and sends it to all.
    pub(crate) fn propose(&mut self, ticket: Option<Ticket>, command: Command) -> io::Result<()> {
        let at = Position {
            term: self.hard.term,
            index: self.log.last().index + 1,
        };
        let entry = Entry { at, command };
        self.storage.append(std::slice::from_ref(&entry))?;
        self.log.put(entry);
        if let (Role::Leader(leadership), Some(ticket)) = (&mut self.role, ticket) {
            leadership.waiting.insert(at.index, ticket);
        }
        self.broadcast();
        self.commit_what_a_majority_has()
    }

    /// As leader, sends every other server what it lacks, or else that there is a leader.
    pub(crate) fn broadcast(&mut self) {
        if let Role::Leader(leadership) = &mut self.role {
            leadership.heartbeat_due = self.now + self.config.heartbeat;
            leadership.round = (leadership.round + 1).max(self.now.as_micros() as u64);
        }
        for other in self.others() {
            self.send_entries(other);
        }
    }

    fn send_entries(&mut self, to: ServerId) {
        let Role::Leader(leadership) = &mut self.role else {
            return;
        };
        let follower = leadership.followers[to];
        let previous = follower.next - 1;
        let Some(term) = self.log.term_at(previous) else {
            self.send_snapshot(to);
            return;
        };
        let entries = self.log.from(follower.next);
        let entries = entries[..entries.len().min(BATCH)].to_vec();
        let body = Body::Append {
            previous: Position {
                term,
                index: previous,
            },
            entries,
            commit: self.machine.applied(),
            round: leadership.round,
        };
        self.send(to, body);
    }

    /// The leader's entries, which follow `previous`.
    pub(crate) fn on_append(
        &mut self,
        from: ServerId,
        previous: Position,
        entries: Vec<Entry>,
        commit: Index,
        round: u64,
    ) -> io::Result<()> {
        let base = self.log.base().index;
        let known = self.log.term_at(previous.index);
        // What a snapshot covers is committed, and so the leader's.
        if previous.index >= base && known != Some(previous.term) {
            assert_reachable!("entries do not fit to a follower's log");
            let retry = match known {
                Some(_) => self.log.first_of_term(previous.index),
                None => self.log.last().index + 1,
            };
            let retry = retry.max(self.machine.applied() + 1);
            self.answer(from, None, retry, round);
            return Ok(());
        }
        let matching = previous.index + entries.len() as Index;
        let new: Vec<Entry> = entries
            .into_iter()
            .filter(|entry| entry.at.index > base)
            .skip_while(|entry| match self.log.term_at(entry.at.index) {
                Some(term) => term == entry.at.term || self.config.has(Bug::SkipTruncate),
                None => false,
            })
            .collect();
        if let Some(first) = new.first() {
            self.check_removal(first.at.index);
            self.storage.append(&new)?;
            new.into_iter().for_each(|entry| self.log.put(entry));
        }
        self.commit(commit.min(matching));
        self.answer(from, Some(matching), matching + 1, round);
        self.compact()
    }

    /// Entries from `index` on are about to be replaced.
    fn check_removal(&self, index: Index) {
        if index <= self.log.last().index {
            assert_reachable!("a follower removes entries that its leader does not have");
        }
        assert_always!(
            index > self.machine.applied(),
            "a committed entry never changes",
            index = index,
            committed = self.machine.applied()
        );
    }

    pub(crate) fn answer(
        &mut self,
        to: ServerId,
        matching: Option<Index>,
        retry: Index,
        round: u64,
    ) {
        let body = Body::Appended {
            matching,
            retry,
            round,
        };
        self.send(to, body);
    }

    /// A follower has answered.
    pub(crate) fn on_appended(
        &mut self,
        from: ServerId,
        term: Term,
        matching: Option<Index>,
        retry: Index,
        round: u64,
    ) -> io::Result<()> {
        let last = self.log.last().index;
        let Role::Leader(leadership) = &mut self.role else {
            return Ok(());
        };
        if term != self.hard.term {
            return Ok(());
        }
        let follower = &mut leadership.followers[from];
        follower.answered = follower.answered.max(round);
        match matching {
            Some(matching) => {
                assert_always!(
                    matching <= last,
                    "no follower has more than its leader has sent",
                    matching = matching,
                    last = last
                );
                follower.matching = follower.matching.max(matching);
                follower.next = follower.next.max(follower.matching + 1);
            }
            None => {
                follower.next = retry.clamp(follower.matching + 1, follower.next.max(1));
                self.send_entries(from);
            }
        }
        self.extend_lease();
        self.hand_over();
        self.commit_what_a_majority_has()?;
        self.answer_reads();
        Ok(())
    }

    /// As leader, commits what enough servers have stored.
    fn commit_what_a_majority_has(&mut self) -> io::Result<()> {
        let Role::Leader(leadership) = &self.role else {
            return Ok(());
        };
        let mut matching: Vec<Index> = leadership.followers.iter().map(|f| f.matching).collect();
        matching[self.config.id] = self.log.last().index;
        matching.sort_unstable_by(|a, b| b.cmp(a));
        let enough = match self.config.has(Bug::PrematureCommit) {
            true => (self.config.servers.len() / 2).max(1),
            false => self.config.majority(),
        };
        let index = matching[enough - 1];
        let own = self.log.term_at(index) == Some(self.hard.term);
        if !own && index > self.machine.applied() {
            assert_reachable!("a majority has an entry of an earlier term");
        }
        if index > self.machine.applied() && (own || self.config.has(Bug::Fig8Commit)) {
            // Else a leader of a later term than the entry's may replace it (figure 8).
            assert_always!(
                self.log.term_at(index) == Some(self.hard.term),
                "a leader commits by an entry of its own term",
                entry = self.log.term_at(index),
                term = self.hard.term
            );
            self.commit(index);
        }
        self.compact()
    }

    /// Entries up to `index` are committed: applies them, and answers those who wait for them.
    pub(crate) fn commit(&mut self, index: Index) {
        while self.machine.applied() < index {
            let Some(entry) = self.log.get(self.machine.applied() + 1) else {
                break;
            };
            let outcome = self.machine.apply(entry);
            let Role::Leader(leadership) = &mut self.role else {
                continue;
            };
            let Some(ticket) = leadership.waiting.remove(&self.machine.applied()) else {
                continue;
            };
            let reply = match outcome {
                Outcome::Opened(session) => ClientReply::Opened(session),
                Outcome::Done(value) => ClientReply::Value(value),
                Outcome::Expired => ClientReply::Expired,
                Outcome::Nothing => continue,
            };
            self.reply(ticket, reply);
        }
        assert_always_or_unreachable!(
            self.machine.applied() <= self.log.last().index,
            "what is committed is in the log"
        );
    }
}
