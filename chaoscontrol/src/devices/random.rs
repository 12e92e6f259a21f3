//! Random streams: one ChaCha20 stream per purpose, so that drawing from one never
//! changes what another yields.

use std::hash::{Hash, Hasher};

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A reproducible stream of random numbers; its clone continues identically.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RandomStream(ChaCha20Rng);

impl RandomStream {
    /// The stream of `seed` for `purpose`; `parts` tell streams of one purpose apart
    /// (the VM, the link, the incarnation).
    pub fn derive(seed: u64, purpose: &str, parts: &[u64]) -> RandomStream {
        RandomStream::from_bytes(&seed_bytes(seed, purpose, parts))
    }

    /// The stream that any bytes stand for.
    pub fn from_bytes(bytes: &[u8]) -> RandomStream {
        let mut key = [0; 32];
        for (i, part) in key.chunks_exact_mut(8).enumerate() {
            part.copy_from_slice(&xxh3_64_with_seed(bytes, i as u64).to_le_bytes());
        }
        RandomStream::from_key(key)
    }

    /// The ChaCha20 stream of `key`, from its start.
    pub fn from_key(key: [u8; 32]) -> RandomStream {
        RandomStream(ChaCha20Rng::from_seed(key))
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `n`; 0 if `n` is 0. The bias is below n / 2^64.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(n)) >> 64) as u64
    }

    /// Whether an event of probability `ppm` parts per million happens.
    pub fn chance(&mut self, ppm: u32) -> bool {
        self.below(1_000_000) < u64::from(ppm)
    }

    /// Fills `bytes`. Takes whole words of four from the stream.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }
}

impl Hash for RandomStream {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.get_seed().hash(state);
        self.0.get_word_pos().hash(state);
    }
}

fn seed_bytes(seed: u64, purpose: &str, parts: &[u64]) -> Vec<u8> {
    let mut bytes = seed.to_le_bytes().to_vec();
    bytes.extend((purpose.len() as u64).to_le_bytes());
    bytes.extend(purpose.as_bytes());
    for part in parts {
        bytes.extend(part.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_by_seed_purpose_and_part() {
        let first = |seed, purpose, parts: &[u64]| {
            let mut stream = RandomStream::derive(seed, purpose, parts);
            stream.next_u64()
        };
        let all = [
            first(1, "loss", &[0]),
            first(2, "loss", &[0]),
            first(1, "jitter", &[0]),
            first(1, "loss", &[1]),
            first(1, "loss", &[]),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(!all[i + 1..].contains(a));
        }
        assert_eq!(first(1, "loss", &[0]), all[0]);
    }

    #[test]
    fn the_stream_is_chacha20() {
        // RFC 8439's key stream for an all-zero key.
        let mut bytes = [0; 8];
        RandomStream::from_key([0; 32]).fill(&mut bytes);
        assert_eq!(bytes, [0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90]);
    }

    #[test]
    fn a_stream_goes_on_where_its_clone_would() {
        let mut stream = RandomStream::from_key([7; 32]);
        let mut whole = [0; 400];
        stream.clone().fill(&mut whole);
        for piece in whole.chunks(28) {
            let mut bytes = vec![0; piece.len()];
            stream.fill(&mut bytes);
            assert_eq!(bytes, piece);
        }
    }

    #[test]
    fn numbers_stay_below_their_bound() {
        let mut stream = RandomStream::derive(0, "test", &[]);
        assert_eq!(stream.below(0), 0);
        assert!((0..1000).all(|_| stream.below(3) < 3));
        assert!(!stream.chance(0));
        assert!(stream.chance(1_000_000));
    }
}
