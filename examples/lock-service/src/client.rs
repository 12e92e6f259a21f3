//! A client: asks the servers, and holds a lock when a majority granted it.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::LEASE;

/// How long a client waits for the answer of one server.
const PATIENCE: Duration = Duration::from_millis(50);

/// The least time out that a socket takes.
const TICK: Duration = Duration::from_millis(1);

/// A lock that is held.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    token: u64,
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
    /// Servers are asked one after another, beginning with another one each time, until
    /// enough have granted or enough have not.
    pub fn acquire(&mut self, lock: &str) -> Option<Held> {
        self.attempts += 1;
        let token = u64::from(self.number) << 32 | u64::from(self.attempts);
        let held = Held {
            token,
            until: Instant::now() + LEASE,
        };
        let servers = self.servers.len();
        let (mut granted, mut denied) = (0, 0);
        for asked in 0..servers {
            let server = (self.attempts as usize + asked) % servers;
            match self.ask(server, &format!("acquire {lock} {token}\n")) {
                true => granted += 1,
                false => denied += 1,
            }
            if granted > servers / 2 && Instant::now() < held.until {
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
        for server in 0..self.servers.len() {
            // A server that is out of reach waits for the end of the lease.
            if self.connections[server].is_some() {
                self.send(
                    server,
                    &format!("release {lock} {}\n", held.token),
                    Instant::now() + TICK,
                );
            }
        }
    }

    /// Whether `server` grants `request` in time.
    fn ask(&mut self, server: usize, request: &str) -> bool {
        let deadline = Instant::now() + PATIENCE;
        let old = self.connections[server].is_some();
        let mut answer = self.answer(server, request, deadline);
        if answer.is_none() && old && Instant::now() < deadline {
            // The connection was one to a server that has been restarted since.
            answer = self.answer(server, request, deadline);
        }
        answer.is_some_and(|line| line == "granted\n")
    }

    /// The answer of `server` to `request`. A connection whose answer did not come is given
    /// up, so that the answer cannot pass for a later one.
    fn answer(&mut self, server: usize, request: &str, deadline: Instant) -> Option<String> {
        self.send(server, request, deadline);
        let connection = self.connections[server].as_mut()?;
        let mut line = String::new();
        let read = connection
            .get_ref()
            .set_read_timeout(Some(left(deadline)))
            .and_then(|()| connection.read_line(&mut line));
        if matches!(read, Ok(n) if n > 0) {
            return Some(line);
        }
        self.connections[server] = None;
        None
    }

    fn send(&mut self, server: usize, request: &str, deadline: Instant) {
        let attempt = |connection: &mut Option<BufReader<TcpStream>>| -> io::Result<()> {
            if connection.is_none() {
                let stream = TcpStream::connect_timeout(&self.servers[server], left(deadline))?;
                stream.set_nodelay(true)?;
                *connection = Some(BufReader::new(stream));
            }
            let stream = connection.as_mut().expect("was just made").get_mut();
            stream.set_write_timeout(Some(left(deadline)))?;
            stream.write_all(request.as_bytes())
        };
        if attempt(&mut self.connections[server]).is_err() {
            self.connections[server] = None;
        }
    }
}

/// The time until `deadline`, but never nothing, which a socket takes for ever.
fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(TICK)
}
