//! What the host tells the agent: a stream of length-prefixed commands over the
//! virtio console.

use super::wire::{Error, Reader, Wire, Writer, wire_enum};

wire_enum! {
    /// What is done to a process.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Signal {
        /// SIGKILL: it ends.
        1 => Kill,
        /// SIGSTOP: it stands still.
        2 => Stop,
        /// SIGCONT: it goes on.
        3 => Continue,
    }
}

wire_enum! {
    /// A command to the agent, confirmed by
    /// [`Message::ControlDone`](super::Message::ControlDone).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Control<'a> {
        /// Moves the wall clock; monotonic time goes on undisturbed.
        1 => JumpWallClock {
            /// Forward if positive, backward if negative, in nanoseconds.
            ns: i64,
        },
        /// Signals a process.
        2 => Process {
            /// Its name as in `/proc/<pid>/comm`; empty means the body's process.
            name: &'a str,
            /// What happens to it.
            signal: Signal,
        },
        /// Reseeds the kernel's random generator: what processes draw from now on is
        /// another branch's.
        3 => Reseed {
            /// With what.
            entropy: [u8; 64],
        },
    }
}

/// A command with its number, as it stands in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ControlFrame<'a> {
    /// Names the command in its confirmation; 0 for one that nobody waits for.
    pub id: u32,
    /// What to do.
    pub control: Control<'a>,
}

impl<'a> ControlFrame<'a> {
    /// The longest frame, in bytes, with its length prefix.
    pub const MAX: usize = 4096;

    /// Writes the frame into `buffer` and returns its length in bytes.
    ///
    /// # Errors
    /// [`Error::Full`] if it does not fit.
    pub fn encode(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        let (prefix, body) = buffer.split_first_chunk_mut::<4>().ok_or(Error::Full)?;
        let mut to = Writer::new(body);
        self.id.write(&mut to)?;
        self.control.write(&mut to)?;
        let length = to.written();
        if length + prefix.len() > Self::MAX {
            return Err(Error::Full);
        }
        *prefix = (length as u32).to_le_bytes();
        Ok(length + prefix.len())
    }

    /// Reads the first frame of `bytes`: the frame and how many bytes it took, or `None`
    /// if the rest of it is still to come.
    ///
    /// # Errors
    /// Any [`Error`] but `Full`; the stream cannot be followed any further then.
    pub fn decode(bytes: &'a [u8]) -> Result<Option<(Self, usize)>, Error> {
        let Some((prefix, rest)) = bytes.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*prefix) as usize;
        if length > Self::MAX - prefix.len() {
            return Err(Error::Range);
        }
        let Some(body) = rest.get(..length) else {
            return Ok(None);
        };
        let mut from = Reader::new(body);
        let frame = Self {
            id: Wire::read(&mut from)?,
            control: Wire::read(&mut from)?,
        };
        from.finish()?;
        Ok(Some((frame, length + prefix.len())))
    }
}
