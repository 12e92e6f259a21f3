//! A process's output, cut into lines for the timeline.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use crate::protocol::{Message, Stream};
use crate::transport::send;

/// A longer line is told in pieces of this many bytes.
const LONGEST: usize = 2048;

/// Collects bytes and gives them out by the line.
#[derive(Default)]
struct Lines {
    /// The line that is not complete yet, shorter than [`LONGEST`].
    partial: Vec<u8>,
}

impl Lines {
    fn push(&mut self, bytes: &[u8], mut line: impl FnMut(&[u8])) {
        for &byte in bytes {
            if byte != b'\n' {
                self.partial.push(byte);
            }
            if byte == b'\n' || self.partial.len() == LONGEST {
                line(&self.partial);
                self.partial.clear();
            }
        }
    }

    fn flush(&mut self, mut line: impl FnMut(&[u8])) {
        if !self.partial.is_empty() {
            line(&self.partial);
            self.partial.clear();
        }
    }
}

/// The agent's end of a pipe into which the body writes.
pub struct Pipe {
    from: Option<OwnedFd>,
    pid: i32,
    stream: Stream,
    lines: Lines,
}

impl Pipe {
    /// Takes over a pipe that does not block.
    pub fn new(from: OwnedFd, pid: i32, stream: Stream) -> Self {
        Self {
            from: Some(from),
            pid,
            stream,
            lines: Lines::default(),
        }
    }

    /// What poll(2) is to watch; -1, which it ignores, once all writers are gone.
    pub fn descriptor(&self) -> RawFd {
        self.from.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    /// Forwards what has been written so far.
    pub fn forward(&mut self) {
        let (pid, stream) = (self.pid, self.stream);
        let tell = |line: &[u8]| {
            send(&Message::Output { pid, stream, line });
        };
        let mut buffer = [0; 4096];
        while let Some(from) = &self.from {
            // SAFETY: read(2) writes at most `buffer.len()` bytes to `buffer`, which is
            // exclusively borrowed; the descriptor is open.
            let count =
                unsafe { libc::read(from.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
            match usize::try_from(count) {
                Ok(0) => {
                    self.from = None;
                    self.lines.flush(tell);
                }
                Ok(count) => self.lines.push(&buffer[..count], tell),
                // Empty for now, or interrupted: poll(2) says when there is more.
                Err(_) => break,
            }
        }
    }

    /// Forwards everything, also a line without its end.
    pub fn flush(&mut self) {
        self.forward();
        let (pid, stream) = (self.pid, self.stream);
        self.lines.flush(|line| {
            send(&Message::Output { pid, stream, line });
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> (Vec<Vec<u8>>, Vec<u8>) {
        let mut lines = Lines::default();
        let mut told = Vec::new();
        for chunk in chunks {
            lines.push(chunk, |line| told.push(line.to_vec()));
        }
        let mut rest = Vec::new();
        lines.flush(|line| rest = line.to_vec());
        (told, rest)
    }

    #[test]
    fn chunks_become_lines() {
        let (told, rest) = lines(&[b"one\ntw", b"o\n\nthr", b"ee"]);
        assert_eq!(told, [&b"one"[..], b"two", b""]);
        assert_eq!(rest, b"three");
    }

    #[test]
    fn a_line_without_end_is_told_in_pieces() {
        let (told, rest) = lines(&[&[b'x'; LONGEST * 2 + 1]]);
        assert_eq!(told.iter().map(Vec::len).collect::<Vec<_>>(), [LONGEST; 2]);
        assert_eq!(rest, b"x");
    }
}
