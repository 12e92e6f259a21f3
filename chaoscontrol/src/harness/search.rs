//! Explores a test's branches with as many workers as there are cores, and shrinks what
//! fails; ends early when somebody asks for it or the test's time is up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use chaoscontrol_guest::catalog::{SITES, Site};

use super::crew::Crew;
use super::folder::{Folder, Identity, Kept, OwnCode, Recorder};
use super::progress::Meter;
use super::registry::{TESTS, TestCase};
use super::signals;
use super::world::World;
use crate::explore::{
    Bug, Explorer, Options, Outcome, Progress, RoundStats, RunnerError, ShrinkLimits, Shrinker,
    Shrunk, Standing, Totals,
};
use crate::fault::FaultSchedule;
use crate::oracle::{Place, Verdicts};

/// What came of an exploration.
pub struct Searched {
    /// What it found.
    pub outcome: Outcome,
    /// Sums over its branches.
    pub totals: Totals,
    /// Its properties.
    pub verdicts: Verdicts,
    /// The bugs that are wanted, made small.
    pub shrunk: Vec<Shrunk>,
    /// Its folder, if it has one.
    pub recorder: Option<Recorder>,
    /// Whether it ended since its host time was up.
    pub out_of_time: bool,
    /// Host time it took.
    pub elapsed: Duration,
}

impl Searched {
    /// What ended shrinking before it was done.
    pub fn cut(&self) -> &'static str {
        match self.out_of_time {
            true => "out of time",
            false if signals::stopped() => "interrupted",
            false => "at its limit",
        }
    }
}

/// Where an exploration begins, and what is kept of it.
pub struct Begin {
    /// What to explore.
    pub options: Options,
    /// What is kept, if it is.
    pub keep: Option<Keep>,
    /// Host ns after which it explores no further, and shrinks what it found; 0 is never.
    pub time_ns: u64,
}

/// What is kept of an exploration.
pub struct Keep {
    /// Where.
    pub folder: Folder,
    /// What it is made from.
    pub identity: Identity,
    /// Whose functions are told apart.
    pub own: Option<OwnCode>,
    /// What is known before it begins.
    pub kept: Kept,
    /// The state from which it goes on; none begins anew.
    pub state: Option<String>,
}

impl From<Options> for Begin {
    fn from(options: Options) -> Begin {
        Begin {
            options,
            keep: None,
            time_ns: 0,
        }
    }
}

/// Tells of a search on standard error and in its folder.
struct Listener {
    meter: Meter,
    recorder: Option<Recorder>,
}

impl Progress for Listener {
    fn round(&mut self, stats: &RoundStats) {
        self.meter.round(stats);
        if let Some(recorder) = &mut self.recorder {
            recorder.round(stats);
        }
    }

    fn complete(&mut self, standing: &Standing<'_>) {
        if let Some(recorder) = &mut self.recorder {
            recorder.complete(standing);
        }
    }

    fn shrinking(&mut self, runs: u64, limits: &ShrinkLimits, faults: usize) {
        self.meter.shrinking(runs, limits, faults);
    }
}

/// A search that may execute so many instructions may execute this many times as many to shrink what
/// it found.
const SHRINKING: u64 = 4;

/// What `world` says of an exploration, which tries `initial` first; of a shard, its share.
pub fn options(world: &World, initial: Vec<FaultSchedule>) -> Options {
    let settings = &world.settings;
    let (seed, initial) = match settings.shard {
        None => (settings.seed, initial),
        Some(shard) => (shard.seed(settings.seed), shard.share(initial)),
    };
    Options {
        seed,
        rounds: settings.rounds,
        branches: settings.branches,
        generator: world.generator.clone(),
        initial,
        strategy: settings.mode.strategy(),
        ..Options::default()
    }
}

