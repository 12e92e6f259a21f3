//! The file of term and vote: two places that are written in turn, so that one is always
//! whole. Each is written over in place: syncing it moves no metadata.

use crate::codec::{Encode, Malformed};
use crate::journal;
use crate::storage::HardState;

/// Distance of the places: no write that is torn reaches both.
pub const PLACE: usize = 4096;

/// What a place holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ballot {
    /// Which of all that were written.
    pub number: u64,
    /// Term and vote.
    pub hard: HardState,
}

impl Ballot {
    /// The next one.
    pub fn next(self, hard: HardState) -> Ballot {
        Ballot {
            number: self.number + 1,
            hard,
        }
    }

    /// Where in the file it goes.
    pub fn place(self) -> u64 {
        self.number % 2 * PLACE as u64
    }

    /// The bytes to write there.
    pub fn written(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        journal::record(&self, &mut bytes);
        bytes
    }

    /// The latest ballot in a file that is whole; the first one, of no term, if none is.
    pub fn read(bytes: &[u8]) -> Ballot {
        let at = |place: usize| journal::next(&mut bytes.get(place..)?);
        let ballots = [0, PLACE].into_iter().filter_map(at);
        ballots
            .max_by_key(|ballot: &Ballot| ballot.number)
            .unwrap_or_default()
    }
}

impl Encode for Ballot {
    fn encode(&self, to: &mut Vec<u8>) {
        self.number.encode(to);
        self.hard.encode(to);
    }

    fn decode(from: &mut &[u8]) -> Result<Self, Malformed> {
        Ok(Ballot {
            number: Encode::decode(from)?,
            hard: Encode::decode(from)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_vote_leaves_the_one_before() {
        let mut file = vec![0; 2 * PLACE];
        let mut ballot = Ballot::read(&file);
        assert_eq!(ballot, Ballot::default());
        for term in 1..6 {
            let hard = HardState {
                term,
                vote: Some(term as usize),
            };
            let next = ballot.next(hard);
            let (bytes, place) = (next.written(), next.place() as usize);
            for length in 0..bytes.len() {
                let mut torn = file.clone();
                torn[place..place + PLACE].fill(0xFF);
                torn[place..place + length].copy_from_slice(&bytes[..length]);
                assert_eq!(Ballot::read(&torn), ballot, "{length} bytes of term {term}");
            }
            file[place..place + bytes.len()].copy_from_slice(&bytes);
            ballot = next;
            assert_eq!(Ballot::read(&file), ballot);
        }
    }
}
