use super::super::runner::{Batch, Job, Runner, RunnerFactory};
use super::super::synthetic::{Ladder, Moment, Rung, options};
use super::super::workers::Workers;
use super::super::{Progress, Silent};
use super::*;
use crate::fault::FaultKind as K;

const TALL: [Rung; 7] = [
    (K::Kill, 0),
    (K::Restart, 0),
    (K::Pause, 1),
    (K::Skew, 2),
    (K::Loss, 1),
    (K::Kill, 2),
    (K::WallClockJump, 0),
];

fn ladder(rungs: &[Rung], bug: bool) -> Ladder {
    Ladder {
        rungs: rungs.to_vec(),
        bug,
    }
}

fn explore(ladder: &Ladder, options: Options) -> Outcome {
    let mut runner = ladder.create().unwrap();
    let mut explorer = Explorer::new(options, Verdicts::default());
    explorer
        .explore(&mut runner, &AtomicBool::new(false), &mut Silent)
        .unwrap()
}

#[test]
fn a_bug_that_needs_two_faults_in_order_is_found() {
    for seed in 0..10 {
        let outcome = explore(
            &ladder(&[(K::Kill, 1), (K::Skew, 2)], true),
            Options { seed, ..options() },
        );
        assert_eq!(outcome.ended, Ended::Failed);
        assert!(outcome.findability.failed >= 1);
        let bug = &outcome.bugs[0];
        assert!(bug.round >= 1 && bug.recipe.schedule.len() >= 2);
    }
}

#[test]
fn a_system_without_bugs_stays_green() {
    let outcome = explore(
        &ladder(&TALL[..2], false),
        Options {
            rounds: 30,
            ..options()
        },
    );
    assert_eq!(
        (outcome.ended, outcome.bugs.len(), outcome.stats.round),
        (Ended::Complete, 0, 30)
    );
    assert_eq!(outcome.stats.branches, 240);
    assert!(outcome.findability.at_most() < 0.013);
}

#[test]
fn coverage_finds_deep_bugs_sooner_than_chance() {
    let rounds_to_bug = |strategy| -> u64 {
        let one = |seed| {
            let options = Options {
                seed,
                strategy,
                rounds: 400,
                ..options()
            };
            explore(&ladder(&TALL[..5], true), options).stats.round
        };
        (0..8).map(one).sum()
    };
    let [random, snapshots, guided] =
        [Strategy::Random, Strategy::Snapshots, Strategy::Guided].map(rounds_to_bug);
    assert!(
        guided * 4 < random * 3 && guided < snapshots,
        "guided {guided}, snapshots {snapshots}, random {random}"
    );
}

#[test]
fn a_search_ends_when_its_instructions_are_spent() {
    let options = Options {
        rounds: u64::MAX,
        instructions: Some(20_000),
        ..options()
    };
    let outcome = explore(&ladder(&TALL, false), options);
    // Of 1000 for each branch, in whole rounds of 8.
    assert_eq!((outcome.ended, outcome.stats.round), (Ended::Spent, 3));
}

/// Everything an exploration shows, as text.
fn trace(batch: &mut dyn Batch<Moment>, options: Options) -> (String, Totals) {
    struct Rounds(String);
    impl Progress for Rounds {
        fn round(&mut self, stats: &RoundStats) {
            self.0.push_str(&format!("{stats:?}\n"));
        }
    }
    let mut rounds = Rounds(String::new());
    let mut explorer = Explorer::new(options, Verdicts::default());
    let outcome = explorer
        .explore(batch, &AtomicBool::new(false), &mut rounds)
        .unwrap();
    (
        format!("{}{outcome:?}", rounds.0),
        explorer.totals().clone(),
    )
}

#[test]
fn the_number_of_workers_and_the_budget_of_memory_change_nothing() {
    let ladder = ladder(&TALL[..4], true);
    let options = Options {
        rounds: 40,
        stop_at_failure: false,
        ..options()
    };
    let mut lone = ladder.create().unwrap();
    let reference = trace(&mut lone, options.clone());
    assert!(lone.from_snapshot.into_inner() > 20, "snapshots are used");
    for workers in [1, 2, 5] {
        let mut workers = Workers::new(&ladder, workers).unwrap();
        assert_eq!(trace(&mut workers, options.clone()), reference);
    }
    let poor = Options {
        snapshot_budget: 2500,
        ..options.clone()
    };
    assert_eq!(trace(&mut ladder.create().unwrap(), poor), reference);
    let other = Options { seed: 1, ..options };
    assert_ne!(trace(&mut ladder.create().unwrap(), other), reference);
}

