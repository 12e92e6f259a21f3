//! `cargo chaos verify`: one branch, several times, each time in a process of its own and
//! under circumstances that must not matter. Whatever differs is named.

use std::env;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::{Arguments, VERB};
use crate::explore::Recipe;
use crate::explore::RunnerFactory;
use crate::explore::simulation::{Simulation, SimulationFactory};
use crate::fault::Stream;
use crate::harness::count::count;
use crate::replay::{HashRecord, TickRecord};

/// Virtual ns between the instants at which hashes are compared.
const STEP_NS: u64 = 100_000_000;
/// The run in which `--corrupt` flips a bit, from 1.
const CORRUPTED: u64 = 3;

/// The parent: runs the branch, compares, and prints the hash last.
pub fn verify(mut arguments: Arguments) -> Result<ExitCode, String> {
    let runs = arguments.number("--runs")?.unwrap_or(5).max(2);
    let seed = arguments.number("--seed")?.unwrap_or(1);
    let corrupt = arguments.switch("--corrupt");
    let test = arguments.test()?.name();
    let executable =
        env::current_exe().map_err(|e| format!("this executable's path is unknown: {e}"))?;
    let mut first: Option<HashRecord> = None;
    let mut same = true;
    let mut last = String::new();
    for run in 1..=runs {
        let mut child = Command::new(&executable);
        child
            .arg(&test)
            .args(["--run", &run.to_string(), "--seed", &seed.to_string()]);
        if let Some(engine) = arguments.engine {
            child.args(["--engine", engine.name()]);
        }
        if corrupt && run == CORRUPTED {
            child.arg("--corrupt");
        }
        // An environment of another size, and other words in it.
        child
            .env(VERB, "verify-run")
            .env("CHAOS_NOISE", "x".repeat(run as usize * 1000));
        child
            .env("TZ", format!("UTC{run}"))
            .env("LANG", if run % 2 == 0 { "C" } else { "C.UTF-8" });
        let output = child
            .stderr(Stdio::inherit())
            .output()
            .map_err(|e| format!("{} cannot be started: {e}", executable.display()))?;
        if !output.status.success() {
            return Err(format!("run {run} ended with {}", output.status));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let (summary, record) = text
            .split_once('\n')
            .ok_or_else(|| format!("run {run} printed no record"))?;
        let record: HashRecord = record
            .parse()
            .map_err(|e| format!("run {run} printed no record: {e}"))?;
        println!("run {run}: {summary}");
        last = summary
            .split_whitespace()
            .last()
            .unwrap_or_default()
            .to_owned();
        match &first {
            None => first = Some(record),
            Some(first) => {
                if let Some(divergence) = first.compare(&record) {
                    println!("run {run} differs from run 1: {divergence} (of cluster time)");
                    same = false;
                }
            }
        }
    }
    if !same {
        println!("the runs differ");
        return Ok(ExitCode::FAILURE);
    }
    let agree = if runs == 1 { "agrees" } else { "agree" };
    println!("{} {agree}; hash {last}", count(runs, "run"));
    Ok(ExitCode::SUCCESS)
}

/// The child: one run under the circumstances that its number stands for.
pub fn run(mut arguments: Arguments) -> Result<ExitCode, String> {
    let number = arguments.number("--run")?.unwrap_or(1);
    let seed = arguments.number("--seed")?.unwrap_or(1);
    let corrupt = arguments.switch("--corrupt");
    let world = arguments.world(|settings| settings.seed = seed)?;
    let mut faults = Stream::new(seed, "verify", &[]);
    let schedule = world.generator.generate(&mut faults);
    let recipe = Recipe {
        seed,
        schedule,
        ..Recipe::default()
    };
    let factory = SimulationFactory::new(Arc::clone(&world.scenario));
    let stop = AtomicBool::new(false);
    // Other workers on other branches, and with them load on the cores.
    let others = (number - 1) % 3;
    let record = thread::scope(|scope| {
        for other in 0..others {
            let (factory, stop) = (&factory, &stop);
            scope.spawn(move || {
                let Ok(mut runner) = factory.create() else {
                    return;
                };
                let mut branch = other;
                while !stop.load(Ordering::Relaxed) {
                    branch += 1000;
                    let noise = Recipe {
                        seed: branch,
                        ..Recipe::default()
                    };
                    let end = |simulation: &mut Simulation, _| simulation.run_until(0);
                    let _ = runner.follow(&noise, None, &[], end);
                }
            });
        }
        let record = observed(&factory, &recipe, number, corrupt);
        stop.store(true, Ordering::Relaxed);
        record
    })?;
    let (record, hash, failure) = record;
    println!(
        "{}, {}, {failure}, hash {hash:016x}",
        count(others, "other worker"),
        count(recipe.schedule.len() as u64, "fault")
    );
    print!("{record}");
    Ok(ExitCode::SUCCESS)
}

/// Runs `recipe`, recording hashes on the way and doing to the machines what they must
/// not notice.
fn observed(
    factory: &SimulationFactory,
    recipe: &Recipe,
    number: u64,
    corrupt: bool,
) -> Result<(HashRecord, u64, String), String> {
    let mut runner = factory.create().map_err(|e| e.to_string())?;
    if number.is_multiple_of(2) {
        // Warm caches: the machines have run another branch before.
        let other = Recipe {
            seed: 99,
            ..Recipe::default()
        };
        runner
            .follow(&other, None, &[], |_, _| ())
            .map_err(|e| e.to_string())?;
    }
    let mut moments = Stream::new(number, "disturbances", &[]);
    let mut record = HashRecord::default();
    let mut steps = Vec::new();
    for step in 1..1000 {
        // An instant that only this run stops at, then one that all runs record.
        steps.push((step - 1) * STEP_NS + 1 + moments.below(STEP_NS - 1));
        steps.push(step * STEP_NS);
    }
    let mut flipped = false;
    runner
        .follow(recipe, None, &steps, |simulation, at_ns| {
            if at_ns.is_multiple_of(STEP_NS) {
                record.push(TickRecord::of(simulation.cluster()));
                return;
            }
            // The last VM, a client where there is one: no fault takes its memory away.
            let last = simulation.cluster().config().vms - 1;
            if corrupt && !flipped && at_ns > 20 * STEP_NS {
                flipped = simulation
                    .cluster()
                    .vm_mut(last)
                    .flip_bit(0x10_0000, 3)
                    .is_ok();
            }
            if number == 1 {
                return;
            }
            match moments.below(4) {
                0 => {
                    let checkpoint = simulation.checkpoint();
                    simulation
                        .restore(&checkpoint)
                        .expect("a cluster takes its own checkpoint");
                }
                1 => {
                    let checkpoint = simulation.checkpoint();
                    simulation.run_until(simulation.now() + 3 * STEP_NS);
                    simulation
                        .restore(&checkpoint)
                        .expect("a cluster takes its own checkpoint");
                }
                2 => {
                    let vms = simulation.cluster().config().vms;
                    let vm = moments.index(vms);
                    simulation.cluster().vm_mut(vm).flush_caches();
                }
                _ => {}
            }
        })
        .map_err(|e| e.to_string())?;
    let simulation = runner.simulation();
    record.push(TickRecord::of(simulation.cluster()));
    let failure = match simulation.failure() {
        Some(failure) => failure
            .describe(simulation.start_ns())
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned(),
        None => "no failure".to_owned(),
    };
    Ok((record, simulation.state_hash(), failure))
}
