//! The verdict on a history: key by key, and each key's parts by themselves.

use std::collections::BTreeMap;

use super::interval::Interval;
use super::model::Model;
use super::operation::{Operation, Outcome, Value};
use super::search::{Decision, search};
use super::show::Counterexample;
use super::shrink::shrink;

/// Decides whether histories are linearizable, within bounds.
///
/// ```
/// use chaoscontrol::oracle::history::{Answer, Call, Checker, Operation, Outcome, Register};
///
/// let operation = |called_ns, returned_ns, call, answer| Operation {
///     called_ns,
///     vm: 0,
///     process: 0,
///     key: "x".into(),
///     call,
///     outcome: Outcome::Ok(returned_ns, answer),
/// };
/// let write = operation(10, 20, Call::Write("1".into()), Answer::Done);
/// let stale = operation(30, 40, Call::Read, Answer::Nothing);
/// let checker = Checker::new(Register::new());
/// assert!(checker.check(&[write.clone()]).is_ok());
/// let error = checker.check(&[write, stale]).unwrap_err();
/// assert!(error.to_string().starts_with("the history is not linearizable as a register"));
/// ```
#[derive(Clone, Debug)]
pub struct Checker<M> {
    model: M,
    steps: u64,
}

/// Places that a search remembers at one time; some 100 bytes each, and what a state holds.
const PLACES: usize = 400_000;

/// Why a history was not found to be linearizable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// It is not.
    #[error("{0}")]
    Impossible(Box<Counterexample>),
    /// It was not found out.
    #[error(
        "whether the history is linearizable as a {model} is undecided: key {key:?} has {operations} operations, for which {steps} steps are not enough; allow more by Checker::steps, or use more keys and fewer clients"
    )]
    Undecided {
        /// The model's name.
        model: &'static str,
        /// The key.
        key: Value,
        /// Operations on it.
        operations: usize,
        /// Steps that were allowed.
        steps: u64,
    },
    /// An operation is none of the model's.
    #[error(
        "the history is none of a {model}: key {key:?} has the operation {call:?} with the outcome {outcome:?}; check it as what it is a history of"
    )]
    Foreign {
        /// The model's name.
        model: &'static str,
        /// The key.
        key: Value,
        /// The call.
        call: String,
        /// What came of it.
        outcome: String,
    },
}

impl HistoryError {
    /// The error with times relative to `start_ns` of cluster time.
    pub(super) fn since(mut self, start_ns: u64) -> Self {
        if let HistoryError::Impossible(example) = &mut self {
            example.start_ns = Some(start_ns);
        }
        self
    }
}

impl<M: Model> Checker<M> {
    /// A checker for histories of `model`, with 10 million steps.
    pub fn new(model: M) -> Self {
        Checker {
            model,
            steps: 10_000_000,
        }
    }

    /// How many times a check may call the model, all keys together; a tenth of that again to
    /// find a small counterexample.
    pub fn steps(self, steps: u64) -> Self {
        Checker { steps, ..self }
    }

    /// Whether `history` is linearizable, each key by itself.
    ///
    /// # Errors
    /// It is not, or that was not found out, or it has operations that the model does not know.
    pub fn check(&self, history: &[Operation]) -> Result<(), HistoryError> {
        let mut steps = self.steps;
        let mut undecided = None;
        let mut impossible: Option<(usize, &Value, Vec<&Operation>)> = None;
        let parts = self.parts(history)?;
        for (key, part) in parts {
            let intervals = intervals(&part);
            match search(&self.model, &intervals, PLACES, &mut steps) {
                Decision::Explained => {}
                Decision::Impossible => {
                    let size = part.len();
                    if impossible.as_ref().is_none_or(|(least, ..)| size < *least) {
                        impossible = Some((size, key, part));
                    }
                }
                Decision::Undecided => {
                    undecided.get_or_insert_with(|| HistoryError::Undecided {
                        model: self.model.name(),
                        key: key.clone(),
                        operations: part.len(),
                        steps: self.steps,
                    });
                }
            }
        }
        if let Some((_, key, part)) = impossible {
            return Err(HistoryError::Impossible(Box::new(self.example(key, &part))));
        }
        undecided.map_or(Ok(()), Err)
    }

    /// What shows that the history `part` on `key` is impossible.
    fn example(&self, key: &Value, part: &[&Operation]) -> Counterexample {
        let part: Vec<&Operation> = part.iter().copied().filter(|o| has_effect(o)).collect();
        let steps = self.steps / 10;
        let (kept, until_ns) = shrink(&self.model, &intervals(&part), PLACES, steps);
        let until_then = part
            .iter()
            .filter(|operation| operation.called_ns <= until_ns);
        Counterexample {
            model: self.model.name(),
            key: key.clone(),
            others: until_then.count().saturating_sub(kept.len()),
            operations: kept.iter().map(|&number| part[number].clone()).collect(),
            until_ns,
            start_ns: None,
        }
    }

    /// The operations by key, and within it by part if each concerns one only.
    fn parts<'h>(
        &self,
        history: &'h [Operation],
    ) -> Result<Vec<(&'h Value, Vec<&'h Operation>)>, HistoryError> {
        let mut keys: BTreeMap<&Value, Vec<&Operation>> = BTreeMap::new();
        for operation in history {
            self.known(operation)?;
            keys.entry(&operation.key).or_default().push(operation);
        }
        let mut parts = Vec::new();
        for (key, operations) in keys {
            let mut by_part: BTreeMap<Option<&Value>, Vec<&Operation>> = BTreeMap::new();
            for operation in &operations {
                let part = self.model.part(&operation.call);
                by_part.entry(part).or_default().push(operation);
            }
            if by_part.contains_key(&None) {
                parts.push((key, operations));
            } else {
                parts.extend(by_part.into_values().map(|part| (key, part)));
            }
        }
        Ok(parts)
    }

    fn known(&self, operation: &Operation) -> Result<(), HistoryError> {
        let answer = match &operation.outcome {
            Outcome::Ok(_, answer) => Some(answer),
            Outcome::Failed(_) | Outcome::Unknown => None,
        };
        if self.model.knows(&operation.call, answer) {
            return Ok(());
        }
        Err(HistoryError::Foreign {
            model: self.model.name(),
            key: operation.key.clone(),
            call: operation.call.to_string(),
            outcome: answer.map_or("unknown".to_owned(), ToString::to_string),
        })
    }
}

fn has_effect(operation: &Operation) -> bool {
    !matches!(operation.outcome, Outcome::Failed(_))
}

fn intervals<'a>(operations: &[&'a Operation]) -> Vec<Interval<'a>> {
    operations
        .iter()
        .copied()
        .filter_map(Interval::of)
        .collect()
}
