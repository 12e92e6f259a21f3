//! The best that branches came to of each number that guests want raised: what comes nearer is
//! worth varying, though it took no new path.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::oracle::PropertyOracle;

/// Numbers that are remembered, so that guests with ever new names take no more room.
const LIMIT: usize = 4096;

/// The greatest value of each number, by name, over all branches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Guidance {
    best: BTreeMap<String, i64>,
}

impl Guidance {
    /// Adds what a branch came to, and counts the numbers that it raised or was first to tell.
    pub fn add(&mut self, oracle: &PropertyOracle) -> u64 {
        let mut raised = 0;
        for (message, &value) in oracle.guides() {
            let news = match self.best.get(message) {
                Some(best) => value > *best,
                None => self.best.len() < LIMIT,
            };
            if news {
                self.best.insert(message.clone(), value);
                raised += 1;
            }
        }
        raised
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::Moment;
    use chaoscontrol_guest::protocol::Message;

    #[test]
    fn what_comes_nearer_than_any_branch_before_is_news() {
        let mut guidance = Guidance::default();
        let mut add = |told: &[(&str, i64)]| {
            let mut oracle = PropertyOracle::new();
            for &(message, value) in told {
                let at = Moment { time_ns: 0, vm: 0 };
                oracle.message(at, &Message::Guide { value, message });
            }
            guidance.add(&oracle)
        };
        assert_eq!(add(&[("a", -5), ("b", 0)]), 2);
        assert_eq!(add(&[("a", -4), ("a", -9), ("b", 0)]), 1);
        assert_eq!(add(&[("a", -4), ("b", -1)]), 0);
        let names: Vec<String> = (0..2 * LIMIT).map(|n| n.to_string()).collect();
        let many: Vec<_> = names.iter().map(|name| (name.as_str(), 1)).collect();
        assert_eq!(add(&many), LIMIT as u64 - 2);
    }
}
