//! What a guest tells or asks its host.

use super::history::{Call, Outcome};
use super::wire::{Error, Reader, Wire, Writer, wire_enum};

wire_enum! {
    /// The kinds of property the SDK's assertions state. A property's identity is its
    /// message: the same message at two places is one property.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum PropertyKind {
        /// Evaluated at least once, and true each time.
        1 => Always,
        /// True each time, if it is evaluated at all.
        2 => AlwaysOrUnreachable,
        /// True at least once over all branches.
        3 => Sometimes,
        /// Reached at least once over all branches.
        4 => Reachable,
        /// Never reached.
        5 => Unreachable,
        /// Within a branch, each key has one value across all VMs.
        6 => Agree,
    }
}

impl PropertyKind {
    /// The name a report uses, as in the macro's: `always`, `sometimes`, ...
    pub const fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::AlwaysOrUnreachable => "always or unreachable",
            Self::Sometimes => "sometimes",
            Self::Reachable => "reachable",
            Self::Unreachable => "unreachable",
            Self::Agree => "agree",
        }
    }
}

wire_enum! {
    /// Where a line of output was written.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Stream {
        /// Standard output.
        1 => Stdout,
        /// Standard error.
        2 => Stderr,
    }
}

wire_enum! {
    /// How a test's body came to its end.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum End<'a> {
        /// It returned `()` or `Ok`; its process stays, its threads go on.
        1 => Ok,
        /// It returned `Err`.
        2 => Err {
            /// The error's `Debug` text.
            text: &'a str,
        },
        /// Its process exited by itself.
        3 => Exit {
            /// The exit status, 0..=255.
            code: i32,
        },
        /// Its process was ended by a signal.
        4 => Signal {
            /// The signal's number.
            signal: i32,
        },
        /// Its main function panicked; a [`Message::Panic`] came before.
        5 => Panicked,
        /// A fault ended its process. The agent starts a body's again in the same VM; from here
        /// on the VM's [`Identity`](super::Identity) has an incarnation one higher.
        6 => Killed,
    }
}

wire_enum! {
    /// A message of a guest to its host. Unless a variant says otherwise the answer is
    /// [`OK`](super::OK).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Message<'a> {
        /// The agent runs and has done what all VMs share: the point of the boot snapshot.
        1 => Boot,
        /// Who am I? The host writes an [`Identity`](super::Identity) over the message's
        /// buffer and answers its length in bytes.
        2 => Identity,
        /// The body's process runs.
        3 => BodyStarted {
            /// Its process number.
            pid: i32,
        },
        /// This VM's part of the setup is done.
        4 => SetupComplete,
        /// Answered with [`STATUS_SETUP`](super::STATUS_SETUP) and
        /// [`STATUS_QUIET`](super::STATUS_QUIET).
        5 => Status,
        /// Answered with 64 random bits of the run's seed.
        6 => GetRandom,
        /// Answered with a number below `n`; `n` = 0 is answered with 0. Exploration may
        /// branch here.
        7 => RandomChoice {
            /// How many choices there are.
            n: u64,
        },
        /// An assertion was evaluated.
        8 => Assert {
            /// What it states.
            kind: PropertyKind,
            /// What its condition came out as (for reachable and unreachable: true).
            condition: bool,
            /// Line of the source, from 1.
            line: u32,
            /// Column of the source, from 1.
            column: u32,
            /// The source file, as `file!()` gives it.
            file: &'a str,
            /// The property's identity.
            message: &'a str,
            /// `key = value` pairs, one a line; values are `Debug` text.
            details: &'a str,
        },
        /// An assertion stands in this executable. Sent by programs other than the test
        /// executable, whose sites the host knows already.
        9 => Site {
            /// What it states.
            kind: PropertyKind,
            /// Line of the source, from 1.
            line: u32,
            /// Column of the source, from 1.
            column: u32,
            /// The source file, as `file!()` gives it.
            file: &'a str,
            /// The property's identity.
            message: &'a str,
        },
        /// An observation that must be the same on all VMs of a branch.
        10 => Agree {
            /// Line of the source, from 1.
            line: u32,
            /// Column of the source, from 1.
            column: u32,
            /// The source file, as `file!()` gives it.
            file: &'a str,
            /// The property's identity.
            message: &'a str,
            /// `Debug` text of the key.
            key: &'a str,
            /// `Debug` text of the value seen for it.
            value: &'a str,
        },
        /// Something worth a line in the timeline.
        11 => Event {
            /// Its name.
            name: &'a str,
            /// Anything more, free text.
            details: &'a str,
        },
        /// A process wrote a line.
        12 => Output {
            /// The process number of the body or program it belongs to.
            pid: i32,
            /// The program's name; empty for the body.
            name: &'a str,
            /// Which of its streams.
            stream: Stream,
            /// The line without its newline; any bytes.
            line: &'a [u8],
        },
        /// A thread of the body's process panicked.
        13 => Panic {
            /// The thread's name.
            thread: &'a str,
            /// The panic's message.
            message: &'a str,
            /// `file:line:column`, empty if unknown.
            location: &'a str,
            /// Return addresses, innermost first, one a line: `<mapped file>+0x<offset>`,
            /// the offset being relative to where the file's ELF image was loaded.
            backtrace: &'a str,
        },
        /// The body came to its end.
        14 => BodyEnd {
            /// How.
            end: End<'a>,
        },
        /// The body asks for a fault, at once. One that cannot be is a failure of the test.
        15 => Fault {
            /// Which, in the words of schedules: `latency vm 1 of 20 ms`.
            fault: &'a str,
        },
        /// A [`Control`](super::Control) command took effect.
        16 => ControlDone {
            /// The command's number.
            id: u32,
            /// 0, or the `errno` it failed with.
            errno: i32,
        },
        /// The agent cannot do its work; the VM is of no use.
        17 => AgentError {
            /// What it failed to do, and why.
            text: &'a str,
        },
        /// A program runs that the body asked for.
        18 => ProgramStarted {
            /// Its process number.
            pid: i32,
            /// Its name.
            name: &'a str,
        },
        /// A program that the body asked for has ended.
        19 => ProgramEnd {
            /// Its process number.
            pid: i32,
            /// Its name.
            name: &'a str,
            /// How.
            end: End<'a>,
            /// Whether that is nobody's failure: the body ended it, or lets it fail.
            allowed: bool,
        },
        /// A client calls an operation of the system under test. Answered with a number that no
        /// other call of this VM has.
        20 => Invoke {
            /// 0 from the guest. The machine puts the number there that it answers with.
            id: u64,
            /// On what; operations on different keys have nothing to do with each other.
            key: &'a str,
            /// What.
            call: Call<'a>,
        },
        /// A call came to its end, for its client.
        21 => Return {
            /// The number that [`Message::Invoke`] was answered with.
            id: u64,
            /// What came of it.
            outcome: Outcome<'a>,
        },
        /// How near a number came to where the search is to bring it.
        22 => Guide {
            /// Its value: the greater, the better.
            value: i64,
            /// The number's identity.
            message: &'a str,
        },
    }
}

