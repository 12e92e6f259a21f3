//! A set: add, remove, contains, and read of the whole.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::interval::Interval;
use super::model::{Known, Model};
use super::operation::{Answer, Call, Value};

/// Holds values, each once.
///
/// Add and remove answer that they are done, or whether they changed anything; contains whether
/// the value is there; a read answers all values in any order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Set;

/// How many shares a set has, so that a change copies little.
const SHARES: usize = 64;

/// A set at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetState {
    /// The sum of the values' hashes.
    hash: u64,
    shares: Vec<Arc<BTreeSet<Value>>>,
    count: usize,
    /// The values that some answer of the history speaks of.
    seen: Known<BTreeSet<Value>>,
}

impl Hash for SetState {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

impl SetState {
    fn share(&self, value: &Value) -> usize {
        match self.shares.len() {
            1 => 0,
            n => (xxh3_64(value.as_bytes()) % n as u64) as usize,
        }
    }

    fn has(&self, value: &Value) -> bool {
        self.shares[self.share(value)].contains(value)
    }

    fn with(&self, value: &Value, has: bool) -> SetState {
        let mut state = self.clone();
        let share = Arc::make_mut(&mut state.shares[self.share(value)]);
        if has && share.insert(value.clone()) {
            state.count += 1;
            state.hash = state.hash.wrapping_add(xxh3_64(value.as_bytes()));
        } else if !has && share.remove(value) {
            state.count -= 1;
            state.hash = state.hash.wrapping_sub(xxh3_64(value.as_bytes()));
        }
        state
    }

    fn is(&self, values: &[Value]) -> bool {
        let listed: BTreeSet<&Value> = values.iter().collect();
        listed.len() == values.len()
            && self.count == values.len()
            && values.iter().all(|value| self.has(value))
    }
}

impl Model for Set {
    type State = SetState;

    fn name(&self) -> &'static str {
        "set"
    }

    fn start(&self, history: &[Interval<'_>]) -> SetState {
        let mut seen = BTreeSet::new();
        for interval in history {
            match (interval.call, interval.answer()) {
                (Call::Add(v) | Call::Remove(v), Some(Answer::Value(_)))
                | (Call::Contains(v), Some(_)) => {
                    seen.insert(v.clone());
                }
                (Call::Read, Some(Answer::List(values))) => seen.extend(values.iter().cloned()),
                _ => {}
            }
        }
        // A set of one value needs no shares; most are one, as `part` says.
        let whole = history.iter().any(|interval| *interval.call == Call::Read);
        SetState {
            hash: 0,
            shares: vec![Arc::default(); if whole { SHARES } else { 1 }],
            count: 0,
            seen: Known::new(seen),
        }
    }

    fn knows(&self, call: &Call, answer: Option<&Answer>) -> bool {
        match (call, answer) {
            (Call::Add(_) | Call::Remove(_), Some(answer)) => {
                *answer == Answer::Done || answer.flag().is_some()
            }
            (Call::Contains(_), Some(answer)) => answer.flag().is_some(),
            (Call::Read, Some(answer)) => matches!(answer, Answer::List(_)),
            (call, None) => matches!(
                call,
                Call::Add(_) | Call::Remove(_) | Call::Contains(_) | Call::Read
            ),
            _ => false,
        }
    }

    fn apply(&self, state: &SetState, call: &Call, answer: Option<&Answer>) -> Option<SetState> {
        let says = |truth: bool| match answer {
            Some(answer) => answer.flag().is_none_or(|flag| flag == truth),
            None => true,
        };
        match call {
            // What no answer speaks of need not have been added, if nobody says that it was.
            Call::Add(value) if answer.is_none() && !state.seen.contains(value) => None,
            Call::Add(value) => says(!state.has(value)).then(|| state.with(value, true)),
            Call::Remove(value) => says(state.has(value)).then(|| state.with(value, false)),
            Call::Contains(value) => says(state.has(value)).then(|| state.clone()),
            Call::Read => {
                let right = match answer {
                    Some(Answer::List(values)) => state.is(values),
                    Some(_) => false,
                    None => true,
                };
                right.then(|| state.clone())
            }
            _ => None,
        }
    }

    /// A change before the first read that shows it, a read behind what it shows first.
    fn likely(&self, history: &[Interval<'_>]) -> Vec<u64> {
        let mut reads: Vec<(u64, BTreeSet<&Value>)> = Vec::new();
        for interval in history {
            if let (Call::Read, Some((at, Answer::List(values)))) = (interval.call, interval.end) {
                reads.push((at, values.iter().collect()));
            }
        }
        if reads.is_empty() {
            return Vec::new();
        }
        reads.sort();
        let shown = |value: &Value, has: bool, from: u64| {
            let first = reads.partition_point(|&(at, _)| at < from);
            let shows = |(_, values): &&(u64, BTreeSet<&Value>)| values.contains(value) == has;
            reads[first..]
                .iter()
                .find(shows)
                .map_or(u64::MAX, |&(at, _)| at)
        };
        let order = history
            .iter()
            .map(|interval| match (interval.call, interval.end) {
                (Call::Add(value), _) => shown(value, true, interval.from),
                (Call::Remove(value), _) => shown(value, false, interval.from),
                (_, Some((at, _))) => at.saturating_add(1),
                _ => u64::MAX,
            });
        order.collect()
    }

    fn part<'a>(&self, call: &'a Call) -> Option<&'a Value> {
        match call {
            Call::Add(value) | Call::Remove(value) | Call::Contains(value) => Some(value),
            _ => None,
        }
    }
}
