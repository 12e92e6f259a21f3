//! A register: read, write, compare-and-swap.

use std::collections::BTreeSet;

use super::interval::Interval;
use super::model::{Known, Model};
use super::operation::{Answer, Call, Value};

/// Holds one value, or nothing.
///
/// A read answers a value or nothing, a write that it is done, a compare-and-swap whether it
/// swapped.
#[derive(Clone, Debug, Default)]
pub struct Register {
    initial: Option<Value>,
}

impl Register {
    /// A register that holds nothing at first.
    pub fn new() -> Self {
        Self::default()
    }

    /// A register that holds `value` at first.
    pub fn holding(value: impl ToString) -> Self {
        Register {
            initial: Some(value.to_string().into()),
        }
    }
}

/// A register at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RegisterState {
    value: Option<Value>,
    /// The values that somebody found there, or may have; `None` if it is also known that somebody did not
    /// find one, as any other may have been there then.
    found: Known<Option<BTreeSet<Value>>>,
}

impl Model for Register {
    type State = RegisterState;

    fn name(&self) -> &'static str {
        "register"
    }

    fn start(&self, history: &[Interval<'_>]) -> RegisterState {
        let mut found = Some(BTreeSet::new());
        for interval in history {
            let value = match (interval.call, interval.answer()) {
                (Call::Read, Some(Answer::Value(value))) => value,
                (Call::CompareAndSwap(old, _), answer)
                    if answer.is_none_or(|answer| answer.flag() == Some(true)) =>
                {
                    old
                }
                (Call::CompareAndSwap(..), _) => {
                    found = None;
                    break;
                }
                _ => continue,
            };
            if let Some(found) = &mut found {
                found.insert(value.clone());
            }
        }
        RegisterState {
            value: self.initial.clone(),
            found: Known::new(found),
        }
    }

    fn is_hopeless(&self, history: &[Interval<'_>]) -> bool {
        let mut written: BTreeSet<&Value> = self.initial.iter().collect();
        for interval in history {
            if let Call::Write(value) | Call::CompareAndSwap(_, value) = interval.call {
                written.insert(value);
            }
        }
        history.iter().any(|interval| match interval.answer() {
            Some(Answer::Value(value)) if *interval.call == Call::Read => !written.contains(value),
            _ => false,
        })
    }

    fn knows(&self, call: &Call, answer: Option<&Answer>) -> bool {
        match (call, answer) {
            (Call::Read, Some(answer)) => matches!(answer, Answer::Value(_) | Answer::Nothing),
            (Call::Write(_), Some(answer)) => *answer == Answer::Done,
            (Call::CompareAndSwap(..), Some(answer)) => answer.flag().is_some(),
            (call, None) => matches!(call, Call::Read | Call::Write(_) | Call::CompareAndSwap(..)),
            _ => false,
        }
    }

    fn apply(
        &self,
        state: &RegisterState,
        call: &Call,
        answer: Option<&Answer>,
    ) -> Option<RegisterState> {
        let holding = |value: &Value| RegisterState {
            value: Some(value.clone()),
            found: state.found.clone(),
        };
        // What nobody found need not have been there, if nobody says that it was.
        let helps = |value| {
            let found = state.found.as_ref();
            answer.is_some() || found.is_none_or(|found| found.contains(value))
        };
        match call {
            Call::Read => {
                let right = match answer {
                    Some(Answer::Value(value)) => state.value.as_ref() == Some(value),
                    Some(_) => state.value.is_none(),
                    None => true,
                };
                right.then(|| state.clone())
            }
            Call::Write(value) => helps(value).then(|| holding(value)),
            Call::CompareAndSwap(old, new) => {
                let swaps = state.value.as_ref() == Some(old);
                let right = answer.is_none_or(|answer| answer.flag() == Some(swaps));
                match (right && helps(new), swaps) {
                    (false, _) => None,
                    (true, true) => Some(holding(new)),
                    (true, false) => Some(state.clone()),
                }
            }
            _ => None,
        }
    }
}