impl<'a> Message<'a> {
    /// Writes the message into `buffer` and returns its length in bytes.
    ///
    /// # Errors
    /// [`Error::Full`] if it does not fit.
    pub fn encode(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        let mut writer = Writer::new(buffer);
        self.write(&mut writer)?;
        Ok(writer.written())
    }

    /// Reads a message. The bytes after [`Message::Identity`], room for its answer, are
    /// ignored; all other messages must fill `bytes`.
    ///
    /// # Errors
    /// Any [`Error`] but `Full`; never panics.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(bytes);
        let message = Self::read(&mut reader)?;
        if !matches!(message, Message::Identity) {
            reader.finish()?;
        }
        Ok(message)
    }

    /// Puts the number of a call into the bytes of a [`Message::Invoke`].
    pub fn set_invocation(bytes: &mut [u8], id: u64) {
        // Behind the tag.
        if let Some(place) = bytes.get_mut(1..9) {
            place.copy_from_slice(&id.to_le_bytes());
        }
    }

    /// The message with each of its free texts cut to at most `limit` bytes, for a buffer
    /// that is too small for all of them.
    pub fn cut(self, limit: usize) -> Self {
        let cut = |text: &'a str| {
            let mut end = text.len().min(limit);
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            &text[..end]
        };
        let mut message = self;
        let texts: &mut [&mut &'a str] = match &mut message {
            Self::Assert {
                file,
                message,
                details,
                ..
            } => &mut [file, message, details],
            Self::Site { file, message, .. } => &mut [file, message],
            Self::Agree {
                file,
                message,
                key,
                value,
                ..
            } => &mut [file, message, key, value],
            Self::Guide { message, .. } => &mut [message],
            Self::Event { name, details } => &mut [name, details],
            Self::Panic {
                thread,
                message,
                location,
                backtrace,
            } => &mut [thread, message, location, backtrace],
            Self::BodyEnd {
                end: End::Err { text },
            }
            | Self::AgentError { text } => &mut [text],
            Self::ProgramStarted { name, .. } | Self::ProgramEnd { name, .. } => &mut [name],
            Self::Output { name, line, .. } => {
                *line = &line[..line.len().min(limit)];
                &mut [name]
            }
            _ => &mut [],
        };
        for text in texts {
            **text = cut(text);
        }
        message
    }
}
