//! The log in memory: the entries behind the latest snapshot.

use crate::entry::{Entry, Position};
use crate::{Index, Term};

/// A log whose beginning a snapshot may have replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// The last entry that the snapshot covers.
    base: Position,
    /// Those behind it, without a gap.
    entries: Vec<Entry>,
}

impl Log {
    /// A log without entries behind `base`.
    pub fn new(base: Position) -> Log {
        Log {
            base,
            entries: Vec::new(),
        }
    }

    /// The last entry that is no longer there.
    pub fn base(&self) -> Position {
        self.base
    }

    /// The last entry's place.
    pub fn last(&self) -> Position {
        self.entries.last().map_or(self.base, |entry| entry.at)
    }

    /// How many entries are there.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The term of the entry at `index`; `None` if there is none or only the snapshot knew it.
    pub fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.base.index {
            return Some(self.base.term);
        }
        self.get(index).map(|entry| entry.at.term)
    }

    /// The entry at `index`.
    pub fn get(&self, index: Index) -> Option<&Entry> {
        self.entries.get(self.offset(index)?)
    }

    /// The entries from `index` on.
    pub fn from(&self, index: Index) -> &[Entry] {
        let offset = self.offset(index).unwrap_or(0);
        self.entries.get(offset..).unwrap_or_default()
    }

    /// Where the entries of the term of the one at `index` begin.
    pub fn first_of_term(&self, index: Index) -> Index {
        let term = self.term_at(index);
        let mut first = index;
        while first > self.base.index + 1 && self.term_at(first - 1) == term {
            first -= 1;
        }
        first
    }

    /// Adds an entry. One that stands there already goes, and all behind it.
    pub fn put(&mut self, entry: Entry) {
        if let Some(offset) = self.offset(entry.at.index) {
            self.entries.truncate(offset);
            self.entries.push(entry);
        }
    }

    /// A snapshot covers everything up to `base`. What is behind it stays only if it follows
    /// the same entry.
    pub fn replace(&mut self, base: Position) {
        let follows = self.term_at(base.index) == Some(base.term);
        let kept = match follows {
            true => self.from(base.index + 1).to_vec(),
            false => Vec::new(),
        };
        self.base = base;
        self.entries = kept;
    }

    /// Where an entry stands in `entries`, or would.
    fn offset(&self, index: Index) -> Option<usize> {
        usize::try_from(index.checked_sub(self.base.index + 1)?).ok()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::entry::Command;

    /// An entry that does nothing.
    pub fn entry(term: Term, index: Index) -> Entry {
        Entry {
            at: Position { term, index },
            command: Command::Nothing,
        }
    }

    fn log(terms: &[Term]) -> Log {
        let mut log = Log::default();
        for (i, &term) in terms.iter().enumerate() {
            log.put(entry(term, i as Index + 1));
        }
        log
    }

    #[test]
    fn an_entry_replaces_what_stands_there_and_behind() {
        let mut log = log(&[1, 1, 1, 2]);
        log.put(entry(3, 2));
        assert_eq!(log.last(), Position { term: 3, index: 2 });
        assert_eq!(log.len(), 2);
        assert_eq!(log.term_at(3), None);
    }

    #[test]
    fn a_snapshot_keeps_what_follows_the_same_entry() {
        let mut same = log(&[1, 1, 2, 2]);
        same.replace(Position { term: 2, index: 3 });
        assert_eq!((same.len(), same.last().index), (1, 4));
        assert_eq!(same.term_at(3), Some(2));
        assert_eq!(same.term_at(2), None);
        let mut other = log(&[1, 1, 1, 1]);
        other.replace(Position { term: 2, index: 3 });
        assert_eq!((other.len(), other.last().index), (0, 3));
    }

    #[test]
    fn terms_have_a_beginning() {
        let log = log(&[1, 1, 2, 2, 2, 3]);
        assert_eq!([1, 3, 5, 6].map(|i| log.first_of_term(i)), [1, 3, 3, 6]);
        assert_eq!(log.from(5).len(), 2);
        assert!(log.from(7).is_empty());
    }
}
