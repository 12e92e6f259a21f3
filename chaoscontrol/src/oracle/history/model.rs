//! What a single, correct copy of the system under test would do.

use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use super::interval::Interval;
use super::operation::{Answer, Call, Value};

/// A sequential specification.
///
/// ```
/// use chaoscontrol::oracle::history::{Answer, Call, Interval, Model};
///
/// /// A counter: `bump` answers how often it was called.
/// struct Counter;
///
/// impl Model for Counter {
///     type State = u64;
///
///     fn name(&self) -> &'static str {
///         "counter"
///     }
///
///     fn start(&self, _: &[Interval<'_>]) -> u64 {
///         0
///     }
///
///     fn knows(&self, call: &Call, _: Option<&Answer>) -> bool {
///         matches!(call, Call::Other { name, .. } if &**name == "bump")
///     }
///
///     fn apply(&self, count: &u64, _: &Call, answer: Option<&Answer>) -> Option<u64> {
///         let right = Answer::Value((count + 1).to_string().into());
///         answer.is_none_or(|answer| *answer == right).then_some(count + 1)
///     }
/// }
/// ```
pub trait Model {
    /// What the copy remembers. A clone should be cheap: the search keeps many.
    type State: Clone + Eq + Hash;

    /// What it is a model of, for reports.
    fn name(&self) -> &'static str;

    /// The state before the first operation. What the history holds may be kept there, to
    /// refuse early what cannot come to a good end.
    fn start(&self, history: &[Interval<'_>]) -> Self::State;

    /// Whether the call, and its answer if it is known, are any of this model's.
    fn knows(&self, call: &Call, answer: Option<&Answer>) -> bool;

    /// The state after a call that answers `answer`, or whatever it pleases if that is `None`.
    /// `None` if it would not answer so, or if a call whose answer nobody knows is of no help.
    fn apply(
        &self,
        state: &Self::State,
        call: &Call,
        answer: Option<&Answer>,
    ) -> Option<Self::State>;

    /// The part of the key that the call concerns, if it concerns no other.
    fn part<'a>(&self, call: &'a Call) -> Option<&'a Value> {
        let _ = call;
        None
    }

    /// Whether it is plain to see that no order explains the history, as where an answer speaks of
    /// what no call can have brought about. `false` where one has to look for an order.
    fn is_hopeless(&self, history: &[Interval<'_>]) -> bool {
        let _ = history;
        false
    }

    /// In which order the operations are likely to have taken effect, least first; a good guess
    /// saves time and changes no verdict. Empty if there is none.
    fn likely(&self, history: &[Interval<'_>]) -> Vec<u64> {
        let _ = history;
        Vec::new()
    }
}

/// What a model keeps of the history as a whole. It is the same in all states of a search, so
/// comparing them leaves it out.
#[derive(Debug)]
pub struct Known<T>(Arc<T>);

impl<T> Known<T> {
    pub(super) fn new(what: T) -> Self {
        Known(Arc::new(what))
    }
}

impl<T> Clone for Known<T> {
    fn clone(&self) -> Self {
        Known(Arc::clone(&self.0))
    }
}

impl<T> Deref for Known<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> PartialEq for Known<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> Eq for Known<T> {}

impl<T> Hash for Known<T> {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}
