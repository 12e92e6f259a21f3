//! What the host tells the agent: a stream of length-prefixed commands over the
//! virtio console.

use core::fmt;

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
        /// Takes memory until it is ordered otherwise; confirmed when it has been taken.
        4 => MemoryPressure {
            /// How many of a million bytes that are available now; 0 gives all back.
            ppm: u32,
        },
        /// Takes all free space of the data directory's file system; confirmed when it has
        /// been taken.
        5 => FillDisk {
            /// Whether to take it, or to give it back.
            full: bool,
        },
        /// Moves the wall clock to and fro, by the offset and back, at once and then with
        /// every period. A strobe takes the place of the one before.
        6 => Strobe {
            /// Forward if positive, backward if negative, in nanoseconds; 0 ends it, with
            /// the wall clock where it would be without.
            offset_ns: i64,
            /// How long the clock stays where it is, in nanoseconds of monotonic time; at
            /// least [`MIN_STROBE_NS`].
            period_ns: u64,
        },
    }
}

/// The shortest period of [`Control::Strobe`], in nanoseconds: the guest's CPU is to have
/// time for other things.
pub const MIN_STROBE_NS: u64 = 100_000;

/// What is ordered, as a noun: "kill of process redis-server".
impl fmt::Display for Control<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::JumpWallClock { ns } => write!(f, "wall-clock jump by {}", Ns(ns)),
            Self::Process { name, signal } => {
                let what = match signal {
                    Signal::Kill => "kill",
                    Signal::Stop => "stop",
                    Signal::Continue => "continuation",
                };
                match name {
                    "" => write!(f, "{what} of the body's process"),
                    name => write!(f, "{what} of process {name}"),
                }
            }
            Self::Reseed { .. } => f.write_str("reseeding of the random generator"),
            Self::MemoryPressure { ppm: 0 } => f.write_str("end of memory pressure"),
            Self::MemoryPressure { ppm } => {
                write!(f, "memory pressure of {} %", f64::from(ppm) / 10_000.0)
            }
            Self::FillDisk { full: true } => f.write_str("full disk"),
            Self::FillDisk { full: false } => f.write_str("end of full disk"),
            Self::Strobe { offset_ns: 0, .. } => f.write_str("end of clock strobe"),
            Self::Strobe {
                offset_ns,
                period_ns,
            } => {
                let period = i64::try_from(period_ns).unwrap_or(i64::MAX);
                write!(f, "clock strobe by {} every {}", Ns(offset_ns), Ns(period))
            }
        }
    }
}

/// Nanoseconds, shown as milliseconds.
struct Ns(i64);

impl fmt::Display for Ns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0 as f64 / 1e6)
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
