//! Transfer of leadership (Raft dissertation, 3.10): the leader takes no more requests, brings
//! its successor up to date, and asks it to hold an election at once.

use std::io;

use chaoscontrol_guest::assert_reachable;

use crate::messages::Body;
use crate::node::Raft;
use crate::role::Role;
use crate::storage::Storage;
use crate::{ServerId, Term};

impl<S: Storage> Raft<S> {
    /// As leader, begins to make `to` leader.
    pub(crate) fn transfer(&mut self, to: ServerId) {
        if to == self.config.id || to >= self.config.servers.len() {
            return;
        }
        let until = self.now + self.config.election;
        if let Role::Leader(leadership) = &mut self.role {
            leadership.successor = Some((to, until));
        }
        self.hand_over();
    }

    /// As leader, asks the successor, if there is one, to take over once it has everything.
    pub(crate) fn hand_over(&mut self) {
        let Role::Leader(leadership) = &self.role else {
            return;
        };
        let Some((to, _)) = leadership.successor else {
            return;
        };
        if leadership.followers[to].matching == self.log.last().index {
            assert_reachable!("a leader hands over");
            self.send(to, Body::TakeOver);
        }
    }

    /// As leader, gives a transfer up that has taken too long.
    pub(crate) fn end_transfer(&mut self) {
        if let Role::Leader(leadership) = &mut self.role
            && leadership
                .successor
                .is_some_and(|(_, until)| self.now >= until)
        {
            assert_reachable!("a transfer of leadership is given up");
            leadership.successor = None;
        }
    }

    /// The leader wants this server to be its successor.
    pub(crate) fn on_take_over(&mut self, from: ServerId, term: Term) -> io::Result<()> {
        if term != self.hard.term || self.leader != Some(from) {
            return Ok(());
        }
        assert_reachable!("a successor holds an election");
        self.ask_for_votes(false, true)
    }
}
