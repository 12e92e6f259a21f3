//! A server: the protocol, joined with sockets, threads and a disk.
//!
//! A thread for each connection reads; who has read something holds the lock on the server's
//! state while it steps the protocol and writes what comes of it. One more thread waits for
//! timeouts.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use chaoscontrol_guest::{assert_always, assert_reachable, get_random};

use crate::disk::Disk;
use crate::messages::{ClientReply, Message};
use crate::node::{Raft, Ticket};
use crate::tickets::Tickets;
use crate::transport::{Incoming, Link, Reply, frame, prepare, read};
use crate::{Bug, Config, PORT, ServerId};

/// How long a connection may be silent before it is closed.
const SILENCE: Duration = Duration::from_secs(2);

/// How often a thread that waits for a leader looks.
const POLL: Duration = Duration::from_millis(5);

/// A server that runs.
#[derive(Debug)]
pub struct Server(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    start: Instant,
    racing: bool,
    tickets: Tickets,
    /// By server; that to the server itself is not used.
    links: Vec<Link>,
    state: Mutex<State>,
    /// There may be less time left than the thread that waits for timeouts believes.
    earlier: Condvar,
}

#[derive(Debug)]
struct State {
    raft: Raft<Disk>,
    /// Clients that wait for a reply.
    clients: BTreeMap<Ticket, Waiting>,
    /// Why the server had to stop.
    failed: Option<io::Error>,
}

/// A client that waits: for the reply to its request of this number.
#[derive(Debug)]
struct Waiting {
    connection: Arc<TcpStream>,
    number: u64,
}

impl Server {
    /// Starts a server, which goes on where it was stopped if `data_dir` says so.
    ///
    /// # Errors
    /// Its data cannot be read or written, or its port cannot be had.
    pub fn start(config: Config) -> io::Result<Server> {
        let (disk, recovered) = Disk::open(&config)?;
        let listener = TcpListener::bind(("0.0.0.0", PORT))?;
        let (own, links) = (config.id, config.servers.iter().copied().map(Link::new));
        let shared = Arc::new(Shared {
            start: Instant::now(),
            racing: config.has(Bug::LostUpdateRace),
            tickets: Tickets::default(),
            links: links.collect(),
            state: Mutex::new(State {
                raft: Raft::new(config, disk, recovered, get_random)?,
                clients: BTreeMap::new(),
                failed: None,
            }),
            earlier: Condvar::new(),
        });
        for id in (0..shared.links.len()).filter(|id| *id != own) {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.links[id].run(|answer| shared.hear(answer, None)));
        }
        let (accepting, ticking) = (Arc::clone(&shared), Arc::clone(&shared));
        thread::spawn(move || accepting.accept(&listener));
        thread::spawn(move || ticking.wait_for_timeouts());
        Ok(Server(shared))
    }

    /// Waits until the server knows a leader.
    pub fn wait_leader(&self) -> ServerId {
        loop {
            if let Some(leader) = self.0.lock().raft.leader() {
                return leader;
            }
            thread::sleep(POLL);
        }
    }

    /// Waits until the server has to stop, and says why.
    pub fn wait(&self) -> io::Error {
        let mut state = self.0.lock();
        loop {
            if let Some(failed) = state.failed.take() {
                return failed;
            }
            state = self
                .0
                .earlier
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the protocol take a step, and sends what comes of it; answers go to `origin`.
    fn step(
        &self,
        state: &mut State,
        origin: Option<&TcpStream>,
        step: impl FnOnce(&mut Raft<Disk>, Duration) -> io::Result<()>,
    ) {
        if state.failed.is_some() {
            return;
        }
        let due = state.raft.due();
        if let Err(error) = step(&mut state.raft, self.start.elapsed()) {
            state.failed = Some(error);
            self.earlier.notify_all();
            return;
        }
        let outputs = state.raft.outputs();
        for (to, message) in outputs.messages {
            match origin {
                Some(mut origin) if message.body.is_answer() => {
                    // If it is gone, whoever reads from it learns of it.
                    let _ = origin.write_all(&frame(&message));
                }
                _ => self.links[to].send(frame(&Incoming::Message(message))),
            }
        }
        for (ticket, reply) in outputs.replies {
            if let Some(client) = state.clients.remove(&ticket) {
                client.reply(reply);
            }
        }
        if state.raft.due() < due {
            self.earlier.notify_all();
        }
    }

    /// Another server has said something.
    fn hear(&self, message: Message, origin: Option<&TcpStream>) {
        self.step(&mut self.lock(), origin, |raft, now| {
            raft.receive(now, message)
        });
    }

    fn wait_for_timeouts(&self) {
        let mut state = self.lock();
        loop {
            self.step(&mut state, None, |raft, now| raft.tick(now));
            let left = state.raft.due().saturating_sub(self.start.elapsed());
            let waited = self.earlier.wait_timeout(state, left.max(POLL / 5));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for connection in listener.incoming() {
            let Ok(connection) = connection else {
                assert_reachable!("a connection cannot be accepted");
                thread::sleep(POLL);
                continue;
            };
            let shared = Arc::clone(self);
            // A connection that breaks ends its thread; who wants another makes one.
            thread::spawn(move || shared.talk(connection));
        }
    }

    fn talk(&self, connection: TcpStream) -> io::Result<()> {
        prepare(&connection, SILENCE)?;
        let connection = Arc::new(connection);
        let mut from = BufReader::new(&*connection);
        loop {
            match read(&mut from)? {
                Incoming::Message(message) => self.hear(message, Some(&connection)),
                Incoming::Request(number, request) => {
                    let ticket = self.tickets.draw(&request, self.racing);
                    let client = Waiting {
                        connection: Arc::clone(&connection),
                        number,
                    };
                    let mut state = self.lock();
                    let before = state.clients.insert(ticket, client);
                    assert_always!(
                        before.is_none(),
                        "each request has a ticket of its own",
                        ticket = ticket
                    );
                    self.step(&mut state, None, |raft, now| {
                        raft.request(now, ticket, request)
                    });
                }
            }
        }
    }
}

impl Waiting {
    fn reply(&self, reply: ClientReply) {
        // A client that is gone asks again.
        let _ = (&*self.connection).write_all(&frame(&Reply(self.number, reply)));
    }
}
