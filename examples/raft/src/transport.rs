//! Frames on TCP connections, and the links on which a server reaches the others.
//!
//! A link has a connection while its server answers: one on which no answer came for a while
//! is given up, since after a partition TCP would wait far too long before it tries again.
//! What cannot be sent at once is lost but for the latest message, as Raft allows.

use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::codec::{Encode, Malformed};
use crate::messages::{ClientReply, ClientRequest, Message};

/// How long an answer may take, and a connection to be made.
const PATIENCE: Duration = Duration::from_millis(300);

/// Bytes of a frame at most.
const FRAME: usize = 1 << 20;

/// What a server is sent.
#[derive(Debug)]
pub enum Incoming {
    /// By another server.
    Message(Message),
    /// By a client: a number that the reply has to bear, and the request.
    Request(u64, ClientRequest),
}

impl Encode for Incoming {
    fn encode(&self, to: &mut Vec<u8>) {
        match self {
            Incoming::Message(message) => {
                to.push(0);
                message.encode(to);
            }
            Incoming::Request(number, request) => {
                to.push(1);
                number.encode(to);
                request.encode(to);
            }
        }
    }

    fn decode(from: &mut &[u8]) -> Result<Self, Malformed> {
        match u8::decode(from)? {
            0 => Ok(Incoming::Message(Encode::decode(from)?)),
            1 => Ok(Incoming::Request(
                Encode::decode(from)?,
                Encode::decode(from)?,
            )),
            _ => Err(Malformed),
        }
    }
}

/// A reply to a client, and the number of its request.
#[derive(Debug)]
pub struct Reply(pub u64, pub ClientReply);

impl Encode for Reply {
    fn encode(&self, to: &mut Vec<u8>) {
        self.0.encode(to);
        self.1.encode(to);
    }

    fn decode(from: &mut &[u8]) -> Result<Self, Malformed> {
        Ok(Reply(Encode::decode(from)?, Encode::decode(from)?))
    }
}

/// A frame with `value` as its content.
pub fn frame(value: &impl Encode) -> Vec<u8> {
    let mut bytes = vec![0; 8];
    value.encode(&mut bytes);
    let length = (bytes.len() - 8) as u64;
    bytes[..8].copy_from_slice(&length.to_le_bytes());
    bytes
}

/// Reads a frame's content.
///
/// # Errors
/// The connection ends or takes too long, or the bytes are not those of a frame.
pub fn read<T: Encode>(from: &mut impl Read) -> io::Result<T> {
    let mut length = [0; 8];
    from.read_exact(&mut length)?;
    let length = usize::from_bytes(&length)?;
    if length > FRAME {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    Ok(T::from_bytes(&bytes)?)
}

/// A way to another server.
#[derive(Debug)]
pub struct Link {
    to: SocketAddr,
    state: Mutex<State>,
    wanted: Condvar,
}

#[derive(Debug, Default)]
struct State {
    connection: Option<TcpStream>,
    /// What is sent when there is a connection.
    latest: Option<Vec<u8>>,
}

impl Link {
    /// A link to the server that listens at `to`.
    pub fn new(to: SocketAddr) -> Link {
        Link {
            to,
            state: Mutex::default(),
            wanted: Condvar::new(),
        }
    }

    /// Sends a frame, or lets it wait for a connection.
    pub fn send(&self, frame: Vec<u8>) {
        let mut state = self.lock();
        match &mut state.connection {
            Some(connection) => {
                if connection.write_all(&frame).is_err() {
                    // Whoever reads from it learns of it.
                    let _ = connection.shutdown(Shutdown::Both);
                    state.connection = None;
                }
            }
            None => {
                state.latest = Some(frame);
                self.wanted.notify_one();
            }
        }
    }

    /// Makes connections whenever there is something to send, and hands on what comes back.
    pub fn run(&self, mut answer: impl FnMut(Message)) -> ! {
        loop {
            self.wait_until_wanted();
            // Whatever fails, there is a new attempt with the next message.
            let _ = self.talk(&mut answer);
            self.lock().connection = None;
        }
    }

    fn wait_until_wanted(&self) {
        let mut state = self.lock();
        while state.latest.is_none() {
            state = self
                .wanted
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn talk(&self, answer: &mut impl FnMut(Message)) -> io::Result<()> {
        let connection = TcpStream::connect_timeout(&self.to, PATIENCE);
        let latest = self.lock().latest.take();
        let mut connection = connection?;
        prepare(&connection, PATIENCE)?;
        let mut from = BufReader::new(connection.try_clone()?);
        if let Some(frame) = latest {
            connection.write_all(&frame)?;
        }
        self.lock().connection = Some(connection);
        loop {
            answer(read(&mut from)?);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends small frames at once, and waits for nothing longer than `patience`.
pub fn prepare(connection: &TcpStream, patience: Duration) -> io::Result<()> {
    connection.set_nodelay(true)?;
    connection.set_read_timeout(Some(patience))?;
    connection.set_write_timeout(Some(patience))
}
