//! A search that was interrupted, wherever that was, is the one that was not.

use super::super::progress::Standing;
use super::super::runner::{Batch, RunnerFactory};
use super::super::synthetic::{Ladder, Moment, options};
use super::super::{Progress, Workers};
use super::*;
use crate::fault::FaultKind as K;

const ROUNDS: u64 = 12;

fn ladder() -> Ladder {
    Ladder {
        rungs: vec![(K::Kill, 0), (K::Restart, 0)],
        bug: true,
    }
}

fn wanted(seed: u64) -> Options {
    Options {
        seed,
        rounds: ROUNDS,
        initial: vec!["+1 s kill vm 1\n+2 s skew vm 2 by 1 %".parse().unwrap()],
        stop_at_failure: false,
        ..options()
    }
}

/// Keeps the state after each round, and ends the search after `last`.
struct Keep<'a> {
    kept: Vec<String>,
    last: usize,
    stop: &'a AtomicBool,
}

impl Progress for Keep<'_> {
    fn complete(&mut self, standing: &Standing<'_>) {
        self.kept.push((standing.encode)());
        self.stop
            .store(self.kept.len() == self.last, Ordering::Relaxed);
    }
}

fn run(
    explorer: &mut Explorer<Moment>,
    batch: &mut dyn Batch<Moment>,
    last: usize,
) -> (Outcome, Vec<String>) {
    let stop = AtomicBool::new(false);
    let mut keep = Keep {
        kept: Vec::new(),
        last,
        stop: &stop,
    };
    let outcome = explorer.explore(batch, &stop, &mut keep).unwrap();
    (outcome, keep.kept)
}

#[test]
fn a_search_may_be_interrupted_after_any_round() {
    let mut forked = 0;
    for seed in 0..20 {
        let mut lone = ladder().create().unwrap();
        let mut whole = Explorer::new(wanted(seed), Verdicts::default());
        let (reference, states) = run(&mut whole, &mut lone, 0);
        assert_eq!(states.len(), ROUNDS as usize);
        for (round, state) in states.iter().enumerate() {
            let mut runner = ladder().create().unwrap();
            // What is to be tried first is in the state.
            let options = Options {
                initial: Vec::new(),
                ..wanted(seed)
            };
            let mut again = Explorer::resume(options, state).unwrap();
            assert_eq!(again.encode(), *state);
            let (outcome, later) = run(&mut again, &mut runner, 0);
            assert_eq!(format!("{outcome:?}"), format!("{reference:?}"));
            assert_eq!(later, states[round + 1..]);
        }
        forked += lone.from_snapshot.into_inner();
    }
    assert!(forked > 100, "moments are forked from: {forked}");
}

#[test]
fn workers_and_interruptions_leave_the_same_state() {
    let hash = |workers: usize, interruptions: &[usize]| {
        let mut workers = Workers::new(&ladder(), workers).unwrap();
        let mut explorer = Explorer::new(wanted(7), Verdicts::default());
        for last in interruptions {
            let (_, states) = run(&mut explorer, &mut workers, *last);
            explorer = Explorer::resume(wanted(7), states.last().unwrap()).unwrap();
        }
        let (outcome, _) = run(&mut explorer, &mut workers, 0);
        assert_eq!(outcome.state_hash, explorer.state_hash());
        outcome.state_hash
    };
    let reference = hash(1, &[]);
    for workers in [1, 2, 4] {
        assert_eq!(hash(workers, &[1, 2, 3]), reference);
    }
    let mut other = Explorer::new(wanted(8), Verdicts::default());
    let (outcome, _) = run(&mut other, &mut ladder().create().unwrap(), 0);
    assert_ne!(outcome.state_hash, reference);
}

#[test]
fn a_state_that_was_damaged_is_refused() {
    let mut explorer = Explorer::new(wanted(0), Verdicts::default());
    let (_, states) = run(&mut explorer, &mut ladder().create().unwrap(), 3);
    let state = &states[2];
    for text in ["", "[]", &state[..state.len() / 2]] {
        assert!(Explorer::<Moment>::resume(wanted(0), text).is_err());
    }
}