#[test]
fn given_schedules_come_first() {
    let initial = vec!["+1 s kill vm 1\n+2 s skew vm 2 by 1 %".parse().unwrap()];
    let outcome = explore(
        &ladder(&[(K::Kill, 1), (K::Skew, 2)], true),
        Options {
            initial,
            ..options()
        },
    );
    assert_eq!((outcome.bugs[0].round, outcome.bugs[0].branch), (1, 0));
    let always = explore(&ladder(&[], true), options());
    assert!(always.bugs.is_empty() || always.bugs[0].round == 1);
}

/// Sets the stop flag in its third run.
struct Stopping<'a, R> {
    runner: R,
    runs: u64,
    stop: &'a AtomicBool,
}

impl<R: Runner> Runner for Stopping<'_, R> {
    type Snapshot = R::Snapshot;

    fn run(&mut self, job: &Job<R::Snapshot>) -> Result<BranchResult<R::Snapshot>, RunnerError> {
        self.runs += 1;
        self.stop.store(self.runs == 3, Ordering::Relaxed);
        self.runner.run(job)
    }
}

#[test]
fn a_stop_keeps_what_was_found() {
    let stop = AtomicBool::new(false);
    let runner = ladder(&TALL, false).create().unwrap();
    let mut stopping = Stopping {
        runner,
        runs: 0,
        stop: &stop,
    };
    let mut explorer = Explorer::new(options(), Verdicts::default());
    let outcome = explorer.explore(&mut stopping, &stop, &mut Silent).unwrap();
    assert_eq!((outcome.ended, outcome.stats.branches), (Ended::Stopped, 3));
}

struct Broken;

impl Runner for Broken {
    type Snapshot = ();

    fn run(&mut self, job: &Job<()>) -> Result<BranchResult<()>, RunnerError> {
        assert!(job.recipe.schedule.is_empty(), "planted panic");
        Err(RunnerError("no memory".to_owned()))
    }
}

impl RunnerFactory for Broken {
    type Runner = Broken;

    fn create(&self) -> Result<Broken, RunnerError> {
        Ok(Broken)
    }
}

#[test]
fn trouble_of_the_host_and_panics_reach_the_caller() {
    let mut explorer = Explorer::new(
        Options {
            branches: 1,
            ..options()
        },
        Verdicts::default(),
    );
    let mut workers = Workers::new(&Broken, 2).unwrap();
    let stop = AtomicBool::new(false);
    let error = explorer
        .explore(&mut workers, &stop, &mut Silent)
        .unwrap_err();
    assert_eq!(error.to_string(), "cannot run a branch: no memory");
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        explorer.explore(&mut workers, &stop, &mut Silent)
    }));
    assert!(panicked.is_err());
}

#[test]
fn a_search_on_a_plateau_looks_elsewhere_until_it_finds_something() {
    #[derive(Default)]
    struct Chosen(Vec<(u64, Strategy)>);
    impl Progress for Chosen {
        fn round(&mut self, stats: &RoundStats) {
            self.0.push((stats.edges, stats.strategy));
        }
    }
    let of = |strategy| {
        let options = Options {
            rounds: 60,
            strategy,
            ..options()
        };
        let mut chosen = Chosen::default();
        let mut runner = ladder(&TALL[..1], false).create().unwrap();
        Explorer::new(options, Verdicts::default())
            .explore(&mut runner, &AtomicBool::new(false), &mut chosen)
            .unwrap();
        chosen.0
    };
    let guided = of(Strategy::Guided);
    let elsewhere = |(_, strategy): &&(u64, Strategy)| *strategy == Strategy::Snapshots;
    let last: Vec<_> = guided[50..].iter().filter(elsewhere).collect();
    assert_eq!(last.len(), 5, "every second round of the last: {guided:?}");
    let new = guided.windows(2).position(|two| two[0].0 < two[1].0);
    let gained = new.expect("later rounds show something") + 1;
    let soon = guided[gained..].iter().take(PLATEAU as usize);
    assert_eq!(soon.filter(elsewhere).count(), 0);
    let random = of(Strategy::Random);
    assert!(random.iter().all(|(_, chosen)| *chosen == Strategy::Random));
}
