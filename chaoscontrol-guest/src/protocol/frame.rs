//! Values in a stream: each behind its length, so that a reader knows when it has it whole.

use super::wire::{Error, Reader, Wire, Writer};

/// Writes the length of `value` and then itself into `buffer`, at most `most` bytes, and
/// returns how many there are.
///
/// # Errors
/// [`Error::Full`] if that does not fit.
pub fn encode<'a>(value: &impl Wire<'a>, buffer: &mut [u8], most: usize) -> Result<usize, Error> {
    let (prefix, body) = buffer.split_first_chunk_mut::<4>().ok_or(Error::Full)?;
    let mut to = Writer::new(body);
    value.write(&mut to)?;
    let length = to.written();
    if length + prefix.len() > most {
        return Err(Error::Full);
    }
    *prefix = (length as u32).to_le_bytes();
    Ok(length + prefix.len())
}

/// Reads the first value of `bytes`: the value and how many bytes it took, or `None` if the
/// rest of it is still to come.
///
/// # Errors
/// Any [`Error`] but `Full`; the stream cannot be followed any further then.
pub fn decode<'a, T: Wire<'a>>(bytes: &'a [u8], most: usize) -> Result<Option<(T, usize)>, Error> {
    let Some((prefix, rest)) = bytes.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_le_bytes(*prefix) as usize;
    if length > most - prefix.len() {
        return Err(Error::Range);
    }
    let Some(body) = rest.get(..length) else {
        return Ok(None);
    };
    let mut from = Reader::new(body);
    let value = T::read(&mut from)?;
    from.finish()?;
    Ok(Some((value, length + prefix.len())))
}
