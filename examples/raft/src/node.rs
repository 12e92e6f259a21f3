//! A server's part of the protocol: state, and what goes in and out. What it does about
//! elections, replication, snapshots, reads and transfers stands in the modules of these
//! names.

use std::io;
use std::time::Duration;

use chaoscontrol_guest::{assert_always, assert_reachable};

use crate::codec::Encode;
use crate::log::Log;
use crate::machine::Machine;
use crate::messages::{Body, ClientReply, ClientRequest, Message};
use crate::role::Role;
use crate::storage::{HardState, Recovered, Snapshot, Storage};
use crate::{Command, Config, ServerId, Term};

/// What a client's request is known by, so that the answer finds its way.
pub type Ticket = u64;

/// What is to be sent.
#[derive(Debug, Default)]
pub struct Outputs {
    /// To other servers.
    pub messages: Vec<(ServerId, Message)>,
    /// To clients.
    pub replies: Vec<(Ticket, ClientReply)>,
}

/// One server of a cluster. Times are counted from its start, by its own clock.
///
/// An error of any method is one of its storage: the server has to stop.
#[derive(Debug)]
pub struct Raft<S> {
    pub(crate) config: Config,
    pub(crate) storage: S,
    pub(crate) random: fn() -> u64,
    pub(crate) hard: HardState,
    pub(crate) log: Log,
    pub(crate) snapshot: Snapshot,
    pub(crate) machine: Machine,
    pub(crate) role: Role,
    pub(crate) leader: Option<ServerId>,
    pub(crate) now: Duration,
    pub(crate) election_due: Duration,
    /// When a leader was heard of, or might have been before a restart.
    pub(crate) heard: Option<Duration>,
    pub(crate) outputs: Outputs,
}

impl<S: Storage> Raft<S> {
    /// A server that goes on where `recovered`, the content of `storage`, has left it.
    /// `random` is where timeouts come from.
    ///
    /// # Errors
    /// The snapshot is not one of a state machine.
    pub fn new(
        config: Config,
        storage: S,
        recovered: Recovered,
        random: fn() -> u64,
    ) -> io::Result<Raft<S>> {
        let Recovered {
            hard,
            snapshot,
            log,
        } = recovered;
        let machine = match snapshot.last.index {
            0 => Machine::default(),
            _ => Machine::from_bytes(&snapshot.machine)?,
        };
        assert_always!(
            machine.applied() == log.base().index,
            "a recovered log follows its snapshot",
            applied = machine.applied(),
            base = log.base()
        );
        if hard.term > 0 {
            assert_reachable!("a server recovers what it has stored");
        }
        let mut raft = Raft {
            // It may have promised a leader its loyalty before.
            heard: (hard.term > 0).then_some(Duration::ZERO),
            config,
            storage,
            random,
            hard,
            log,
            snapshot,
            machine,
            role: Role::Follower,
            leader: None,
            now: Duration::ZERO,
            election_due: Duration::ZERO,
            outputs: Outputs::default(),
        };
        raft.wait_for_leader();
        Ok(raft)
    }

    /// The term.
    pub fn term(&self) -> Term {
        self.hard.term
    }

    /// The leader of the term, if it is known.
    pub fn leader(&self) -> Option<ServerId> {
        self.leader
    }

    /// The state machine.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// When [`Raft::tick`] is to be called next.
    pub fn due(&self) -> Duration {
        match &self.role {
            Role::Leader(leadership) => leadership.heartbeat_due,
            _ => self.election_due,
        }
    }

    /// What is to be sent, in this order.
    pub fn outputs(&mut self) -> Outputs {
        std::mem::take(&mut self.outputs)
    }

    /// It is `now`.
    ///
    /// # Errors
    /// Those of the storage.
    pub fn tick(&mut self, now: Duration) -> io::Result<()> {
        self.now = self.now.max(now);
        if self.now < self.due() {
            return Ok(());
        }
        match self.role {
            Role::Leader(_) => {
                self.end_transfer();
                self.broadcast()
            }
            _ => self.ask_for_votes(true, false)?,
        }
        Ok(())
    }

