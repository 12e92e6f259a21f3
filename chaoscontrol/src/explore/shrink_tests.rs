use super::super::runner::RunnerFactory;
use super::super::synthetic::{Ladder, Rung, options};
use super::super::workers::Workers;
use super::super::{Explorer, Options, Silent};
use super::*;
use crate::fault::{Aim, FaultKind as K, Tolerance};
use crate::oracle::Verdicts;

const PAIR: [Rung; 2] = [(K::Kill, 1), (K::Skew, 2)];

fn found(ladder: &Ladder, seed: u64) -> Bug {
    let mut explorer = Explorer::new(Options { seed, ..options() }, Verdicts::default());
    let mut runner = ladder.create().unwrap();
    explorer
        .explore(&mut runner, &AtomicBool::new(false), &mut Silent)
        .unwrap()
        .bugs
        .remove(0)
}

fn shrink<S>(bug: Bug, limits: ShrinkLimits, batch: &mut dyn Batch<S>) -> Shrunk {
    Shrinker::new(bug, limits, batch, &AtomicBool::new(false), &mut Silent)
        .shrink()
        .unwrap()
}

#[test]
fn shrinking_stays_inside_the_tolerance() {
    let ladder = Ladder {
        rungs: vec![(K::Kill, 0), (K::Kill, 1)],
        bug: true,
    };
    let generator = Generator {
        tolerance: Tolerance::parse(&["down: 1"]).unwrap(),
        ..options().generator
    };
    let options = Options {
        seed: 3,
        generator: generator.clone(),
        ..options()
    };
    let mut explorer = Explorer::new(options, Verdicts::default());
    let mut runner = ladder.create().unwrap();
    let stop = AtomicBool::new(false);
    let found = explorer.explore(&mut runner, &stop, &mut Silent).unwrap();
    let bug = found.bugs[0].clone();
    let mut silent = Silent;
    let limits = ShrinkLimits::default();
    let shrinker = Shrinker::new(bug, limits, &mut runner, &stop, &mut silent);
    let shrunk = shrinker.within(&generator).shrink().unwrap();
    let kinds: Vec<_> = shrunk
        .bug
        .recipe
        .schedule
        .faults()
        .iter()
        .map(|f| f.fault.kind())
        .collect();
    assert_eq!(kinds, [K::Kill, K::Restart, K::Kill]);
}

#[test]
fn what_needs_two_faults_shrinks_to_two_with_round_times() {
    let ladder = Ladder {
        rungs: PAIR.to_vec(),
        bug: true,
    };
    for seed in 0..20 {
        let bug = found(&ladder, seed);
        let shrunk = shrink(
            bug.clone(),
            ShrinkLimits::default(),
            &mut ladder.create().unwrap(),
        );
        let faults = shrunk.bug.recipe.schedule.faults();
        assert_eq!(faults.len(), 2, "{}", shrunk.bug.recipe.schedule);
        assert!(
            shrunk.reproduced && shrunk.minimal && shrunk.runs < 150,
            "{shrunk:?}"
        );
        assert!(
            faults.iter().all(|f| f.at_ns % 500_000_000 == 0),
            "{}",
            shrunk.bug.recipe.schedule
        );
        assert!(shrunk.bug.recipe.reseeds.is_empty());
        assert_eq!(
            (shrunk.from, shrunk.bug.round),
            (bug.recipe.schedule.len(), bug.round)
        );
        assert_eq!(shrunk.bug.failure.id(), bug.failure.id());
        let other = shrink(
            bug,
            ShrinkLimits::default(),
            &mut Workers::new(&ladder, 3).unwrap(),
        );
        assert_eq!(shrunk, other, "workers change nothing");
    }
}

/// Remembers where jobs were to be cut off, and with how many faults.
struct Cuts<'a, B> {
    batch: &'a mut B,
    seen: Vec<(Option<u64>, usize)>,
}

impl<S, B: Batch<S>> Batch<S> for Cuts<'_, B> {
    fn run(
        &mut self,
        jobs: Vec<Job<S>>,
        stop: &AtomicBool,
    ) -> Result<Vec<Option<BranchResult<S>>>, RunnerError> {
        let cut = |job: &Job<S>| (job.until_ns, job.recipe.schedule.len());
        self.seen.extend(jobs.iter().map(cut));
        self.batch.run(jobs, stop)
    }
}

