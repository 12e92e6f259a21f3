//! Bytes of numbers and texts, the same on the wire and on disk: integers are little-endian,
//! texts and byte strings follow their length.

use std::fmt;

/// Bytes that are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("malformed bytes")
    }
}

impl std::error::Error for Malformed {}

impl From<Malformed> for std::io::Error {
    fn from(malformed: Malformed) -> Self {
        std::io::Error::new(std::io::ErrorKind::InvalidData, malformed)
    }
}

/// Something that has bytes.
pub trait Encode: Sized {
    /// Adds its bytes to `to`.
    fn encode(&self, to: &mut Vec<u8>);

    /// Takes its bytes from the front of `from`.
    ///
    /// # Errors
    /// They are not those of a value.
    fn decode(from: &mut &[u8]) -> Result<Self, Malformed>;

    /// Its bytes.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.encode(&mut bytes);
        bytes
    }

    /// The value whose bytes are `bytes` and no more.
    ///
    /// # Errors
    /// They are not.
    fn from_bytes(mut bytes: &[u8]) -> Result<Self, Malformed> {
        let value = Self::decode(&mut bytes)?;
        if bytes.is_empty() {
            Ok(value)
        } else {
            Err(Malformed)
        }
    }
}

impl Encode for u8 {
    fn encode(&self, to: &mut Vec<u8>) {
        to.push(*self);
    }

    fn decode(from: &mut &[u8]) -> Result<Self, Malformed> {
        let (&first, rest) = from.split_first().ok_or(Malformed)?;
        *from = rest;
        Ok(first)
    }
}

impl Encode for bool {
    fn encode(&self, to: &mut Vec<u8>) {
        to.push(u8::from(*self));
    }

    fn decode(from: &mut &[u8]) -> Result<Self, Malformed> {
        match u8::decode(from)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }
}

impl Encode for u64 {
    fn encode(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.to_le_bytes());
    }

    fn decode(from: &mut &[u8]) -> Result<Self, Malformed> {
        let (bytes, rest) = from.split_first_chunk().ok_or(Malformed)?;
        *from = rest;
        Ok(u64::from_le_bytes(*bytes))
    }
}

impl Encode for usize {
    fn encode(&self, to: &mut Vec<u8>) {
        (*self as u64).encode(to);
    }

    fn decode(from: &mut &[u8]) -> Result<Self, Malformed> {
        usize::try_from(u64::decode(from)?).map_err(|_| Malformed)
    }
}

impl<T: Encode> Encode for Option<T> {
    fn encode(&self, to: &mut Vec<u8>) {
        self.is_some().encode(to);
        if let Some(value) = self {
            value.encode(to);
        }
    }

    fn decode(from: &mut &[u8]) -> Result<Self, Malformed> {
        bool::decode(from)?.then(|| T::decode(from)).transpose()
    }
}

impl<T: Encode> Encode for Vec<T> {
    fn encode(&self, to: &mut Vec<u8>) {
        self.len().encode(to);
        self.iter().for_each(|value| value.encode(to));
    }

    fn decode(from: &mut &[u8]) -> Result<Self, Malformed> {
        // Grows by what is there, not by what a length claims.
        (0..usize::decode(from)?).map(|_| T::decode(from)).collect()
    }
}

impl Encode for String {
    fn encode(&self, to: &mut Vec<u8>) {
        self.len().encode(to);
        to.extend_from_slice(self.as_bytes());
    }

    fn decode(from: &mut &[u8]) -> Result<Self, Malformed> {
        let length = usize::decode(from)?;
        let (bytes, rest) = from.split_at_checked(length).ok_or(Malformed)?;
        *from = rest;
        String::from_utf8(bytes.to_vec()).map_err(|_| Malformed)
    }
}

/// The checksum of bytes: FNV-1a in 64 bits, which finds what tears and rots.
pub fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |sum, &byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_short_or_too_long_is_malformed() {
        let value = vec![Some("a".to_owned()), None];
        let bytes = value.to_bytes();
        assert_eq!(Vec::from_bytes(&bytes), Ok(value));
        for length in 0..bytes.len() {
            let cut = Vec::<Option<String>>::from_bytes(&bytes[..length]);
            assert_eq!(cut, Err(Malformed));
        }
        assert_eq!(u64::from_bytes(&[0; 9]), Err(Malformed));
        assert_eq!(Vec::<u8>::from_bytes(&[0xFF; 12]), Err(Malformed));
    }
}
