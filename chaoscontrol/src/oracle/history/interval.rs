//! An operation as the search sees it: when it may take effect, and what must come of it.

use super::operation::{Answer, Call, Operation, Outcome};

/// A call that takes effect at one instant after `from`.
#[derive(Clone, Copy, Debug)]
pub struct Interval<'a> {
    /// What was called.
    pub call: &'a Call,
    /// The first instant at which it may take effect, in ns.
    pub from: u64,
    /// The last one, in ns, and what it must answer; `None` if it need not take effect at all.
    pub end: Option<(u64, &'a Answer)>,
}

impl<'a> Interval<'a> {
    /// The interval of an operation; `None` for one without effect.
    pub fn of(operation: &'a Operation) -> Option<Self> {
        let end = match &operation.outcome {
            Outcome::Ok(at, answer) => Some((*at, answer)),
            Outcome::Unknown => None,
            Outcome::Failed(_) => return None,
        };
        Some(Interval {
            call: &operation.call,
            from: operation.called_ns,
            end,
        })
    }

    /// What it must answer, if it returned.
    pub fn answer(&self) -> Option<&'a Answer> {
        self.end.map(|(_, answer)| answer)
    }

    /// What is known of it at an instant; `None` if it had not been called.
    pub(super) fn until(self, time: u64) -> Option<Self> {
        (self.from <= time).then_some(Interval {
            end: self.end.filter(|&(end, _)| end <= time),
            ..self
        })
    }

    /// The same call without any claim: it may take effect at any time, or never. A history is
    /// only easier to explain with it.
    pub(super) fn without_claim(self) -> Self {
        Interval {
            from: 0,
            end: None,
            ..self
        }
    }
}
