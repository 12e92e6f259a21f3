//! Randomness that is a function of a key: a ChaCha20 stream.
//!
//! Its state is the key and how much was used, so it clones, compares and hashes as
//! the plain value it is.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// One deterministic stream of random bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct DeterministicEntropy {
    key: [u8; 32],
    /// Words of 32 bits used.
    position: u64,
}

impl DeterministicEntropy {
    /// The stream of `key`, from its start.
    pub fn new(key: [u8; 32]) -> DeterministicEntropy {
        DeterministicEntropy { key, position: 0 }
    }

    /// Starts again with another key.
    pub fn reseed(&mut self, key: [u8; 32]) {
        *self = DeterministicEntropy::new(key);
    }

    /// The next bytes. Takes whole words of four from the stream.
    pub fn fill(&mut self, into: &mut [u8]) {
        let mut rng = ChaCha20Rng::from_seed(self.key);
        rng.set_word_pos(u128::from(self.position));
        rng.fill_bytes(into);
        self.position = self.position.wrapping_add(into.len().div_ceil(4) as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_chacha20() {
        // RFC 8439's key stream for an all-zero key.
        let mut bytes = [0; 8];
        DeterministicEntropy::default().fill(&mut bytes);
        assert_eq!(bytes, [0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90]);
    }

    #[test]
    fn a_stream_goes_on_where_its_clone_would() {
        let mut stream = DeterministicEntropy::new([7; 32]);
        let mut whole = [0; 400];
        stream.clone().fill(&mut whole);
        for piece in whole.chunks(28) {
            let mut bytes = vec![0; piece.len()];
            stream.fill(&mut bytes);
            assert_eq!(bytes, piece);
        }
        stream.reseed([1; 32]);
        assert_eq!(stream, DeterministicEntropy::new([1; 32]));
    }
}
