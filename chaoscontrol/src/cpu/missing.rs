//! What a CPU does not have, as far as a guest tried to use it: a report names it, so that
//! a program that dies of #UD, or waits for a hardware breakpoint, is no riddle.

use std::collections::BTreeMap;

/// How often something missing was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Met {
    /// Times.
    pub count: u64,
    /// Where first.
    pub first_rip: u64,
}

/// The missing instructions by name, or by their bytes if they have none.
pub type Missing = BTreeMap<String, Met>;

/// More different ones than this are not told apart.
const LIMIT: usize = 256;

/// Counts one use of `name`.
pub(super) fn record_named(missing: &mut Missing, name: String, rip: u64) {
    if missing.len() >= LIMIT && !missing.contains_key(&name) {
        return;
    }
    let met = missing.entry(name).or_insert(Met {
        count: 0,
        first_rip: rip,
    });
    met.count += 1;
}