#[test]
fn nothing_is_run_long_after_the_failure() {
    let ladder = Ladder {
        rungs: PAIR.to_vec(),
        bug: true,
    };
    let generator = options().generator;
    let failed = |bug: &Bug| bug.failure.at.unwrap().time_ns;
    let early = |bug: &Bug| failed(bug) < generator.duration_ns / 2;
    let mut bug = (0..).map(|seed| found(&ladder, seed)).find(early).unwrap();
    let failed_ns = failed(&bug);
    let later = |i: u64| ScheduledFault {
        at_ns: failed_ns + i * 1_000_000,
        fault: "kill vm 0".parse().unwrap(),
    };
    let faults = bug.recipe.schedule.into_faults().into_iter();
    let faults = faults.filter(|fault| fault.at_ns <= failed_ns);
    let all: Vec<ScheduledFault> = faults.chain((1..50).map(later)).collect();
    let before = all.len() - 49;
    bug.recipe.schedule = FaultSchedule::new(all);
    let mut cuts = Cuts {
        batch: &mut ladder.create().unwrap(),
        seen: Vec::new(),
    };
    let (never, mut silent) = (AtomicBool::new(false), Silent);
    let limits = ShrinkLimits::default();
    let shrinker = Shrinker::new(bug, limits, &mut cuts, &never, &mut silent);
    let shrunk = shrinker.within(&generator).shrink().unwrap();
    assert_eq!(shrunk.bug.recipe.schedule.len(), 2);
    assert_eq!(cuts.seen[0], (None, before + 49), "as it was found");
    let most = failed_ns + generator.duration_ns / 2;
    let cut = |(until, _): &(Option<u64>, usize)| until.is_some_and(|at_ns| at_ns < most);
    assert!(cuts.seen[1..].iter().all(cut), "{:?}", cuts.seen);
    let some = cuts.seen[1..4].iter().any(|(_, faults)| *faults == before);
    assert!(some, "what came later goes at once: {:?}", cuts.seen);
}

#[test]
fn limits_hold_and_keep_the_best_so_far() {
    let ladder = Ladder {
        rungs: PAIR.to_vec(),
        bug: true,
    };
    let bug = (0..)
        .map(|seed| found(&ladder, seed))
        .find(|b| b.recipe.schedule.len() > 6)
        .unwrap();
    let few = shrink(
        bug.clone(),
        ShrinkLimits {
            runs: 5,
            ..ShrinkLimits::default()
        },
        &mut ladder.create().unwrap(),
    );
    assert!(few.runs <= 5 + GROUP as u64 && !few.minimal && few.reproduced);
    assert!(few.bug.recipe.schedule.len() >= 2);
    let none = ShrinkLimits {
        instructions: 0,
        ..ShrinkLimits::default()
    };
    assert_eq!(
        shrink(bug.clone(), none, &mut ladder.create().unwrap()).bug,
        bug
    );
}

#[test]
fn a_failure_that_does_not_come_again_is_kept_as_it_was() {
    let ladder = Ladder {
        rungs: PAIR.to_vec(),
        bug: true,
    };
    let bug = found(&ladder, 0);
    let healthy = Ladder {
        rungs: PAIR.to_vec(),
        bug: false,
    };
    let shrunk = shrink(
        bug.clone(),
        ShrinkLimits::default(),
        &mut healthy.create().unwrap(),
    );
    assert_eq!(
        (shrunk.reproduced, shrunk.runs, shrunk.bug),
        (false, 1, bug)
    );
}

#[test]
fn a_failure_without_faults_shrinks_to_none() {
    let ladder = Ladder {
        rungs: vec![(K::Kill, 1)],
        bug: true,
    };
    let mut bug = found(&ladder, 0);
    // Any schedule at all fails here.
    let mut always = Always;
    bug.failure = crate::oracle::Failure::new(0, 0, crate::oracle::FailureKind::BodyExit(3));
    let shrunk = shrink(bug, ShrinkLimits::default(), &mut always);
    assert!(shrunk.bug.recipe.schedule.is_empty());
    assert!(
        shrunk.runs <= 3,
        "the failure itself, and the empty schedule first of its group"
    );
}

/// Fails with the seed that it was found with only if no fault is missing, as if each had moved a
/// timer; and with one other seed in eight if vm 1 is killed.
struct Luck(Recipe);

impl super::super::Runner for Luck {
    type Snapshot = ();

    fn run(&mut self, job: &Job<()>) -> Result<BranchResult<()>, RunnerError> {
        let recipe = &job.recipe;
        let kills = |f: &ScheduledFault| f.fault.to_string() == "kill vm 1";
        let killed = recipe.schedule.faults().iter().any(kills);
        let lucky = recipe.seed != self.0.seed && recipe.seed.is_multiple_of(8);
        let mut result = super::super::Runner::run(&mut Always, job)?;
        result.failure = result
            .failure
            .filter(|_| *recipe == self.0 || killed && lucky);
        Ok(result)
    }
}