/// Explores `world`. Of the bugs it found, those that `wanted` names are shrunk.
///
/// # Errors
/// Trouble of the host.
pub fn search(
    case: &TestCase,
    world: &World,
    begin: impl Into<Begin>,
    wanted: impl Fn(&[Bug]) -> Vec<&Bug>,
) -> Result<Searched, RunnerError> {
    let settings = &world.settings;
    let mut crew = Crew::gather(&case.name(), settings, Arc::clone(&world.scenario))?;
    let workers = &mut crew.workers;
    let Begin {
        options,
        mut keep,
        time_ns,
    } = begin.into();
    let most = options.instructions;
    let state = keep.as_mut().and_then(|keep| keep.state.take());
    let mut explorer = match &state {
        None => Explorer::new(options, verdicts(case)),
        Some(state) => Explorer::resume(options, state)
            .map_err(|e| RunnerError(format!("the checkpoint has another form: {e}")))?,
    };
    let resumed = state.map(|_| explorer.standing().stats.round);
    let recorder = |keep: Keep| Recorder::new(keep, resumed);
    let watch = Watch::new(settings.wall_limit_ns);
    let mut listener = Listener {
        meter: Meter::new(case.name()),
        recorder: keep.map(recorder),
    };
    let began = Instant::now();
    watch.during(|stop| {
        let mut explore = |stop: &AtomicBool| explorer.explore(workers, stop, &mut listener);
        let outcome = match time_ns {
            0 => explore(stop)?,
            ns => Watch::new(ns).during(explore)?,
        };
        let elapsed = began.elapsed();
        if let Some(recorder) = &mut listener.recorder {
            recorder.ended(&outcome, &explorer.standing());
        }
        // Whoever limits the search does not want to wait for ever behind it.
        let mut limits = ShrinkLimits::default();
        if let Some(budget) = most {
            limits.instructions = limits.instructions.min(budget.saturating_mul(SHRINKING));
        }
        let mut shrunk = Vec::new();
        for bug in wanted(&outcome.bugs) {
            listener.meter.found(bug);
            let shrinker = Shrinker::new(bug.clone(), limits, workers, stop, &mut listener)
                .within(&world.generator);
            shrunk.push(shrinker.shrink()?);
        }
        Ok(Searched {
            outcome,
            totals: explorer.totals().clone(),
            verdicts: explorer.verdicts().clone(),
            shrunk,
            recorder: listener.recorder.take(),
            out_of_time: watch.out_of_time(),
            elapsed,
        })
    })
}

/// Shrinks `bug` of `world` as far as `limits`, the test's time and Ctrl-C let it come.
///
/// # Errors
/// Trouble of the host.
pub fn shrink(
    case: &TestCase,
    world: &World,
    bug: Bug,
    limits: ShrinkLimits,
) -> Result<Shrunk, RunnerError> {
    let settings = &world.settings;
    let mut crew = Crew::gather(&case.name(), settings, Arc::clone(&world.scenario))?;
    let mut meter = Meter::new(case.name());
    let watch = Watch::new(settings.wall_limit_ns);
    watch.during(|stop| {
        let shrinker = Shrinker::new(bug, limits, &mut crew.workers, stop, &mut meter);
        shrinker.within(&world.generator).shrink()
    })
}

/// Verdicts that know the sites that the test may reach: those in its function, which are
/// required, and those in no test's function.
fn verdicts(case: &TestCase) -> Verdicts {
    let mut verdicts = Verdicts::new(case.attributes.require.iter().map(|m| (*m).to_owned()));
    for site in SITES {
        let own = holds(case, site);
        if !own && TESTS.iter().any(|other| holds(other, site)) {
            continue;
        }
        let place = Place {
            file: site.file.to_owned(),
            line: site.line,
            column: site.column,
        };
        verdicts.site(site.kind, site.message, place, own);
    }
    verdicts
}

/// Whether a site stands in the test's function.
fn holds(case: &TestCase, site: &Site) -> bool {
    site.file == case.file && (case.line..=case.end_line).contains(&site.line)
}

/// Sets a flag when somebody asks to stop, or when host time is up.
struct Watch {
    deadline: Option<Instant>,
    stop: AtomicBool,
    done: AtomicBool,
}

impl Watch {
    /// A watch that ends after so many ns of host time; 0 is never.
    fn new(limit_ns: u64) -> Watch {
        let limit = (limit_ns > 0).then(|| Duration::from_nanos(limit_ns));
        Watch {
            deadline: limit.map(|limit| Instant::now() + limit),
            stop: AtomicBool::new(false),
            done: AtomicBool::new(false),
        }
    }

    fn out_of_time(&self) -> bool {
        !signals::stopped() && self.deadline.is_some_and(|end| Instant::now() >= end)
    }

    /// Runs `work` with the flag, watching meanwhile.
    fn during<T>(&self, work: impl FnOnce(&AtomicBool) -> T) -> T {
        const PAUSE: Duration = Duration::from_millis(20);
        struct Done<'a>(&'a AtomicBool);
        impl Drop for Done<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        thread::scope(|scope| {
            scope.spawn(|| {
                while !self.done.load(Ordering::Relaxed) {
                    if signals::stopped() || self.out_of_time() {
                        self.stop.store(true, Ordering::Relaxed);
                    }
                    thread::sleep(PAUSE);
                }
            });
            let _done = Done(&self.done);
            work(&self.stop)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_that_is_up_stops_the_work() {
        let watch = Watch::new(1_000_000);
        let stopped = watch.during(|stop| {
            let began = Instant::now();
            while !stop.load(Ordering::Relaxed) && began.elapsed() < Duration::from_secs(10) {
                thread::yield_now();
            }
            stop.load(Ordering::Relaxed)
        });
        assert!(stopped && watch.out_of_time());
    }

    #[test]
    fn without_a_limit_time_is_never_up() {
        let watch = Watch::new(0);
        assert!(!watch.during(|stop| stop.load(Ordering::Relaxed)));
        assert!(!watch.out_of_time());
    }
}
