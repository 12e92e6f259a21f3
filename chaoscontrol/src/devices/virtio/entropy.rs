//! Randomness that is a function of a seed: one ChaCha20 stream per purpose.
//!
//! A stream is its key and how much of it was used, so it clones, compares and hashes
//! as the plain value it is.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// ChaCha20 nonces with this bit derive substreams; nonce 0 is the stream itself.
const DERIVE: u64 = 1 << 63;

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

    /// The stream of a short seed.
    pub fn from_seed(seed: u64) -> DeterministicEntropy {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        DeterministicEntropy::new(key)
    }

    /// A stream of its own for `purpose` and `index`. It depends on this stream's key,
    /// not on how much of it was used.
    pub fn substream(&self, purpose: &str, index: u64) -> DeterministicEntropy {
        let mut rng = ChaCha20Rng::from_seed(self.key);
        rng.set_stream(xxh3_64_with_seed(purpose.as_bytes(), index) | DERIVE);
        let mut key = [0; 32];
        rng.fill_bytes(&mut key);
        DeterministicEntropy::new(key)
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

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A number below `bound`, without bias; 0 for a bound of 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        // Rejects the incomplete last run of multiples, which is under half of all draws.
        let limit = u64::MAX - u64::MAX % bound;
        loop {
            let draw = self.next_u64();
            if draw < limit {
                return draw % bound;
            }
        }
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
        let mut stream = DeterministicEntropy::from_seed(7);
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

    #[test]
    fn purposes_have_streams_of_their_own() {
        let mut master = DeterministicEntropy::from_seed(7);
        let faults = master.substream("faults", 0);
        master.next_u64();
        assert_eq!(faults, master.substream("faults", 0));
        let others = [
            master.substream("faults", 1),
            master.substream("links", 0),
            master,
        ];
        assert!(others.iter().all(|other| *other != faults));
    }

    #[test]
    fn bounded_draws_stay_below() {
        let mut stream = DeterministicEntropy::from_seed(1);
        assert_eq!((stream.below(0), stream.below(1)), (0, 0));
        let mut seen = [false; 5];
        (0..200).for_each(|_| seen[stream.below(5) as usize] = true);
        assert_eq!(seen, [true; 5]);
        assert!(stream.below(u64::MAX) < u64::MAX);
    }
}