#[test]
fn faults_that_only_moved_a_timer_go_by_other_seeds() {
    let ladder = Ladder {
        rungs: PAIR.to_vec(),
        bug: true,
    };
    let mut bug = found(&ladder, 0);
    bug.recipe.reseeds.clear();
    bug.recipe.schedule =
        "+1 s pause vm 0\n+1.1 s skew vm 2\n+1.7 s kill vm 1\n+2 s heal\n+3 s loss vm 1"
            .parse()
            .unwrap();
    bug.failure = crate::oracle::Failure::new(0, 0, crate::oracle::FailureKind::BodyExit(3));
    let limits = ShrinkLimits::default();
    let mut luck = Luck(bug.recipe.clone());
    let shrunk = shrink(bug.clone(), limits, &mut luck);
    assert_eq!(
        shrunk.bug.recipe.schedule.to_string().trim(),
        "+2.000 s  kill vm 1"
    );
    assert_ne!(shrunk.bug.recipe.seed, bug.recipe.seed);
    assert!(shrunk.minimal && shrunk.runs < limits.runs, "{shrunk:?}");
    // Where no seed helps, a part of the runs is left for what else can be simpler.
    let one = ScheduledFault {
        fault: "pause vm 0".parse().unwrap(),
        ..bug.recipe.schedule.faults()[0].clone()
    };
    let faults = (0..5).map(|_| one.clone()).collect();
    bug.recipe.schedule = FaultSchedule::new(faults);
    let mut luck = Luck(bug.recipe.clone());
    let shrunk = shrink(bug.clone(), limits, &mut luck);
    assert_eq!(shrunk.bug.recipe, bug.recipe);
    assert!(
        shrunk.minimal && shrunk.runs >= limits.runs / 2,
        "{shrunk:?}"
    );
}

/// Fails with what it was found with, after 2 s, and whenever there are a pause and a loss. Notes the
/// most faults that it was run with from another seed.
struct Otherwise(Recipe, usize);

impl super::super::Runner for Otherwise {
    type Snapshot = ();

    fn run(&mut self, job: &Job<()>) -> Result<BranchResult<()>, RunnerError> {
        let recipe = &job.recipe;
        let has = |kind| {
            let mut faults = recipe.schedule.faults().iter();
            faults.any(|f| f.fault.kind() == kind)
        };
        let fails = *recipe == self.0 || has(K::Pause) && has(K::Loss);
        if recipe.seed != self.0.seed {
            self.1 = self.1.max(recipe.schedule.len());
        }
        let mut result = super::super::Runner::run(&mut Always, job)?;
        result.failure = result.failure.filter(|_| fails);
        result.start_ns = Some(0);
        result.stats.simulated_ns = 2_000_000_000;
        Ok(result)
    }
}

#[test]
fn what_many_faults_brought_about_is_looked_for_with_few() {
    let ladder = Ladder {
        rungs: PAIR.to_vec(),
        bug: true,
    };
    let mut bug = found(&ladder, 0);
    bug.recipe.reseeds.clear();
    let few = "+1 s kill vm 0\n+1.1 s skew vm 2\n+1.5 s restart vm 0\n+1.7 s kill vm 1\n";
    let many = "+0.2 s kill vm 1\n+0.3 s restart vm 1\n".repeat(4) + few;
    bug.failure = crate::oracle::Failure::new(0, 0, crate::oracle::FailureKind::BodyExit(3));
    // Few kinds, so that a draw of two of them is no matter of luck.
    let kinds = [K::Kill, K::Restart, K::Skew, K::Pause, K::Loss];
    let generator = Generator {
        aims: kinds.map(Aim::of).to_vec(),
        ..options().generator
    };
    let never = AtomicBool::new(false);
    for (seed, faults) in (0..5).zip([few, many.as_str()].into_iter().cycle()) {
        bug.recipe.seed = seed;
        bug.recipe.schedule = faults.parse().unwrap();
        let (mut silent, mut batch) = (Silent, Otherwise(bug.recipe.clone(), 0));
        let limits = ShrinkLimits::default();
        let shrinker = Shrinker::new(bug.clone(), limits, &mut batch, &never, &mut silent);
        let shrunk = shrinker.within(&generator).shrink().unwrap();
        let kinds = shrunk.bug.recipe.schedule.faults().iter();
        let kinds: BTreeSet<K> = kinds.map(|f| f.fault.kind()).collect();
        assert_eq!(kinds, BTreeSet::from([K::Pause, K::Loss]));
        assert!(batch.1 <= READABLE, "of many faults none is missed");
        assert!(shrunk.minimal && shrunk.runs < limits.runs, "{shrunk:?}");
    }
}

/// Fails whatever happens.
struct Always;

impl super::super::Runner for Always {
    type Snapshot = ();

    fn run(&mut self, job: &Job<()>) -> Result<BranchResult<()>, RunnerError> {
        let failure = crate::oracle::Failure::new(0, 0, crate::oracle::FailureKind::BodyExit(3));
        Ok(BranchResult {
            recipe: job.recipe.clone(),
            coverage: Vec::new(),
            points: Vec::new(),
            oracle: crate::oracle::PropertyOracle::new(),
            failure: Some(failure),
            start_ns: None,
            applied: Vec::new(),
            stats: super::super::BranchStats::default(),
            state_hash: 0,
            snapshots: Vec::new(),
        })
    }
}
