//! A log: append, and read of the whole.

use std::collections::BTreeMap;

use super::interval::Interval;
use super::model::{Known, Model};
use super::operation::{Answer, Call, Value};
use super::sequence::Sequence;

/// Only ever grows at its end. An append answers that it is done, a read all values in order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Log;

/// A log at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LogState {
    values: Sequence,
    /// The longest that was read in the history: the log has to become that.
    longest: Known<Vec<Value>>,
}

impl Model for Log {
    type State = LogState;

    fn name(&self) -> &'static str {
        "log"
    }

    fn start(&self, history: &[Interval<'_>]) -> LogState {
        let read = history
            .iter()
            .filter_map(|interval| match interval.answer() {
                Some(Answer::List(values)) => Some(values),
                _ => None,
            });
        let longest = read.max_by_key(|values| values.len());
        LogState {
            values: Sequence::default(),
            longest: Known::new(longest.cloned().unwrap_or_default()),
        }
    }

    fn is_hopeless(&self, history: &[Interval<'_>]) -> bool {
        let longest = self.start(history).longest;
        let mut left: BTreeMap<&Value, u64> = BTreeMap::new();
        let (mut called, mut returned) = (Vec::new(), Vec::new());
        for interval in history {
            if let Call::Append(value) = interval.call {
                *left.entry(value).or_default() += 1;
                called.push(interval.from);
                returned.extend(interval.end.map(|(end, _)| end));
            }
        }
        called.sort_unstable();
        returned.sort_unstable();
        let wrong = |interval: &Interval<'_>| {
            let Some((end, Answer::List(values))) = interval.end else {
                return false;
            };
            let least = returned.partition_point(|&at| at < interval.from);
            let most = called.partition_point(|&at| at <= end);
            !(least..=most).contains(&values.len()) || !longest.starts_with(values)
        };
        let never_appended = |value: &Value| match left.get_mut(value) {
            Some(count) if *count > 0 => {
                *count -= 1;
                false
            }
            _ => true,
        };
        history.iter().any(wrong) || longest.iter().any(never_appended)
    }

    fn knows(&self, call: &Call, answer: Option<&Answer>) -> bool {
        match (call, answer) {
            (Call::Append(_), Some(answer)) => *answer == Answer::Done,
            (Call::Read, Some(answer)) => matches!(answer, Answer::List(_)),
            (call, None) => matches!(call, Call::Append(_) | Call::Read),
            _ => false,
        }
    }

    fn apply(&self, state: &LogState, call: &Call, answer: Option<&Answer>) -> Option<LogState> {
        match call {
            Call::Append(value) => {
                let fits = match state.longest.get(state.values.len()) {
                    Some(next) => next == value,
                    // What nobody read need not have been appended, if nobody says that it was.
                    None => answer.is_some(),
                };
                fits.then(|| LogState {
                    values: state.values.with(value),
                    longest: state.longest.clone(),
                })
            }
            Call::Read => {
                let right = match answer {
                    Some(Answer::List(values)) => {
                        state.values.len() == values.len() && state.values.iter().eq(values)
                    }
                    Some(_) => false,
                    None => true,
                };
                right.then(|| state.clone())
            }
            _ => None,
        }
    }
}
