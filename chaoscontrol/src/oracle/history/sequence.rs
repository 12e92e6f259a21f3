//! A sequence that grows at its end and shrinks at its head, of which a search can keep
//! thousands of versions: they share what they have in common.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::operation::Value;

/// Values of a chunk.
const CHUNK: usize = 64;

/// Values in order.
#[derive(Clone, Debug, Default)]
pub struct Sequence {
    /// Full ones, but for the last.
    chunks: Vec<Arc<Vec<Value>>>,
    /// How many values of the first chunk are gone.
    gone: usize,
    count: usize,
    /// The sum of the values' hashes, each times [`BASE`] to the power of how many follow.
    hash: u64,
}

/// Odd, so that its powers do not vanish.
const BASE: u64 = 0x9E37_79B9_7F4A_7C15;

fn hash_of(value: &Value) -> u64 {
    xxh3_64(value.as_bytes())
}

impl Sequence {
    pub fn len(&self) -> usize {
        self.count
    }

    fn get(&self, index: usize) -> Option<&Value> {
        let place = self.gone + index;
        self.chunks.get(place / CHUNK)?.get(place % CHUNK)
    }

    pub fn first(&self) -> Option<&Value> {
        self.get(0)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Value> {
        let all = self.chunks.iter().flat_map(|chunk| chunk.iter());
        all.skip(self.gone)
    }

    /// The sequence with a value more at its end.
    pub fn with(&self, value: &Value) -> Sequence {
        let mut new = self.clone();
        match new.chunks.last_mut() {
            Some(last) if last.len() < CHUNK => Arc::make_mut(last).push(value.clone()),
            _ => new.chunks.push(Arc::new(vec![value.clone()])),
        }
        new.count += 1;
        new.hash = new.hash.wrapping_mul(BASE).wrapping_add(hash_of(value));
        new
    }

    /// The sequence without its first value, if it has one.
    pub fn without_first(&self) -> Sequence {
        let mut new = self.clone();
        if let Some(first) = self.first() {
            new.count -= 1;
            new.gone += 1;
            let power = BASE.wrapping_pow(new.count as u32);
            new.hash = new.hash.wrapping_sub(hash_of(first).wrapping_mul(power));
        }
        if new.gone == CHUNK {
            new.gone = 0;
            new.chunks.remove(0);
        }
        new
    }
}

impl PartialEq for Sequence {
    fn eq(&self, other: &Self) -> bool {
        let alike = |(a, b): (&Arc<Vec<Value>>, &Arc<Vec<Value>>)| Arc::ptr_eq(a, b) || a == b;
        self.count == other.count
            && self.hash == other.hash
            && if self.gone == other.gone && self.gone == 0 {
                self.chunks.iter().zip(&other.chunks).all(alike)
            } else {
                self.iter().eq(other.iter())
            }
    }
}

impl Eq for Sequence {}

impl Hash for Sequence {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_stay_what_they_were() {
        let value = |n: usize| Value::from(n.to_string());
        let mut versions = vec![Sequence::default()];
        for n in 0..300 {
            versions.push(versions[n].with(&value(n)));
        }
        let mut rest = versions[200].clone();
        for n in 0..200 {
            assert_eq!((rest.len(), rest.first()), (200 - n, Some(&value(n))));
            rest = rest.without_first();
        }
        assert_eq!((rest.len(), rest.first()), (0, None));
        assert_eq!(rest.without_first().len(), 0);
        assert!(rest == versions[0] && rest.with(&value(0)) == versions[1]);
        assert!(versions[300].iter().cloned().eq((0..300).map(value)));
        assert!(versions[7] != versions[8] && versions[8].without_first() != versions[7]);
    }
}
