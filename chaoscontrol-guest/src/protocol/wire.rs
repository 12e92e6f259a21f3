//! The byte format every message is made of: little-endian integers and
//! length-prefixed strings, written and read without an allocator.

use core::fmt;

/// What can be wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The caller's buffer is too small for the message.
    Full,
    /// The bytes end inside a field.
    Truncated,
    /// Bytes are left over after the last field.
    Trailing,
    /// No variant of the expected kind has this tag.
    Tag(u8),
    /// A string is not UTF-8.
    Text,
    /// A field's value is outside its range.
    Range,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Full => f.write_str("the buffer is too small for the message"),
            Error::Truncated => f.write_str("the message ends inside a field"),
            Error::Trailing => f.write_str("bytes follow the message's last field"),
            Error::Tag(tag) => write!(f, "unknown tag {tag:#04x}"),
            Error::Text => f.write_str("a string is not UTF-8"),
            Error::Range => f.write_str("a field is out of range"),
        }
    }
}

impl core::error::Error for Error {}

/// Appends fields to a caller's buffer.
pub struct Writer<'b> {
    buffer: &'b mut [u8],
    at: usize,
}

impl<'b> Writer<'b> {
    pub fn new(buffer: &'b mut [u8]) -> Self {
        Self { buffer, at: 0 }
    }

    pub fn written(&self) -> usize {
        self.at
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let end = self.at.checked_add(bytes.len()).ok_or(Error::Full)?;
        let room = self.buffer.get_mut(self.at..end).ok_or(Error::Full)?;
        room.copy_from_slice(bytes);
        self.at = end;
        Ok(())
    }
}

/// Takes fields off the front of received bytes.
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub fn finish(&self) -> Result<(), Error> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Error::Trailing)
        }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(Error::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(Error::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }
}

/// A value with a place in the format.
pub trait Wire<'a>: Sized {
    fn write(&self, to: &mut Writer<'_>) -> Result<(), Error>;
    fn read(from: &mut Reader<'a>) -> Result<Self, Error>;
}

macro_rules! wire_integers {
    ($($integer:ty),*) => {$(
        impl Wire<'_> for $integer {
            fn write(&self, to: &mut Writer<'_>) -> Result<(), Error> {
                to.put(&self.to_le_bytes())
            }
            fn read(from: &mut Reader<'_>) -> Result<Self, Error> {
                Ok(Self::from_le_bytes(from.array()?))
            }
        }
    )*};
}
wire_integers!(u8, u32, u64, i32, i64);

impl Wire<'_> for bool {
    fn write(&self, to: &mut Writer<'_>) -> Result<(), Error> {
        u8::from(*self).write(to)
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, Error> {
        match u8::read(from)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Error::Range),
        }
    }
}

impl<const N: usize> Wire<'_> for [u8; N] {
    fn write(&self, to: &mut Writer<'_>) -> Result<(), Error> {
        to.put(self)
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, Error> {
        from.array()
    }
}

impl<'a> Wire<'a> for &'a [u8] {
    fn write(&self, to: &mut Writer<'_>) -> Result<(), Error> {
        u32::try_from(self.len())
            .map_err(|_| Error::Full)?
            .write(to)?;
        to.put(self)
    }
    fn read(from: &mut Reader<'a>) -> Result<Self, Error> {
        let length = u32::read(from)?;
        from.take(usize::try_from(length).map_err(|_| Error::Truncated)?)
    }
}

impl<'a> Wire<'a> for &'a str {
    fn write(&self, to: &mut Writer<'_>) -> Result<(), Error> {
        self.as_bytes().write(to)
    }
    fn read(from: &mut Reader<'a>) -> Result<Self, Error> {
        core::str::from_utf8(<&[u8]>::read(from)?).map_err(|_| Error::Text)
    }
}

/// Defines an enum whose variants carry a one-byte tag on the wire, with its
/// [`Wire`] implementation: `TAG => Variant { field: type, .. }`.
macro_rules! wire_enum {
    (
        $(#[$meta:meta])*
        pub enum $name:ident $(<$life:lifetime>)? {
            $(
                $(#[$variant_meta:meta])*
                $tag:literal => $variant:ident $({
                    $( $(#[$field_meta:meta])* $field:ident: $type:ty ),* $(,)?
                })?
            ),* $(,)?
        }
    ) => {
        $(#[$meta])*
        pub enum $name $(<$life>)? {
            $(
                $(#[$variant_meta])*
                $variant $({ $( $(#[$field_meta])* $field: $type ),* })?
            ),*
        }

        impl<'w $(, $life)?> $crate::protocol::wire::Wire<'w> for $name $(<$life>)?
        where
            $('w: $life, $life: 'w)?
        {
            fn write(
                &self,
                to: &mut $crate::protocol::wire::Writer<'_>,
            ) -> Result<(), $crate::protocol::wire::Error> {
                match self {
                    $(
                        Self::$variant $({ $($field),* })? => {
                            $crate::protocol::wire::Wire::write(&($tag as u8), to)?;
                            $( $( $crate::protocol::wire::Wire::write($field, to)?; )* )?
                            Ok(())
                        }
                    ),*
                }
            }

            fn read(
                from: &mut $crate::protocol::wire::Reader<'w>,
            ) -> Result<Self, $crate::protocol::wire::Error> {
                match <u8 as $crate::protocol::wire::Wire>::read(from)? {
                    $(
                        $tag => Ok(Self::$variant $({
                            $( $field: $crate::protocol::wire::Wire::read(from)? ),*
                        })?),
                    )*
                    tag => Err($crate::protocol::wire::Error::Tag(tag)),
                }
            }
        }
    };
}
pub(crate) use wire_enum;
