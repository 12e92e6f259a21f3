//! Reads that see every write that was acknowledged before them (Raft dissertation, 6.4): a
//! leader answers one when a majority has confirmed, after it was asked, that nobody else is
//! leader. No clock is trusted, and nothing is written to the log.

use std::io;
use std::time::{Duration, SystemTime};

use chaoscontrol_guest::assert_reachable;

use crate::Bug;
use crate::messages::ClientReply;
use crate::node::{Raft, Ticket};
use crate::role::{Leadership, Read, Role};
use crate::storage::Storage;

impl<S: Storage> Raft<S> {
    /// A client wants the value of `key`.
    pub(crate) fn read(&mut self, ticket: Ticket, key: String) -> io::Result<()> {
        if self.config.has(Bug::StaleReadByLease) && self.has_lease() {
            let value = self.machine.get(&key);
            self.reply(ticket, ClientReply::Value(value));
            return Ok(());
        }
        self.broadcast();
        if let Role::Leader(leadership) = &mut self.role {
            let round = leadership.round;
            leadership.reads.push_back(Read { ticket, key, round });
        }
        self.answer_reads();
        Ok(())
    }

    /// As leader, answers the reads that are confirmed.
    pub(crate) fn answer_reads(&mut self) {
        // Of what earlier leaders have acknowledged it is sure only with an entry of its own.
        let applied = self.machine.applied();
        loop {
            let Role::Leader(leadership) = &mut self.role else {
                return;
            };
            let inherited = leadership.inherited;
            let open = match self.config.has(Bug::Fig8Commit) {
                true => applied >= inherited,
                false => applied > inherited,
            };
            let confirmed = confirmed(leadership, self.config.id, self.config.majority());
            let due = |read: &Read| open && read.round <= confirmed;
            if !leadership.reads.front().is_some_and(due) {
                return;
            }
            if let Some(read) = leadership.reads.pop_front() {
                assert_reachable!("a majority confirms a read");
                let value = self.machine.get(&read.key);
                self.reply(read.ticket, ClientReply::Value(value));
            }
        }
    }

    /// As leader, notes until when a majority that has answered is loyal to it, as the wall
    /// clock seems to tell.
    pub(crate) fn extend_lease(&mut self) {
        if !self.config.has(Bug::StaleReadByLease) {
            return;
        }
        let (own, majority) = (self.config.id, self.config.majority());
        if let Role::Leader(leadership) = &mut self.role {
            // Rounds are named by the time at which they began.
            let began = Duration::from_micros(confirmed(leadership, own, majority));
            let left = (began + self.config.election).saturating_sub(self.now);
            leadership.lease = leadership.lease.max(SystemTime::now() + left);
        }
    }

    /// Whether, by the wall clock, all of a majority are still loyal to this leader.
    fn has_lease(&self) -> bool {
        let Role::Leader(leadership) = &self.role else {
            return false;
        };
        self.machine.applied() > leadership.inherited && SystemTime::now() < leadership.lease
    }
}

/// The latest round that a majority has answered.
fn confirmed(leadership: &Leadership, own: usize, majority: usize) -> u64 {
    let mut rounds: Vec<u64> = leadership.followers.iter().map(|f| f.answered).collect();
    rounds[own] = leadership.round;
    rounds.sort_unstable_by(|a, b| b.cmp(a));
    rounds[majority - 1]
}
