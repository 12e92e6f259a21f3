//! The agent's end of what processes write.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use crate::lines::Lines;
use crate::protocol::{Message, Stream};
use crate::transport::send;

/// The agent's end of a pipe into which the body or a program writes.
pub struct Pipe {
    from: Option<OwnedFd>,
    pid: i32,
    name: String,
    stream: Stream,
    lines: Lines,
}

impl Pipe {
    /// Takes over a pipe of the process `pid`, a program called `name` or, if that is empty,
    /// the body; none if it writes elsewhere.
    ///
    /// # Errors
    /// The pipe cannot be kept from blocking.
    pub fn new(from: Option<OwnedFd>, pid: i32, name: &str, stream: Stream) -> io::Result<Self> {
        if let Some(from) = &from {
            // SAFETY: fcntl(2) with F_SETFL takes integers only; the descriptor is open.
            if unsafe { libc::fcntl(from.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(Self {
            from,
            pid,
            name: name.to_owned(),
            stream,
            lines: Lines::default(),
        })
    }

    /// What poll(2) is to watch; -1, which it ignores, once all writers are gone.
    pub fn descriptor(&self) -> RawFd {
        self.from.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    /// Forwards what has been written so far.
    pub fn forward(&mut self) {
        let Self {
            from,
            pid,
            name,
            stream,
            lines,
        } = self;
        let tell = teller(*pid, name, *stream);
        let mut buffer = [0; 4096];
        while let Some(open) = &from {
            // SAFETY: read(2) writes at most `buffer.len()` bytes to `buffer`, which is
            // exclusively borrowed; the descriptor is open.
            let count =
                unsafe { libc::read(open.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
            match usize::try_from(count) {
                Ok(0) => {
                    *from = None;
                    lines.flush(&tell);
                }
                Ok(count) => lines.push(&buffer[..count], &tell),
                // Empty for now, or interrupted: poll(2) says when there is more.
                Err(_) => break,
            }
        }
    }

    /// Forwards everything, also a line without its end.
    pub fn flush(&mut self) {
        self.forward();
        let tell = teller(self.pid, &self.name, self.stream);
        self.lines.flush(tell);
    }
}

/// Sends a line to the host.
fn teller(pid: i32, name: &str, stream: Stream) -> impl Fn(&[u8]) {
    move |line| {
        send(&Message::Output {
            pid,
            name,
            stream,
            line,
        });
    }
}
