//! A sequence that grows at its end and shrinks at its head, of which a search can keep
//! thousands of versions: they share what they have in common.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

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
        new
    }

    /// The sequence without its first value, if it has one.
    pub fn without_first(&self) -> Sequence {
        let mut new = self.clone();
        if new.count > 0 {
            new.count -= 1;
            new.gone += 1;
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
            && if self.gone == other.gone && self.gone == 0 {
                self.chunks.iter().zip(&other.chunks).all(alike)
            } else {
                self.iter().eq(other.iter())
            }
    }
}

impl Eq for Sequence {}

/// Length and both ends: two that differ elsewhere are told apart by comparing them.
impl Hash for Sequence {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.count.hash(state);
        self.first().hash(state);
        for back in 1..=self.count.min(8) {
            self.get(self.count - back).hash(state);
        }
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
