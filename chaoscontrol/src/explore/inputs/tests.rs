//! The tree against a system without machines: a lock that opens when its dials are set right,
//! one after another, and that is tried with random numbers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;
use crate::explore::{
    Batch, BranchResult, BranchStats, Explorer, Job, Offered, Options, Outcome, Recipe, Runner,
    RunnerError, RunnerFactory, ShrinkLimits, Shrinker, Silent, Strategy, Workers,
};
use crate::fault::Stream;
use crate::oracle::{Failure, FailureKind, Moment, PropertyOracle, Verdicts};
use chaoscontrol_guest::protocol::Message;

/// What opens the lock: calls among 10, then one of `get_random` that has to answer 0.
const RIGHT: [u64; 5] = [7, 0, 3, 9, 0];
/// A call that matters is followed by so many that do not.
const IDLE: u64 = 3;
const MS: u64 = 1_000_000;

/// The model: a runner and what makes runners.
#[derive(Clone, Default)]
struct Lock {
    /// Branches run from a snapshot.
    forks: Arc<AtomicU64>,
    /// Whether no new path shows that a dial is right.
    hides: bool,
    /// Whether it tells how many are.
    tells: bool,
}

/// Calls that were made until a moment.
type Calls = Vec<ChoicePoint>;

impl RunnerFactory for Lock {
    type Runner = Lock;

    fn create(&self) -> Result<Lock, RunnerError> {
        Ok(self.clone())
    }
}

impl Runner for Lock {
    type Snapshot = Calls;

    fn run(&mut self, job: &Job<Calls>) -> Result<BranchResult<Calls>, RunnerError> {
        let recipe = &job.recipe;
        if job.start.is_some() {
            self.forks.fetch_add(1, Ordering::Relaxed);
        }
        let mut points = job.start.clone().unwrap_or_default();
        for number in points.len() as u64 + 1..=RIGHT.len() as u64 * (1 + IDLE) {
            let at_ns = number * MS;
            let seed = recipe.reseeds.iter().rfind(|reseed| reseed.at_ns <= at_ns);
            let seed = seed.map_or(recipe.seed, |reseed| reseed.seed);
            let mut stream = Stream::new(seed, "call", &[number]);
            let last = number > (RIGHT.len() as u64 - 1) * (1 + IDLE);
            let (options, drawn) = match last {
                true => (0, stream.bits()),
                false => (10, stream.below(10)),
            };
            let settled = recipe.inputs.iter().find(|input| input.number == number);
            let input = Input {
                vm: 0,
                number,
                options,
                answer: settled.map_or(drawn, |input| input.answer),
            };
            points.push(ChoicePoint { at_ns, input });
        }
        let dials = points.iter().step_by(1 + IDLE as usize);
        let right = dials
            .zip(RIGHT)
            .take_while(|(point, right)| point.input.answer == *right)
            .count();
        let offer = |&at_ns: &u64| {
            let before = points.iter().filter(|point| point.at_ns < at_ns);
            Offered {
                at_ns,
                bytes: 1000,
                snapshot: before.copied().collect(),
            }
        };
        let open = right == RIGHT.len();
        let mut oracle = PropertyOracle::new();
        if self.tells {
            let (message, value) = ("dials", right as i64);
            let at = Moment { time_ns: 0, vm: 0 };
            oracle.message(at, &Message::Guide { value, message });
        }
        let shown = if self.hides { 0 } else { right as u32 };
        Ok(BranchResult {
            coverage: (0..=shown).map(|dial| (dial, 1)).collect(),
            oracle,
            recipe: recipe.clone(),
            failure: open.then(|| Failure::new(0, 0, FailureKind::BodyExit(3))),
            start_ns: Some(0),
            applied: Vec::new(),
            stats: BranchStats::default(),
            state_hash: points.iter().fold(0, |hash: u64, point| {
                hash.wrapping_mul(31) ^ point.input.answer
            }),
            snapshots: job.snapshots.iter().map(offer).collect(),
            points,
        })
    }
}

fn search(batch: &mut dyn Batch<Calls>, strategy: Strategy, seed: u64) -> Outcome {
    let options = Options {
        seed,
        strategy,
        rounds: 500,
        ..Options::default()
    };
    let mut explorer = Explorer::new(options, Verdicts::default());
    let never = AtomicBool::new(false);
    explorer.explore(batch, &never, &mut Silent).unwrap()
}

