//! How long histories take to check: ten clients of a correct copy, and of one whose last
//! answer is stale. `cargo run --release -p chaoscontrol --example histories [OPERATIONS [MODEL]]`.

use std::collections::VecDeque;
use std::time::Instant;

use chaoscontrol::devices::random::RandomStream;
use chaoscontrol::oracle::history::{
    Answer, Call, Checker, Log, Model, Operation, Outcome, Queue, Register, Set, Value,
};

const CLIENTS: usize = 10;

/// A copy, and what its clients ask for.
struct Workload {
    name: &'static str,
    keys: u64,
    call: fn(u64, &mut RandomStream) -> Call,
}

/// What a copy answers.
fn answer(state: &mut VecDeque<Value>, call: &Call, register: bool) -> Answer {
    let flag = |flag: bool| Answer::Value(flag.to_string().into());
    match call {
        Call::Read if register => state
            .front()
            .cloned()
            .map_or(Answer::Nothing, Answer::Value),
        Call::Read => Answer::List(state.iter().cloned().collect()),
        Call::Write(value) => {
            *state = [value.clone()].into();
            Answer::Done
        }
        Call::CompareAndSwap(old, new) => {
            let swaps = state.front() == Some(old);
            if swaps {
                *state = [new.clone()].into();
            }
            flag(swaps)
        }
        Call::Add(value) => {
            let new = !state.contains(value);
            if new {
                state.push_back(value.clone());
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
            state.push_back(value.clone());
            Answer::Done
        }
        Call::Dequeue => state.pop_front().map_or(Answer::Nothing, Answer::Value),
        _ => Answer::Done,
    }
}

/// Operations of clients that overlap; of one in a hundred nobody knows what came of it.
fn history(workload: &Workload, count: u64, random: &mut RandomStream) -> Vec<Operation> {
    let mut states = vec![VecDeque::new(); workload.keys as usize];
    let mut free = [0; CLIENTS];
    let mut operations = Vec::new();
    for number in 0..count {
        let effect = (number + 1) * 1000;
        let client = random.below(CLIENTS as u64) as usize;
        let called_ns = effect
            .saturating_sub(random.below(8000))
            .max(free[client])
            .min(effect);
        let returned = effect + random.below(8000);
        free[client] = returned + 1;
        let key = random.below(workload.keys);
        let call = (workload.call)(number, random);
        let unknown = random.below(100) == 0;
        let state = &mut states[key as usize];
        let outcome = if unknown && random.below(2) == 0 {
            Outcome::Unknown
        } else {
            match answer(state, &call, workload.name == "register") {
                _ if unknown => Outcome::Unknown,
                answer => Outcome::Ok(returned, answer),
            }
        };
        operations.push(Operation {
            called_ns,
            vm: client,
            process: 0,
            key: key.to_string().into(),
            call,
            outcome,
        });
    }
    operations
}

fn measure<M: Model>(model: M, workload: &Workload, count: u64) {
    let only = std::env::args().nth(2);
    if only.is_some_and(|only| only != workload.name) {
        return;
    }
    let mut random = RandomStream::from_bytes(workload.name.as_bytes());
    let mut history = history(workload, count, &mut random);
    let checker = Checker::new(model);
    let time = |history: &[Operation]| {
        let start = Instant::now();
        let verdict = checker.check(history);
        (start.elapsed(), verdict)
    };
    let (green, verdict) = time(&history);
    let fine = verdict.map_or_else(|e| e.to_string(), |()| "linearizable".to_owned());
    // Then one of its answers once more, when it is not right any longer.
    let told = |operation: &&Operation| {
        let looks = matches!(
            operation.call,
            Call::Read | Call::Contains(_) | Call::Dequeue
        );
        looks && matches!(operation.outcome, Outcome::Ok(..))
    };
    let mut stale = history.iter().rfind(told).expect("somebody looks").clone();
    stale.called_ns = u64::MAX / 2;
    let wrong = match &stale.outcome {
        Outcome::Ok(_, Answer::List(values)) => Answer::List(values[1..].to_vec()),
        Outcome::Ok(_, answer) => match answer.flag() {
            Some(flag) => Answer::Value((!flag).to_string().into()),
            None => Answer::Value("never written".into()),
        },
        _ => Answer::Done,
    };
    stale.outcome = Outcome::Ok(stale.called_ns + 1, wrong);
    history.push(stale);
    let (red, verdict) = time(&history);
    let fails = verdict.map_or_else(
        |e| e.to_string().lines().next().unwrap_or_default().to_owned(),
        |()| "linearizable".to_owned(),
    );
    let [green, red] = [green, red].map(|time| time.as_secs_f64() * 1e3);
    println!(
        "{:<9} {:>2} keys  {green:>8.1} ms {fine}; {red:>8.1} ms {fails}",
        workload.name, workload.keys
    );
}

fn main() {
    let count = std::env::args()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(10_000);
    println!("{count} operations of {CLIENTS} clients");
    for keys in [10, 1] {
        let register = |n: u64, random: &mut RandomStream| match random.below(4) {
            0 => Call::Write(Value::from(n.to_string())),
            1 => {
                let near = random.below(20);
                let [old, new] = [n.saturating_sub(near), n].map(|n| Value::from(n.to_string()));
                Call::CompareAndSwap(old, new)
            }
            _ => Call::Read,
        };
        let set = |n: u64, random: &mut RandomStream| {
            let value = Value::from(random.below(n / 20 + 1).to_string());
            match random.below(4) {
                0 => Call::Remove(value),
                1 => Call::Contains(value),
                2 if n.is_multiple_of(50) => Call::Read,
                _ => Call::Add(value),
            }
        };
        let queue = |n: u64, random: &mut RandomStream| match random.below(2) {
            0 => Call::Dequeue,
            _ => Call::Enqueue(Value::from(n.to_string())),
        };
        let log = |n: u64, _: &mut RandomStream| match n % 50 {
            0 => Call::Read,
            _ => Call::Append(Value::from(n.to_string())),
        };
        let workload = |name, call| Workload { name, keys, call };
        measure(Register::new(), &workload("register", register), count);
        measure(Set, &workload("set", set), count);
        measure(Queue, &workload("queue", queue), count);
        measure(Log, &workload("log", log), count);
    }
}
