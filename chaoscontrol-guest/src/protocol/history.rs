//! What guests say about operations on the system under test: the call, and what came of it.
//! The host makes a history of them, which a test's `check` judges.

use super::wire::{Error, Reader, Wire, Writer, wire_enum};

/// Several texts, each behind its length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Texts<'a>(&'a [u8]);

impl<'a> Texts<'a> {
    /// Appends `text` at `at` of `buffer`, and returns where the next one goes.
    ///
    /// # Errors
    /// [`Error::Full`] if it does not fit.
    pub fn push(buffer: &mut [u8], at: usize, text: &str) -> Result<usize, Error> {
        let room = buffer.get_mut(at..).ok_or(Error::Full)?;
        let mut to = Writer::new(room);
        text.write(&mut to)?;
        Ok(at + to.written())
    }

    /// The texts that `bytes` hold.
    ///
    /// # Errors
    /// [`Error::Truncated`] or [`Error::Text`].
    pub fn new(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut rest = Reader::new(bytes);
        while rest.finish().is_err() {
            <&str>::read(&mut rest)?;
        }
        Ok(Self(bytes))
    }

    /// The texts, one after the other.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> {
        let mut rest = Reader::new(self.0);
        // What is not a text was refused when this was made.
        core::iter::from_fn(move || <&str>::read(&mut rest).ok())
    }
}

impl<'a> Wire<'a> for Texts<'a> {
    fn write(&self, to: &mut Writer<'_>) -> Result<(), Error> {
        self.0.write(to)
    }

    fn read(from: &mut Reader<'a>) -> Result<Self, Error> {
        Self::new(<&[u8]>::read(from)?)
    }
}

wire_enum! {
    /// What is asked of the system under test. Values are texts, equal if they read alike.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Call<'a> {
        /// A register's value, or all of a set or a log.
        1 => Read,
        /// Gives a register a value.
        2 => Write {
            /// Which.
            value: &'a str,
        },
        /// Gives a register a value if it has another.
        3 => CompareAndSwap {
            /// The value it must have.
            expected: &'a str,
            /// The value it gets.
            new: &'a str,
        },
        /// Puts a value into a set.
        4 => Add {
            /// Which.
            value: &'a str,
        },
        /// Takes a value out of a set.
        5 => Remove {
            /// Which.
            value: &'a str,
        },
        /// Whether a set has a value.
        6 => Contains {
            /// Which.
            value: &'a str,
        },
        /// Puts a value at the end of a queue.
        7 => Enqueue {
            /// Which.
            value: &'a str,
        },
        /// Takes the value at the head of a queue.
        8 => Dequeue,
        /// Puts a value at the end of a log.
        9 => Append {
            /// Which.
            value: &'a str,
        },
        /// Anything else.
        10 => Other {
            /// What.
            name: &'a str,
            /// With what.
            arguments: Texts<'a>,
        },
    }
}

wire_enum! {
    /// What a call answered.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Answer<'a> {
        /// That it is done.
        1 => Done,
        /// That there is nothing.
        2 => Nothing,
        /// A value; `true` or `false` for a yes or no.
        3 => Value {
            /// Which.
            value: &'a str,
        },
        /// Several values.
        4 => List {
            /// Which.
            values: Texts<'a>,
        },
        /// More than fits into a message.
        5 => TooLong,
    }
}

wire_enum! {
    /// What came of a call.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Outcome<'a> {
        /// It took effect and answered.
        1 => Ok {
            /// What.
            answer: Answer<'a>,
        },
        /// It had no effect and never will.
        2 => Failed,
        /// Nobody knows whether it took effect, or will.
        3 => Unknown,
    }
}
