//! What the host tells the agent: a stream of length-prefixed commands over the
//! virtio console.

use super::frame;
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
        frame::encode(self, buffer, Self::MAX)
    }

    /// Reads the first frame of `bytes`: the frame and how many bytes it took, or `None`
    /// if the rest of it is still to come.
    ///
    /// # Errors
    /// Any [`Error`] but `Full`; the stream cannot be followed any further then.
    pub fn decode(bytes: &'a [u8]) -> Result<Option<(Self, usize)>, Error> {
        frame::decode(bytes, Self::MAX)
    }
}

impl<'a> Wire<'a> for ControlFrame<'a> {
    fn write(&self, to: &mut Writer<'_>) -> Result<(), Error> {
        self.id.write(to)?;
        self.control.write(to)
    }

    fn read(from: &mut Reader<'a>) -> Result<Self, Error> {
        Ok(Self {
            id: Wire::read(from)?,
            control: Wire::read(from)?,
        })
    }
}
