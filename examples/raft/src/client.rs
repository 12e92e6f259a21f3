//! A client with a session: each of its operations counts exactly once, however often it has
//! to be sent.

use std::fmt;
use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use chaoscontrol_guest::assert_reachable;

use crate::messages::{ClientReply, ClientRequest};
use crate::transport::{Incoming, Reply, frame, prepare, read};
use crate::{Index, Operation, ServerId};

/// How long a client waits for a reply before it asks another server.
const PATIENCE: Duration = Duration::from_millis(200);

/// How long it waits before it asks the next one if a server cannot help.
const PAUSE: Duration = Duration::from_millis(20);

/// Why an operation was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nobody has answered in time. The operation may have been done all the same, and it is
    /// still the session's next one: only it can be tried again.
    Unanswered,
    /// The servers do not know the session any more, so nobody knows whether it was done.
    Expired,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Trouble::Unanswered => "no server has answered in time",
            Trouble::Expired => "the servers have given the session up",
        })
    }
}

impl std::error::Error for Trouble {}

/// A client of a cluster.
#[derive(Debug)]
pub struct Client {
    servers: Vec<SocketAddr>,
    connections: Vec<Option<BufReader<TcpStream>>>,
    leader: ServerId,
    /// How many requests were sent.
    sent: u64,
    session: Option<Index>,
    /// Operations of the session that are done.
    done: u64,
}

impl Client {
    /// A client of the cluster that these are all servers of.
    pub fn new(servers: Vec<SocketAddr>) -> Client {
        Client {
            connections: servers.iter().map(|_| None).collect(),
            servers,
            leader: 0,
            sent: 0,
            session: None,
            done: 0,
        }
    }

    /// Changes a counter, and returns its new value. After [`Trouble::Unanswered`] the same
    /// operation has to be tried again before any other.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub fn operate(&mut self, operation: Operation, limit: Duration) -> Result<u64, Trouble> {
        let until = Instant::now() + limit;
        let session = match self.session {
            Some(session) => session,
            None => match self.ask(&ClientRequest::Open, until)? {
                ClientReply::Opened(session) => *self.session.insert(session),
                _ => return Err(Trouble::Unanswered),
            },
        };
        let request = ClientRequest::Operate {
            session,
            sequence: self.done + 1,
            operation,
        };
        match self.ask(&request, until)? {
            ClientReply::Value(value) => {
                self.done += 1;
                Ok(value)
            }
            _ => {
                self.session = None;
                self.done = 0;
                Err(Trouble::Expired)
            }
        }
    }

    /// The value of a counter: what every operation has made of it that was acknowledged
    /// before the call, to whomever.
    ///
    /// # Errors
    /// [`Trouble::Unanswered`].
    pub fn get(&mut self, key: &str, limit: Duration) -> Result<u64, Trouble> {
        let request = ClientRequest::Get {
            key: key.to_owned(),
        };
        match self.ask(&request, Instant::now() + limit)? {
            ClientReply::Value(value) => Ok(value),
            _ => Err(Trouble::Unanswered),
        }
    }

    /// Asks the leader to make `to` leader. It may come to nothing.
    ///
    /// # Errors
    /// [`Trouble::Unanswered`].
    pub fn transfer(&mut self, to: ServerId, limit: Duration) -> Result<(), Trouble> {
        let request = ClientRequest::Transfer { to };
        self.ask(&request, Instant::now() + limit).map(|_| ())
    }

    /// Asks one server after another until a leader has answered.
    fn ask(&mut self, request: &ClientRequest, until: Instant) -> Result<ClientReply, Trouble> {
        loop {
            let server = self.leader;
            let old = self.connections[server].is_some();
            let mut reply = self.ask_server(server, request);
            if old && reply.as_ref().is_err_and(|e| !is_timeout(e)) {
                // The connection was one to a server that has been restarted since.
                reply = self.ask_server(server, request);
            }
            let next = (server + 1) % self.servers.len();
            match reply {
                Ok(ClientReply::NotLeader(Some(leader))) if leader < self.servers.len() => {
                    assert_reachable!("a client is told who leads");
                    self.leader = leader;
                }
                Ok(ClientReply::NotLeader(_)) => self.leader = next,
                Ok(reply) => return Ok(reply),
                Err(_) => {
                    assert_reachable!("a server does not answer a client");
                    self.leader = next;
                }
            }
            if Instant::now() + PAUSE >= until {
                return Err(Trouble::Unanswered);
            }
            thread::sleep(PAUSE);
        }
    }

    /// The reply of one server. A connection on which none came is given up.
    fn ask_server(&mut self, server: ServerId, request: &ClientRequest) -> io::Result<ClientReply> {
        let mut connection = match self.connections[server].take() {
            Some(connection) => connection,
            None => connect(self.servers[server])?,
        };
        self.sent += 1;
        let request = Incoming::Request(self.sent, request.clone());
        connection.get_mut().write_all(&frame(&request))?;
        loop {
            // One that came too late for an earlier request is not for this one.
            let Reply(number, reply) = read(&mut connection)?;
            if number == self.sent {
                self.connections[server] = Some(connection);
                return Ok(reply);
            }
        }
    }
}

fn connect(server: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let connection = TcpStream::connect_timeout(&server, PATIENCE)?;
    prepare(&connection, PATIENCE)?;
    Ok(BufReader::new(connection))
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}
