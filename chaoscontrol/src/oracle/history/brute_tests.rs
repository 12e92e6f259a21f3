//! Verdicts compared with those of the definition itself: some choice and order of the
//! operations, one of all there are, in which plain models give every answer.

use super::generate::{Plain, history};
use super::operation::{Answer, Call, Operation, Outcome, Value};
use super::search::{Decision, swept};
use super::{Checker, Counterexample, HistoryError, Interval, Log, Model, Queue, Register, Set};
use crate::devices::random::RandomStream;

/// Whether an order explains `operations`, by trying them all.
fn explained(plain: Plain, state: &[Value], left: &[&Operation]) -> bool {
    if left.iter().all(|o| o.outcome == Outcome::Unknown) {
        return true;
    }
    (0..left.len()).any(|next| {
        let operation = left[next];
        let must_wait = |other: &&Operation| returned(other) < operation.called_ns;
        if left.iter().any(must_wait) {
            return false;
        }
        let mut state = state.to_vec();
        let answer = plain.call(&mut state, &operation.call);
        let right = match &operation.outcome {
            Outcome::Ok(_, Answer::List(told)) if plain == Plain::Set => {
                let mut told = told.clone();
                told.sort();
                answer == Answer::List(told)
            }
            Outcome::Ok(_, told) => *told == answer,
            _ => true,
        };
        let mut rest = left.to_vec();
        rest.remove(next);
        right && explained(plain, &state, &rest)
    })
}

fn check(plain: Plain, history: &[Operation]) -> Result<(), HistoryError> {
    fn by(model: impl Model, history: &[Operation]) -> Result<(), HistoryError> {
        let intervals: Vec<_> = history.iter().filter_map(Interval::of).collect();
        let swept = swept(&model, &intervals).unwrap();
        let verdict = Checker::new(model).check(history);
        assert_eq!(
            swept == Decision::Explained,
            verdict.is_ok(),
            "{history:#?}"
        );
        verdict
    }
    match plain {
        Plain::Register => by(Register::new(), history),
        Plain::Set => by(Set, history),
        Plain::Queue => by(Queue, history),
        Plain::Log => by(Log, history),
    }
}

/// When an operation returned, in ns.
fn returned(operation: &Operation) -> u64 {
    match operation.outcome {
        Outcome::Ok(at, _) => at,
        _ => u64::MAX,
    }
}

/// What the counterexample says is impossible: its own operations, and all others until then
/// without their claims.
fn weakened(history: &[Operation], example: &Counterexample) -> Vec<Operation> {
    let matters = |o: &&Operation| {
        !matches!(o.outcome, Outcome::Failed(_)) && o.called_ns <= example.until_ns
    };
    let weaker = |o: &Operation| match example.operations.contains(o) {
        true if returned(o) <= example.until_ns => o.clone(),
        true => Operation {
            outcome: Outcome::Unknown,
            ..o.clone()
        },
        false => Operation {
            called_ns: 0,
            outcome: Outcome::Unknown,
            ..o.clone()
        },
    };
    let weaker: Vec<_> = history.iter().filter(matters).map(weaker).collect();
    // A set is checked value by value, so there may be more.
    assert!(weaker.len() >= example.operations.len() + example.others);
    weaker
}

#[test]
fn verdicts_are_those_of_all_permutations() {
    for plain in Plain::ALL {
        let mut random = RandomStream::from_bytes(format!("{plain:?}").as_bytes());
        let mut verdicts = [0; 2];
        for number in 0..4000 {
            let history = history(plain, 7, &mut random);
            let effective = |o: &&Operation| !matches!(o.outcome, Outcome::Failed(_));
            let operations: Vec<&Operation> = history.iter().filter(effective).collect();
            let right = explained(plain, &[], &operations);
            verdicts[usize::from(right)] += 1;
            match check(plain, &history) {
                Ok(()) => assert!(right, "{plain:?} {number}: {history:#?}"),
                Err(HistoryError::Impossible(example)) => {
                    assert!(!right, "{plain:?} {number}: {history:#?}\n{example}");
                    assert!(!example.operations.is_empty());
                    let weaker = weakened(&history, &example);
                    let weaker: Vec<&Operation> = weaker.iter().collect();
                    assert!(
                        !explained(plain, &[], &weaker),
                        "{plain:?} {number}: the example is none\n{history:#?}\n{example}"
                    );
                }
                Err(other) => panic!("{plain:?} {number}: {other}"),
            }
        }
        println!("{plain:?}: {verdicts:?} of 4000 impossible, explained");
        assert!(verdicts.iter().all(|&n| n > 200), "{plain:?}: {verdicts:?}");
    }
}

fn operation(called_ns: u64, vm: usize, key: &str, call: Call, outcome: Outcome) -> Operation {
    Operation {
        called_ns: called_ns * 1_000_000,
        vm,
        process: 0,
        key: key.into(),
        call,
        outcome,
    }
}

fn ok(ms: u64, answer: Answer) -> Outcome {
    Outcome::Ok(ms * 1_000_000, answer)
}

#[test]
fn a_stale_read_among_many_operations_is_told_in_three_lines() {
    let mut history = Vec::new();
    for n in 0..200u64 {
        let value = Value::from(n.to_string());
        let key = ["x", "y"][n as usize % 2];
        history.push(operation(
            10 * n,
            0,
            key,
            Call::Write(value.clone()),
            ok(10 * n + 2, Answer::Done),
        ));
        history.push(operation(
            10 * n + 3,
            1,
            key,
            Call::Read,
            ok(10 * n + 4, Answer::Value(value)),
        ));
        let lost = Call::Write(format!("lost {n}").into());
        history.push(operation(
            10 * n,
            2 + n as usize % 3,
            key,
            lost,
            Outcome::Unknown,
        ));
    }
    assert_eq!(Checker::new(Register::new()).check(&history), Ok(()));
    let stale = Outcome::Ok(1_507_000_000, Answer::Value("148".into()));
    history.push(operation(1505, 4, "x", Call::Read, stale));
    let error = Checker::new(Register::new()).check(&history).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the history is not linearizable as a register\n\
         key \"x\": no order of these explains all answers\n  \
           +1.480 s to +1.482 s  vm 0 process 0  write 148 -> done\n  \
           +1.500 s to +1.502 s  vm 0 process 0  write 150 -> done\n  \
           +1.505 s to +1.507 s  vm 4 process 0  read -> 148\n  \
           226 other operations until then cannot mend that, whenever they took effect, or not at all"
    );
}

#[test]
fn what_cannot_be_decided_or_understood_is_no_success() {
    let enqueue = |n: u64| {
        operation(
            0,
            0,
            "q",
            Call::Enqueue(n.to_string().into()),
            ok(9, Answer::Done),
        )
    };
    let dequeue = |n: u64| {
        let answer = Answer::Value((29 - n).to_string().into());
        operation(10 + n, 0, "q", Call::Dequeue, ok(10 + n, answer))
    };
    let history: Vec<_> = (0..30).map(enqueue).chain((0..30).map(dequeue)).collect();
    assert_eq!(Checker::new(Queue).check(&history), Ok(()));
    let error = Checker::new(Queue).steps(40).check(&history).unwrap_err();
    assert_eq!(
        error.to_string(),
        "whether the history is linearizable as a queue is undecided: key \"q\" has 60 operations, \
         for which 40 steps are not enough; allow more by Checker::steps, or use more keys and \
         fewer clients"
    );
    let error = Checker::new(Register::new()).check(&history).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the history is none of a register: key \"q\" has the operation \"enqueue 0\" with the \
         outcome \"done\"; check it as what it is a history of"
    );
}
