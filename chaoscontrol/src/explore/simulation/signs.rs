//! What a branch showed of itself without the CPU's help: events that guests sent, and how
//! their assertions came out. Where nobody counts edges, these guide the search.

use xxhash_rust::xxh3::xxh3_64;

use super::Tally;
use crate::explore::Coverage;
use crate::machine::COVERAGE;
use crate::oracle::PropertyOracle;

/// Numbers that signs share, behind those of the edges.
const SIGNS: u64 = 1 << 16;

/// The signs of a branch, each with how often it was seen, by number.
pub(super) fn signs(tally: &Tally, oracle: &PropertyOracle) -> Coverage {
    let number = |what: &str, name: &str| {
        let hash = xxh3_64(format!("{what} {name}").as_bytes());
        COVERAGE as u32 + (hash % SIGNS) as u32
    };
    let events = tally.events.iter();
    let events =
        events.map(|(name, &n)| (number("event", name), n.min(u64::from(u32::MAX)) as u32));
    let outcomes = oracle.properties().iter().flat_map(|(property, seen)| {
        let name = format!("{:?} {}", property.kind, property.message);
        [("passed", seen.passed), ("failed", seen.failed)]
            .map(|(what, shown)| (number(what, &name), u32::from(shown)))
    });
    let mut signs: Coverage = events.chain(outcomes).filter(|sign| sign.1 > 0).collect();
    signs.sort_unstable();
    signs.dedup_by_key(|sign| sign.0);
    signs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_is_a_sign_of_its_own() {
        let oracle = PropertyOracle::new();
        let mut tally = Tally::default();
        assert!(signs(&tally, &oracle).is_empty());
        tally.events.insert("granted".into(), 3);
        tally.events.insert("refused".into(), 1 << 32);
        let found = signs(&tally, &oracle);
        assert_eq!(found.len(), 2);
        assert!(found.is_sorted_by(|a, b| a.0 < b.0));
        assert!(found.iter().all(|sign| sign.0 >= COVERAGE as u32));
        assert!(
            found.iter().any(|sign| sign.1 == 3) && found.iter().any(|sign| sign.1 == u32::MAX)
        );
    }
}
