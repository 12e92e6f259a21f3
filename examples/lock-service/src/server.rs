//! A server: one line is one request, one thread is one connection.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::leases::{Leases, Rejoin};
use crate::{LEASE, PORT, SKEW};

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    start: Instant,
    leases: Mutex<Leases>,
}

impl Server {
    /// Listens on [`PORT`] of all addresses.
    ///
    /// # Errors
    /// The port cannot be had.
    pub fn listen(rejoin: Rejoin) -> io::Result<Server> {
        let listener = TcpListener::bind(("0.0.0.0", PORT))?;
        let state = State {
            start: Instant::now(),
            leases: Mutex::new(Leases::new(rejoin)),
        };
        Ok(Server {
            listener,
            state: Arc::new(state),
        })
    }

    /// Waits until the server may grant leases.
    pub fn wait_joined(&self) {
        let left = (LEASE * SKEW).saturating_sub(self.state.start.elapsed());
        let open = |state: &State| state.with(|leases, now| leases.joined(now));
        if !open(&self.state) {
            thread::sleep(left + Duration::from_millis(1));
        }
    }

    /// Serves for ever.
    ///
    /// # Errors
    /// Accepting a connection failed.
    pub fn serve(self) -> io::Result<()> {
        loop {
            let (stream, _) = self.listener.accept()?;
            let state = Arc::clone(&self.state);
            // A connection that breaks ends its thread; the client makes a new one.
            thread::spawn(move || state.talk(stream));
        }
    }
}

impl State {
    fn with<T>(&self, f: impl FnOnce(&mut Leases, Duration) -> T) -> T {
        let mut leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        f(&mut leases, self.start.elapsed())
    }

    fn talk(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        for line in BufReader::new(stream.try_clone()?).lines() {
            let line = line?;
            let Some((verb, lock, token)) = parse(&line) else {
                return Err(io::ErrorKind::InvalidData.into());
            };
            match verb {
                "acquire" => {
                    let answer = self.with(|leases, now| leases.acquire(now, lock, token));
                    stream.write_all(format!("{}\n", answer.word()).as_bytes())?;
                }
                "release" => self.with(|leases, _| leases.release(lock, token)),
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
        Ok(())
    }
}

/// Verb, lock and token of a request.
fn parse(line: &str) -> Option<(&str, &str, u64)> {
    let (verb, rest) = line.split_once(' ')?;
    let (lock, token) = rest.split_once(' ')?;
    Some((verb, lock, token.parse().ok()?))
}
