//! A client: asks the servers, and holds a lock when a majority granted it.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::LEASE;

/// How long a client waits for the answer of one server.
const PATIENCE: Duration = Duration::from_millis(50);

/// A lock that is held.
#[derive(Clone, Debug)]
pub struct Held {
    token: u64,
    /// The servers that granted it.
    grants: Vec<usize>,
    /// From then on somebody else may have it.
    pub until: Instant,
}

/// A client of all servers. It has one connection to each.
#[derive(Debug)]
pub struct Client {
    servers: Vec<SocketAddr>,
    connections: Vec<Option<BufReader<TcpStream>>>,
    number: u32,
    attempts: u32,
}

impl Client {
    /// Client `number`, which no other client has.
    pub fn new(servers: Vec<SocketAddr>, number: u32) -> Client {
        let connections = servers.iter().map(|_| None).collect();
        Client {
            servers,
            connections,
            number,
            attempts: 0,
        }
    }

    /// Tries once to get `lock`; `None` if no majority grants it in time.
    ///
    /// Servers are asked one after another, all clients beginning with the same one, until
    /// enough have granted or enough have not.
    pub fn acquire(&mut self, lock: &str) -> Option<Held> {
        self.attempts += 1;
        let token = u64::from(self.number) << 32 | u64::from(self.attempts);
        let mut held = Held {
            token,
            grants: Vec::new(),
            until: Instant::now() + LEASE,
        };
        let servers = self.servers.len();
        let mut denied = 0;
        for server in 0..servers {
            match self.ask(server, &format!("acquire {lock} {token}\n")) {
                true => held.grants.push(server),
                false => denied += 1,
            }
            if held.grants.len() > servers / 2 && Instant::now() < held.until {
                return Some(held);
            }
            if denied > servers / 2 {
                break;
            }
        }
        self.release(lock, held);
        None
    }

    /// Gives `lock` back.
    pub fn release(&mut self, lock: &str, held: Held) {
        let request = format!("release {lock} {}\n", held.token);
        for server in held.grants {
            // A server that is out of reach waits for the end of the lease.
            let sent = match &mut self.connections[server] {
                Some(connection) => connection.get_mut().write_all(request.as_bytes()),
                None => continue,
            };
            if sent.is_err() {
                self.connections[server] = None;
            }
        }
    }

    /// Whether `server` grants `request` in time.
    fn ask(&mut self, server: usize, request: &str) -> bool {
        let old = self.connections[server].is_some();
        let mut answer = self.answer(server, request);
        if old && answer.as_ref().is_err_and(|e| !is_timeout(e)) {
            // The connection was one to a server that has been restarted since.
            answer = self.answer(server, request);
        }
        answer.is_ok_and(|line| line == "granted\n")
    }

    /// The answer of `server` to `request`. A connection whose answer did not come is given
    /// up, so that the answer cannot pass for a later one.
    fn answer(&mut self, server: usize, request: &str) -> io::Result<String> {
        let mut connection = match self.connections[server].take() {
            Some(connection) => connection,
            None => connect(self.servers[server])?,
        };
        connection.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        if connection.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.connections[server] = Some(connection);
        Ok(line)
    }
}

/// A connection to `server` on which nothing takes longer than [`PATIENCE`].
fn connect(server: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(BufReader::new(stream))
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}
