//! What a test's body and its agent say about programs: `node.command` asks for one over a
//! socket, a connection for each, and the agent is its parent. The host takes no part.

use super::frame;
use super::wire::{Error, wire_enum};

/// The agent's socket.
pub const SOCKET: &str = "/run/chaoscontrol";

/// Stands for a file descriptor where there is none.
pub const NO_FILE: i32 = -1;

wire_enum! {
    /// From the body to the agent. Lists of strings are bytes in which a zero follows each.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Request<'a> {
        /// Starts a program; the first request of a connection.
        1 => Start {
            /// The program's file.
            path: &'a [u8],
            /// What reports call it.
            name: &'a str,
            /// Its arguments, a list.
            arguments: &'a [u8],
            /// Its environment, a list of `NAME=value`.
            environment: &'a [u8],
            /// Its working directory.
            directory: &'a [u8],
            /// The process that asks, to which the file descriptors belong.
            process: i32,
            /// Its standard input, or [`NO_FILE`] for an empty one.
            stdin: i32,
            /// Its standard output, or [`NO_FILE`] if the agent is to forward it.
            stdout: i32,
            /// Its standard error, likewise.
            stderr: i32,
            /// Whether its end is nobody's failure, whatever it is.
            may_fail: bool,
        },
        /// Ends it by a signal; its end is nobody's failure then.
        2 => End {
            /// The signal's number.
            signal: i32,
        },
    }
}

wire_enum! {
    /// From the agent to the body.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Reply {
        /// The program runs.
        1 => Started {
            /// Its process number.
            pid: i32,
        },
        /// It could not be started.
        2 => Failed {
            /// Why, an `errno`.
            errno: i32,
        },
        /// It has ended.
        3 => Ended {
            /// How, as wait(2) has it.
            status: i32,
        },
    }
}

/// The longest [`Request`] in bytes, with its length.
pub const MAX_REQUEST: usize = 1 << 20;

impl<'a> Request<'a> {
    /// Writes the request into `buffer`, with its length, and returns how many bytes it is.
    ///
    /// # Errors
    /// [`Error::Full`] if it does not fit, or is longer than [`MAX_REQUEST`].
    pub fn encode(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        frame::encode(self, buffer, MAX_REQUEST)
    }

    /// Reads the first request of `bytes`: the request and how many bytes it took, or `None`
    /// if the rest of it is still to come.
    ///
    /// # Errors
    /// Any [`Error`] but `Full`; the stream cannot be followed any further then.
    pub fn decode(bytes: &'a [u8]) -> Result<Option<(Self, usize)>, Error> {
        frame::decode(bytes, MAX_REQUEST)
    }
}

impl Reply {
    /// Bytes of every reply, with its length.
    pub const SIZE: usize = 9;

    /// The reply's bytes.
    pub fn encode(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        let written = frame::encode(self, &mut bytes, Self::SIZE);
        debug_assert_eq!(written, Ok(Self::SIZE));
        bytes
    }

    /// The reply that these bytes are.
    ///
    /// # Errors
    /// Any [`Error`] but `Full`.
    pub fn decode(bytes: &[u8; Self::SIZE]) -> Result<Self, Error> {
        match frame::decode(bytes, Self::SIZE)? {
            Some((reply, _)) => Ok(reply),
            None => Err(Error::Truncated),
        }
    }
}
