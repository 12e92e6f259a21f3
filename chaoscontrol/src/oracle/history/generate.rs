//! Random histories for tests: of a correct copy, and then with some answers changed.

use super::operation::{Answer, Call, Operation, Outcome, Value};
use crate::devices::random::RandomStream;

/// A model as plain as it can be, to compare the others with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plain {
    Register,
    Set,
    Queue,
    Log,
}

impl Plain {
    pub const ALL: [Plain; 4] = [Plain::Register, Plain::Set, Plain::Queue, Plain::Log];

    /// What a call answers, and what it leaves of `state`.
    pub fn call(self, state: &mut Vec<Value>, call: &Call) -> Answer {
        let flag = |flag: bool| Answer::Value(flag.to_string().into());
        match call {
            Call::Read if self == Plain::Register => state
                .first()
                .map_or(Answer::Nothing, |v| Answer::Value(v.clone())),
            Call::Read => Answer::List(state.clone()),
            Call::Write(value) => {
                *state = vec![value.clone()];
                Answer::Done
            }
            Call::CompareAndSwap(old, new) => {
                let swaps = state.first() == Some(old);
                if swaps {
                    *state = vec![new.clone()];
                }
                flag(swaps)
            }
            Call::Add(value) => {
                let new = !state.contains(value);
                if new {
                    state.push(value.clone());
                    state.sort();
                }
                flag(new)
            }
            Call::Remove(value) => {
                let had = state.contains(value);
                state.retain(|other| other != value);
                flag(had)
            }
            Call::Contains(value) => flag(state.contains(value)),
            Call::Enqueue(value) | Call::Append(value) => {
                state.push(value.clone());
                Answer::Done
            }
            Call::Dequeue if state.is_empty() => Answer::Nothing,
            Call::Dequeue => Answer::Value(state.remove(0)),
            Call::Other { .. } => unreachable!("no plain model has other calls"),
        }
    }

    fn random_call(self, random: &mut RandomStream) -> Call {
        let mut value = || Value::from(random.below(3).to_string());
        let (a, b) = (value(), value());
        match (self, random.below(4)) {
            (Plain::Register, 0 | 1) => Call::Read,
            (Plain::Register, 2) => Call::CompareAndSwap(a, b),
            (Plain::Register, _) => Call::Write(a),
            (Plain::Set, 0) => Call::Add(a),
            (Plain::Set, 1) => Call::Remove(a),
            (Plain::Set, 2) => Call::Contains(a),
            (Plain::Set | Plain::Log, 3) => Call::Read,
            (Plain::Queue, 0 | 1) => Call::Enqueue(a),
            (Plain::Queue, _) => Call::Dequeue,
            _ => Call::Append(a),
        }
    }
}

/// A history of up to `most` operations by three processes, of a copy that is correct but for
/// some answers, in one history of two.
pub fn history(plain: Plain, most: u64, random: &mut RandomStream) -> Vec<Operation> {
    let mut state = Vec::new();
    let mut free = [0; 3];
    let mut operations = Vec::new();
    // Calls in the order in which they take effect.
    for effect in (10..).step_by(10).take(random.below(most) as usize + 1) {
        let process = random.below(3) as usize;
        let early = effect - random.below(25).min(effect - 1);
        let called_ns = early.max(free[process]).min(effect);
        let returned = effect + random.below(25);
        free[process] = returned + 1;
        let call = plain.random_call(random);
        let outcome = match random.below(8) {
            0 => Outcome::Failed(returned),
            fate => {
                let takes_effect = fate != 1 || random.below(2) == 0;
                let mut scratch = state.clone();
                let answer = plain.call(
                    if takes_effect {
                        &mut state
                    } else {
                        &mut scratch
                    },
                    &call,
                );
                // One whose end nobody knows, its process calls no more.
                if fate == 1 {
                    free[process] = u64::MAX / 2;
                    Outcome::Unknown
                } else {
                    Outcome::Ok(returned, answer)
                }
            }
        };
        if free[process] > u64::MAX / 4 && called_ns > effect {
            continue;
        }
        operations.push(Operation {
            called_ns,
            vm: process,
            process: 0,
            key: "k".into(),
            call,
            outcome,
        });
    }
    if random.below(2) == 0 {
        spoil(&mut operations, random);
    }
    operations
}

/// Changes an answer into another of its kind.
fn spoil(operations: &mut [Operation], random: &mut RandomStream) {
    let which = random.below(operations.len() as u64) as usize;
    let Outcome::Ok(_, answer) = &mut operations[which].outcome else {
        return;
    };
    let other = Value::from(random.below(3).to_string());
    match answer {
        Answer::List(values) if random.below(2) == 0 => {
            values.pop();
        }
        Answer::List(values) => values.push(other),
        Answer::Value(text) => {
            *text = match &**text {
                "true" => "false".into(),
                "false" => "true".into(),
                _ => other,
            };
        }
        Answer::Nothing => *answer = Answer::Value(other),
        Answer::Done => {}
    }
}
