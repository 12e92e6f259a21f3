//! What faults cost: host time for the same guest instructions, in branches with and without
//! them.

use std::fs;
use std::sync::Arc;

use super::super::world::World;
use crate::explore::simulation::SimulationFactory;
use crate::explore::{Job, Recipe, Runner, RunnerFactory};
use crate::fault::{FaultSchedule, Generator, Stream};

/// Pairs of branches that are compared.
const PAIRS: u64 = 40;
/// Schedules drawn before `faults` faults are held to be too many for this test.
const DRAWS: usize = 10_000;

/// Processor time of a guest instruction in branches with exactly `faults` faults, as a multiple
/// of that without any. The two take turns under the same seeds on one thread, so that what else the
/// host does concerns both.
pub(super) fn ratio(world: &World, faults: usize) -> Result<f64, String> {
    let mut runner = SimulationFactory::new(Arc::clone(&world.scenario))
        .create()
        .map_err(|e| e.to_string())?;
    let mut generator = world.generator.clone();
    generator.max_faults = faults;
    // Instructions and ns, of branches with and without faults. The first pair fills caches.
    let mut spent = [(0, 0); 2];
    for pair in 0..=PAIRS {
        let schedule = exactly(
            faults,
            &generator,
            &mut Stream::new(pair, "fault cost", &[]),
        )?;
        for (schedule, sums) in [schedule, FaultSchedule::default()]
            .into_iter()
            .zip(&mut spent)
        {
            let recipe = Recipe {
                seed: pair,
                schedule,
                ..Recipe::default()
            };
            let job = Job::new(recipe);
            let before = processor_ns()?;
            let result = runner.run(&job).map_err(|e| e.to_string())?;
            if pair > 0 {
                sums.0 += result.stats.instructions;
                sums.1 += processor_ns()? - before;
            }
        }
    }
    let [with, without] = spent.map(|(instructions, ns)| ns as f64 / instructions.max(1) as f64);
    Ok(with / without)
}

/// A schedule of `count` faults.
fn exactly(
    count: usize,
    generator: &Generator,
    stream: &mut Stream,
) -> Result<FaultSchedule, String> {
    (0..DRAWS)
        .map(|_| generator.generate(stream))
        .find(|schedule| schedule.len() == count)
        .ok_or_else(|| {
            format!("the test's tolerance or faults leave no schedule of {count} faults")
        })
}

/// What this thread has run, in ns.
fn processor_ns() -> Result<u64, String> {
    let path = "/proc/thread-self/schedstat";
    let text = fs::read_to_string(path).map_err(|e| format!("{path} cannot be read: {e}"))?;
    text.split_whitespace()
        .next()
        .and_then(|ns| ns.parse().ok())
        .ok_or_else(|| format!("{path} has no time: {text}"))
}
