//! A queue: enqueue, dequeue.

use std::collections::BTreeMap;

use super::interval::Interval;
use super::model::{Known, Model};
use super::operation::{Answer, Call, Value};
use super::sequence::Sequence;

/// First in, first out. An enqueue answers that it is done, a dequeue the value or nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Queue;

/// A queue at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QueueState {
    values: Sequence,
    /// For each value how often it was dequeued, and may have been enqueued, in the history.
    counts: Known<BTreeMap<Value, (u64, u64)>>,
}

/// When each value was dequeued, in ns.
fn dequeued<'a>(history: &'a [Interval<'a>]) -> impl Iterator<Item = (&'a Value, u64)> {
    history.iter().filter_map(|interval| match interval.end {
        Some((at, Answer::Value(value))) if *interval.call == Call::Dequeue => Some((value, at)),
        _ => None,
    })
}

impl Model for Queue {
    type State = QueueState;

    fn name(&self) -> &'static str {
        "queue"
    }

    fn start(&self, history: &[Interval<'_>]) -> QueueState {
        let mut counts: BTreeMap<Value, (u64, u64)> = BTreeMap::new();
        for (value, _) in dequeued(history) {
            counts.entry(value.clone()).or_default().0 += 1;
        }
        for interval in history {
            if let Call::Enqueue(value) = interval.call {
                counts.entry(value.clone()).or_default().1 += 1;
            }
        }
        QueueState {
            values: Sequence::default(),
            counts: Known::new(counts),
        }
    }

    fn is_hopeless(&self, history: &[Interval<'_>]) -> bool {
        self.start(history)
            .counts
            .values()
            .any(|(out, into)| out > into)
    }

    fn knows(&self, call: &Call, answer: Option<&Answer>) -> bool {
        match (call, answer) {
            (Call::Enqueue(_), Some(answer)) => *answer == Answer::Done,
            (Call::Dequeue, Some(answer)) => matches!(answer, Answer::Value(_) | Answer::Nothing),
            (call, None) => matches!(call, Call::Enqueue(_) | Call::Dequeue),
            _ => false,
        }
    }

    fn apply(
        &self,
        state: &QueueState,
        call: &Call,
        answer: Option<&Answer>,
    ) -> Option<QueueState> {
        let counts = |value| state.counts.get(value).copied().unwrap_or_default();
        let values = match call {
            // What nobody got need not have been there, if nobody says that it was.
            Call::Enqueue(value) if answer.is_none() && counts(value).0 == 0 => return None,
            Call::Enqueue(value) => state.values.with(value),
            Call::Dequeue => {
                let head = state.values.first();
                let right = match answer {
                    Some(Answer::Value(value)) => head == Some(value),
                    Some(_) => head.is_none(),
                    // What is left has to be enough for those who say that they got it.
                    None => head.map(counts).is_some_and(|(out, into)| into > out),
                };
                right.then(|| state.values.without_first())?
            }
            _ => return None,
        };
        Some(QueueState {
            values,
            counts: state.counts.clone(),
        })
    }

    /// What came out first went in first. What went in before something else came out before
    /// it, too.
    fn likely(&self, history: &[Interval<'_>]) -> Vec<u64> {
        let out: BTreeMap<&Value, u64> = dequeued(history).collect();
        let mut enqueues: Vec<(u64, u64)> = Vec::new();
        for interval in history {
            if let Call::Enqueue(value) = interval.call {
                enqueues.push((interval.from, out.get(value).copied().unwrap_or(u64::MAX)));
            }
        }
        enqueues.sort_unstable();
        for later in (1..enqueues.len()).rev() {
            enqueues[later - 1].1 = enqueues[later - 1].1.min(enqueues[later].1);
        }
        let after = |time: u64| {
            let next = enqueues.partition_point(|&(from, _)| from <= time);
            enqueues.get(next).map_or(u64::MAX, |&(_, out)| out)
        };
        let order = history
            .iter()
            .map(|interval| match (interval.call, interval.end) {
                (Call::Enqueue(value), end) => {
                    let own = out.get(value).copied().unwrap_or(u64::MAX);
                    own.min(end.map_or(u64::MAX, |(end, _)| after(end)))
                }
                // Just behind the enqueue of what it took.
                (Call::Dequeue, Some((at, Answer::Value(_)))) => at.saturating_add(1),
                // What found nothing, as soon as there is nothing.
                (Call::Dequeue, Some(_)) => 0,
                _ => u64::MAX,
            });
        order.collect()
    }
}
