//! As much of a client for Redis as the test needs: one command at a time, over `std::net`.

use std::io::{self, BufRead, BufReader, Error, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The port on which servers listen.
pub const PORT: u16 = 6379;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_millis(500);

/// A connection. After an error it is of no use: nobody knows which answer comes next.
pub struct Client(BufReader<TcpStream>);

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A status, such as `OK`.
    Status(String),
    /// A number.
    Number(i64),
    /// A value.
    Value(Vec<u8>),
    /// There is no such key.
    Nothing,
}

impl Client {
    /// Connects to the server at `address`.
    pub fn connect(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Client(BufReader::new(stream)))
    }

    /// Sends a command and waits for its answer, which is an error if Redis says so.
    pub fn ask(&mut self, command: &[&str]) -> io::Result<Answer> {
        let mut request = format!("*{}\r\n", command.len());
        for part in command {
            request.push_str(&format!("${}\r\n{part}\r\n", part.len()));
        }
        self.0.get_mut().write_all(request.as_bytes())?;
        let line = self.line()?;
        let (kind, rest) = line.split_at_checked(1).ok_or(io::ErrorKind::InvalidData)?;
        let number = || rest.parse::<i64>().map_err(Error::other);
        match kind {
            "+" => Ok(Answer::Status(rest.to_owned())),
            ":" => Ok(Answer::Number(number()?)),
            "$" if number()? < 0 => Ok(Answer::Nothing),
            "$" => self.value(number()? as usize),
            _ => Err(Error::other(format!("Redis says {line:?}"))),
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.to_owned()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn value(&mut self, length: usize) -> io::Result<Answer> {
        let mut value = vec![0; length + 2];
        self.0.read_exact(&mut value)?;
        value.truncate(length);
        Ok(Answer::Value(value))
    }
}