    /// Another server says something.
    ///
    /// # Errors
    /// Those of the storage.
    pub fn receive(&mut self, now: Duration, message: Message) -> io::Result<()> {
        self.now = self.now.max(now);
        let Message { from, term, body } = message;
        if from >= self.config.servers.len() || from == self.config.id {
            return Ok(());
        }
        // Until an election begins nobody is to take its term.
        let begun = match body {
            Body::Vote { pre, transfer, .. } => !pre && !self.is_loyal(transfer),
            Body::Voted { pre, granted } => !(pre && granted),
            _ => true,
        };
        if begun && term > self.hard.term {
            self.adopt(term)?;
        }
        match body {
            Body::Vote {
                pre,
                transfer,
                last,
            } => self.on_vote(from, term, pre, transfer, last),
            Body::Voted { pre, granted } => self.on_voted(from, term, pre, granted),
            Body::Append {
                previous,
                entries,
                commit,
                round,
            } => match self.obeys(from, term, round)? {
                true => self.on_append(from, previous, entries, commit, round),
                false => Ok(()),
            },
            Body::Install { snapshot, round } => match self.obeys(from, term, round)? {
                true => self.on_install(from, snapshot, round),
                false => Ok(()),
            },
            Body::Appended {
                matching,
                retry,
                round,
            } => self.on_appended(from, term, matching, retry, round),
            Body::TakeOver => self.on_take_over(from, term),
        }
    }

    /// A client asks for something. The reply is among the outputs, now or later, under its
    /// `ticket`, or there is none, as when a network loses it.
    ///
    /// # Errors
    /// Those of the storage.
    pub fn request(
        &mut self,
        now: Duration,
        ticket: Ticket,
        request: ClientRequest,
    ) -> io::Result<()> {
        self.now = self.now.max(now);
        match (&self.role, request) {
            (Role::Leader(leadership), _) if leadership.successor.is_some() => {
                self.refuse(ticket);
                Ok(())
            }
            (Role::Leader(_), ClientRequest::Open) => self.propose(Some(ticket), Command::Open),
            (
                Role::Leader(_),
                ClientRequest::Operate {
                    session,
                    sequence,
                    operation,
                },
            ) => {
                let command = Command::Operate {
                    session,
                    sequence,
                    operation,
                };
                self.propose(Some(ticket), command)
            }
            (Role::Leader(_), ClientRequest::Get { key }) => self.read(ticket, key),
            (Role::Leader(_), ClientRequest::Transfer { to }) => {
                self.transfer(to);
                self.reply(ticket, ClientReply::Transferring);
                Ok(())
            }
            _ => {
                self.refuse(ticket);
                Ok(())
            }
        }
    }

    /// Tells a client to ask another server.
    pub(crate) fn refuse(&mut self, ticket: Ticket) {
        let leader = self.leader.filter(|leader| *leader != self.config.id);
        self.reply(ticket, ClientReply::NotLeader(leader));
    }

    pub(crate) fn reply(&mut self, ticket: Ticket, reply: ClientReply) {
        self.outputs.replies.push((ticket, reply));
    }

    /// Sends `body` in the server's term.
    pub(crate) fn send(&mut self, to: ServerId, body: Body) {
        self.send_in(self.hard.term, to, body);
    }

    pub(crate) fn send_in(&mut self, term: Term, to: ServerId, body: Body) {
        let from = self.config.id;
        let message = Message { from, term, body };
        self.outputs.messages.push((to, message));
    }

    /// All servers but this one.
    pub(crate) fn others(&self) -> impl Iterator<Item = ServerId> + use<S> {
        let own = self.config.id;
        (0..self.config.servers.len()).filter(move |id| *id != own)
    }
}
