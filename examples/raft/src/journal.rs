//! The log's file: it only grows until a snapshot replaces it. An entry whose index is there
//! already replaces it and all behind it, so that nothing is ever overwritten.
//!
//! A record is the length of its bytes, their checksum, and they. The first record is the
//! position that the log begins behind. A power cut may leave a torn record, or garbage behind
//! one, but only of entries that nobody was told are stored: reading ends at the first record
//! that is not whole, and the file is cut there.

use crate::codec::{Encode, checksum};
use crate::entry::{Entry, Position};
use crate::log::Log;

/// Bytes of a record before its content.
const HEAD: usize = 16;

/// What a journal holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    /// The log.
    pub log: Log,
    /// Length of what was whole.
    pub whole: usize,
}

/// Adds `value` as a record.
pub fn record(value: &impl Encode, to: &mut Vec<u8>) {
    let bytes = value.to_bytes();
    bytes.len().encode(to);
    checksum(&bytes).encode(to);
    to.extend_from_slice(&bytes);
}

/// A journal that holds `entries` behind `base`.
pub fn written(base: Position, entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    record(&base, &mut bytes);
    entries.iter().for_each(|entry| record(entry, &mut bytes));
    bytes
}

/// Takes the content of a whole record from the front of `bytes`.
pub fn next<T: Encode>(bytes: &mut &[u8]) -> Option<T> {
    let mut rest = bytes.get(..HEAD)?;
    let length = usize::decode(&mut rest).ok()?;
    let sum = u64::decode(&mut rest).ok()?;
    let content = bytes.get(HEAD..HEAD.checked_add(length)?)?;
    if checksum(content) != sum {
        return None;
    }
    *bytes = &bytes[HEAD + length..];
    T::from_bytes(content).ok()
}

/// Reads a journal; `None` if not even its first record is whole.
pub fn read(bytes: &[u8]) -> Option<Journal> {
    let mut rest = bytes;
    let mut log = Log::new(next(&mut rest)?);
    let mut whole = bytes.len() - rest.len();
    while let Some(entry) = next::<Entry>(&mut rest) {
        let index = entry.at.index;
        if index <= log.base().index || index > log.last().index + 1 {
            break;
        }
        log.put(entry);
        whole = bytes.len() - rest.len();
    }
    Some(Journal { log, whole })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::tests::entry;

    const BASE: Position = Position { term: 1, index: 4 };

    #[test]
    fn a_torn_tail_is_dropped_wherever_it_is_torn() {
        let entries = [entry(1, 5), entry(2, 6), entry(2, 7)];
        let bytes = written(BASE, &entries);
        let ends: Vec<usize> = (0..=3)
            .map(|count| written(BASE, &entries[..count]).len())
            .collect();
        for length in 0..=bytes.len() {
            let journal = read(&bytes[..length]);
            let Some(count) = ends.iter().rposition(|end| *end <= length) else {
                assert_eq!(journal, None);
                continue;
            };
            let journal = journal.unwrap();
            assert_eq!(journal.whole, ends[count]);
            assert_eq!(journal.log.from(5), &entries[..count]);
        }
    }

    #[test]
    fn a_flipped_bit_ends_the_log() {
        let bytes = written(BASE, &[entry(1, 5), entry(2, 6)]);
        let first = written(BASE, &[entry(1, 5)]).len();
        for bit in first * 8..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let journal = read(&bytes).unwrap();
            assert_eq!((journal.whole, journal.log.len()), (first, 1));
        }
    }

    #[test]
    fn a_later_record_replaces_an_earlier_one() {
        let bytes = written(BASE, &[entry(1, 5), entry(1, 6), entry(1, 7), entry(3, 6)]);
        let log = read(&bytes).unwrap().log;
        assert_eq!(log.from(5), [entry(1, 5), entry(3, 6)]);
        // Zeros, as a file has where its blocks were never written.
        let padded = [bytes, vec![0; 64]].concat();
        assert_eq!(read(&padded).unwrap().log, log);
    }

    #[test]
    fn an_entry_behind_a_gap_is_none() {
        let bytes = written(BASE, &[entry(1, 5), entry(1, 9)]);
        assert_eq!(read(&bytes).unwrap().log.last().index, 5);
    }
}
