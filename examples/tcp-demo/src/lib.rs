//! An echo service: messages of any length go to a server over TCP and come back.
//!
//! TCP carries a stream of bytes, not messages. So each message has its length before it, and
//! whoever reads one goes on until all of it is there.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// The port of the service.
pub const PORT: u16 = 7000;

/// The most bytes of a message.
pub const LONGEST: usize = 64 << 10;

/// How a message is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Until all of it is there.
    Whole,
    /// A mistake to test with: what one call of `read` returns is taken for the message. It
    /// mostly is, until a network splits messages elsewhere than their sender did.
    OneRead,
}

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    reading: Reading,
}

impl Server {
    /// Listens on [`PORT`] of all addresses.
    ///
    /// # Errors
    /// The port cannot be had.
    pub fn listen(reading: Reading) -> io::Result<Server> {
        let listener = TcpListener::bind(("0.0.0.0", PORT))?;
        Ok(Server { listener, reading })
    }

    /// Serves for ever, each connection by a thread.
    ///
    /// # Errors
    /// Accepting a connection failed.
    pub fn serve(&self) -> io::Result<()> {
        loop {
            let (mut stream, _) = self.listener.accept()?;
            let reading = self.reading;
            // A connection that ends, in whatever way, concerns nobody else.
            thread::spawn(move || {
                while let Ok(message) = receive(&mut stream, reading) {
                    if send(&mut stream, &message).is_err() {
                        break;
                    }
                }
            });
        }
    }
}

/// A connection to a server.
#[derive(Debug)]
pub struct Client(TcpStream);

impl Client {
    /// Connects to `server`, however often that takes: a network that is cut now may be whole
    /// in a moment.
    pub fn connect(server: SocketAddr) -> Client {
        loop {
            match TcpStream::connect(server) {
                Ok(stream) => return Client(stream),
                Err(_) => thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// Sends `message` and waits for what comes back, for as long as TCP keeps trying.
    ///
    /// # Errors
    /// The message is too long, or the connection broke.
    pub fn echo(&mut self, message: &[u8]) -> io::Result<Vec<u8>> {
        send(&mut self.0, message)?;
        receive(&mut self.0, Reading::Whole)
    }
}

fn send(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    if message.len() > LONGEST {
        return Err(too_long(message.len()));
    }
    // In one call, so that the length does not travel by itself.
    let mut bytes = (message.len() as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(message);
    stream.write_all(&bytes)
}

fn receive(stream: &mut TcpStream, reading: Reading) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > LONGEST {
        return Err(too_long(length));
    }
    let mut message = vec![0; length];
    match reading {
        Reading::Whole => stream.read_exact(&mut message)?,
        Reading::OneRead => {
            let read = stream.read(&mut message)?;
            message.truncate(read);
        }
    }
    Ok(message)
}

fn too_long(length: usize) -> io::Error {
    let why = format!("a message of {length} bytes is longer than {LONGEST}");
    io::Error::new(io::ErrorKind::InvalidData, why)
}