#[test]
fn answers_are_found_one_after_another() {
    for seed in 0..5 {
        let mut lock = Lock::default();
        let found = search(&mut lock, Strategy::Inputs, seed);
        assert_eq!(found.bugs.len(), 1, "seed {seed}");
        let forks = lock.forks.load(Ordering::Relaxed);
        assert!(forks * 10 > found.stats.branches, "{forks} forks");
        let bug = &found.bugs[0];
        assert!(bug.recipe.schedule.is_empty());
        // The same from the beginning.
        let job = Job::new(bug.recipe.clone());
        let again = Runner::run(&mut lock, &job).unwrap();
        assert_eq!(again.state_hash, bug.state_hash);
        let hybrid = search(&mut lock, Strategy::Hybrid, seed);
        assert_eq!(hybrid.bugs.len(), 1, "seed {seed}");
    }
    for strategy in [Strategy::Random, Strategy::Snapshots, Strategy::Guided] {
        let missed = search(&mut Lock::default(), strategy, 0);
        assert!(missed.bugs.is_empty(), "{strategy}");
    }
}

#[test]
fn a_number_leads_on_where_no_path_does() {
    let search = |seed, tells| {
        let mut lock = Lock {
            hides: true,
            tells,
            ..Lock::default()
        };
        search(&mut lock, Strategy::Inputs, seed).bugs.len()
    };
    for seed in 0..3 {
        assert_eq!((search(seed, true), search(seed, false)), (1, 0), "{seed}");
    }
}

#[test]
fn workers_change_nothing() {
    let told = |outcome: Outcome| format!("{:?} {:?}", outcome.bugs, outcome.stats);
    let mut lock = Lock::default();
    let alone = told(search(&mut lock, Strategy::Inputs, 1));
    let mut two: Workers<Calls> = Workers::new(&lock, 2).unwrap();
    assert_eq!(told(search(&mut two, Strategy::Inputs, 1)), alone);
}

#[test]
fn an_interrupted_search_goes_on_as_if_it_had_not_been() {
    let options = |rounds| Options {
        strategy: Strategy::Inputs,
        rounds,
        stop_at_failure: false,
        ..Options::default()
    };
    let never = AtomicBool::new(false);
    let mut lock = Lock::default();
    let mut explore = |mut explorer: Explorer<Calls>| {
        let outcome = explorer.explore(&mut lock, &never, &mut Silent).unwrap();
        (outcome.state_hash, explorer.encode())
    };
    let (whole, _) = explore(Explorer::new(options(30), Verdicts::default()));
    let (half, text) = explore(Explorer::new(options(11), Verdicts::default()));
    let (resumed, _) = explore(Explorer::resume(options(30), &text).unwrap());
    assert_ne!(half, whole);
    assert_eq!(resumed, whole);
}

#[test]
fn answers_that_nobody_needs_are_left_out() {
    let mut lock = Lock::default();
    let mut bug = search(&mut lock, Strategy::Inputs, 0).bugs.remove(0);
    bug.recipe.inputs.insert(
        0,
        Input {
            vm: 0,
            number: 2,
            options: 10,
            answer: 5,
        },
    );
    let never = AtomicBool::new(false);
    let mut silent = Silent;
    let shrinker = Shrinker::new(bug, ShrinkLimits::default(), &mut lock, &never, &mut silent);
    let inputs = shrinker.shrink().unwrap().bug.recipe.inputs;
    assert!(!inputs.is_empty() && inputs.len() <= RIGHT.len());
    assert!(
        inputs.iter().all(|input| input.number % (1 + IDLE) == 1),
        "{inputs:?}"
    );
}

#[test]
fn a_call_is_answered_otherwise_until_nothing_is_left() {
    let points = [(1, 3, 2), (2, 0, 77)].map(|(number, options, answer)| ChoicePoint {
        at_ns: number * MS,
        input: Input {
            vm: 0,
            number,
            options,
            answer,
        },
    });
    let recipe = Recipe {
        inputs: vec![points[0].input],
        ..Recipe::default()
    };
    let mut stream = Stream::new(0, "tree", &[]);
    let mut answers = |recipe: &Recipe| -> Vec<(u64, u64)> {
        let mut tree = InputTree::default();
        tree.add(recipe, &points, 1);
        let all = std::iter::from_fn(|| tree.vary(&mut stream));
        let last = all.map(|variation| *variation.recipe.inputs.last().unwrap());
        let mut answers: Vec<_> = last.map(|input| (input.number, input.answer)).collect();
        answers.sort_unstable();
        answers.dedup();
        answers
    };
    let second = answers(&recipe);
    assert!(
        second.iter().all(|(number, _)| *number == 2),
        "the first is settled"
    );
    assert_eq!((second[0], second.len()), ((2, 0), 8));
    let both = answers(&Recipe::default());
    assert_eq!((&both[..2], both.len()), (&[(1, 0), (1, 1)][..], 10));
}
