//! `cargo chaos bench`: what the engine does on this machine, for the test that is named.
//!
//! Both engines have the same figures. KVM counts exits where the software CPU counts
//! instructions; since the two execute the same by exits, the software CPU in its stead counts
//! the instructions of what KVM's time was measured for. That concerns `boot_instructions`,
//! `mips_boot`, `mips_mixed` and `instructions_per_branch`; all else is KVM's own.

use std::fs;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::{Arguments, fault_cost, mix};
use crate::cluster::{ClusterConfig, SimulationController, boot};
use crate::explore::simulation::{Scenario, Simulation};
use crate::explore::{Explorer, Options, Silent, Strategy, Totals};
use crate::fault::Generator;
use crate::machine::{DeterministicVm, Engine, OutputKind, Until, VmConfig, flat_kernel};
use crate::oracle::Verdicts;

use super::super::crew::Crew;
use super::super::world::World;

/// Boots measured; the fastest counts, since only the host can make one slower.
const BOOTS: usize = 5;
/// Guest instructions of the mix that are measured.
const MIX_INSTRUCTIONS: u64 = 200_000_000;
/// How long exits are counted.
const EXITS_FOR: Duration = Duration::from_millis(500);
/// Pages written before each restore, in each VM.
const PAGES: u64 = 100;
/// For how many seconds branches are counted, unless `--seconds` says so.
const BRANCHES_FOR: u64 = 20;

/// A figure with its name and the digits that mean something.
type Row = (&'static str, f64, usize);

/// Prints the figures.
pub fn bench(mut arguments: Arguments) -> Result<ExitCode, String> {
    let json = arguments.switch("--json");
    let faults = arguments.number("--faults")?;
    let seconds = arguments.number("--seconds")?.unwrap_or(BRANCHES_FOR);
    let world = arguments.world(|settings| settings.wall_limit_ns = 0)?;
    let search = Search::new(&world, faults, Arc::clone(&world.scenario))?;
    let mut rows: Vec<Row> = Vec::new();
    boots(&world, &mut rows)?;
    rows.push((
        "packed_mib",
        world.booted.initramfs.bytes.len() as f64 / f64::from(1 << 20),
        2,
    ));
    mixed(&world, &mut rows)?;
    exits(&world, &mut rows)?;
    restores(&world, &mut rows)?;
    branches(&world, search, Duration::from_secs(seconds), &mut rows)?;
    if let Some(count @ 1..) = faults {
        let ratio = fault_cost::ratio(&world, count as usize)?;
        rows.push(("fault_time_ratio", ratio, 3));
    }
    rows.push(("peak_memory_mib", peak_memory_mib(), 0));
    if json {
        let fields: Vec<String> = rows
            .iter()
            .map(|(name, value, digits)| format!("\"{name}\": {value:.digits$}"))
            .collect();
        println!("{{{}}}", fields.join(", "));
    } else {
        for (name, value, digits) in rows {
            println!("{name:<28} {value:>14.digits$}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn vm_config(world: &World) -> VmConfig {
    VmConfig {
        memory_size: world.settings.memory,
        kernel: Arc::clone(&world.booted.kernel.bytes),
        initrd: Arc::clone(&world.booted.initramfs.bytes),
        epoch: world.settings.epoch,
        instruction_ns: world.settings.instruction_ns,
        engine: world.booted.engine,
        ..VmConfig::default()
    }
}

/// A scenario of `vms` machines whose body is `test`.
fn scenario(world: &World, vms: usize, test: &str) -> Arc<Scenario> {
    let cluster = ClusterConfig {
        vms,
        clients: 0,
        test: test.to_owned(),
        ..world.scenario.cluster.clone()
    };
    Arc::new(Scenario {
        cluster,
        code_map: None,
        stall_ns: 0,
        must_finish: false,
        check: None,
        ..(*world.scenario).clone()
    })
}

/// A single machine booted with `config` whose body is the mix, when it has begun.
fn begun(world: &World, config: VmConfig) -> Result<Simulation, String> {
    let boot = boot(config).map_err(|e| e.to_string())?;
    let mut simulation = Simulation::new(Arc::new(Scenario {
        boot,
        ..(*scenario(world, 1, mix::NAME)).clone()
    }))
    .map_err(|e| e.to_string())?;
    // The mix completes its setup first thing.
    simulation.set_up();
    Ok(simulation)
}

/// The same machine on an engine that counts instructions. Where only exits count, that is the
/// software CPU in its stead: it executes the same.
fn counting(world: &World) -> VmConfig {
    let mut config = vm_config(world);
    config.cpu.by_exits = config.engine != Engine::Soft;
    config.engine = Engine::Soft;
    config
}

/// From the kernel's entry to the body of one VM.
fn boots(world: &World, rows: &mut Vec<Row>) -> Result<(), String> {
    let mut best = f64::INFINITY;
    for _ in 0..BOOTS {
        let start = Instant::now();
        begun(world, vm_config(world))?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    let instructions = begun(world, counting(world))?.cluster().vm(0).retired();
    rows.push(("boot_instructions", instructions as f64, 0));
    rows.push(("boot_seconds", best, 3));
    rows.push(("mips_boot", instructions as f64 / best / 1e6, 1));
    Ok(())
}

/// Lets the mix go on to its next event.
fn mix_once(vm: &mut DeterministicVm) -> Result<(), String> {
    let until = Until {
        exits: Some(1),
        ..Until::default()
    };
    while vm.off().is_none() {
        vm.run(&until);
        let sent = vm.take_outputs();
        if sent
            .iter()
            .any(|output| matches!(output.kind, OutputKind::Message(_)))
        {
            return Ok(());
        }
    }
    Err(format!("the mix ended: {:?}", vm.off()))
}

/// User code of loads, stores, arithmetic, calls and branches.
fn mixed(world: &World, rows: &mut Vec<Row>) -> Result<(), String> {
    let mut counted = begun(world, counting(world))?;
    let vm = counted.cluster().vm_mut(0);
    mix_once(vm)?;
    let before = vm.retired();
    mix_once(vm)?;
    let instructions = vm.retired() - before;
    let mut simulation = begun(world, vm_config(world))?;
    let vm = simulation.cluster().vm_mut(0);
    mix_once(vm)?;
    let start = Instant::now();
    let times = MIX_INSTRUCTIONS.div_ceil(instructions.max(1));
    for _ in 0..times {
        mix_once(vm)?;
    }
    let seconds = start.elapsed().as_secs_f64();
    rows.push((
        "mips_mixed",
        (instructions * times) as f64 / seconds / 1e6,
        1,
    ));
    Ok(())
}

/// Accesses to a port by a guest that does nothing else.
fn exits(world: &World, rows: &mut Vec<Row>) -> Result<(), String> {
    let config = VmConfig {
        memory_size: 4 << 20,
        kernel: flat_kernel(&[0xE6, 0x80, 0xEB, 0xFC]).into(), // out 0x80, al; jmp to it
        initrd: Arc::from([]),
        ..vm_config(world)
    };
    let mut vm = DeterministicVm::new(config).map_err(|e| e.to_string())?;
    let (start, begun) = (Instant::now(), vm.exits());
    while start.elapsed() < EXITS_FOR {
        vm.run(&Until {
            exits: Some(1000),
            ..Until::default()
        });
        if let Some(off) = vm.off() {
            return Err(format!("a guest of two instructions ended: {off}"));
        }
    }
    let count = vm.exits() - begun;
    rows.push((
        "exits_per_second",
        count as f64 / start.elapsed().as_secs_f64(),
        0,
    ));
    Ok(())
}

/// Restores after [`PAGES`] pages of each VM were written.
fn restores(world: &World, rows: &mut Vec<Row>) -> Result<(), String> {
    let write = |vm: &mut DeterministicVm| {
        for page in 0..PAGES {
            // Spread over memory, as a guest's writes are.
            vm.flip_bit((64 + page * 150) * 4096, 0)
                .expect("the address is in memory");
        }
    };
    for (name, vms) in [
        ("restores_per_second_1vm", 1),
        ("restores_per_second_3vm", 3),
    ] {
        let scenario = scenario(world, vms, mix::NAME);
        let mut cluster = SimulationController::new(&scenario.boot, scenario.cluster.clone())
            .map_err(|e| e.to_string())?;
        let snapshot = cluster.snapshot();
        let mut spent = Duration::ZERO;
        let mut count = 0;
        while spent < Duration::from_secs(1) {
            (0..vms).for_each(|vm| write(cluster.vm_mut(vm)));
            let start = Instant::now();
            cluster.restore(&snapshot).map_err(|e| e.to_string())?;
            spent += start.elapsed();
            count += 1;
        }
        rows.push((name, f64::from(count) / spent.as_secs_f64(), 0));
    }
    Ok(())
}

/// Whole branches, as an exploration runs them, for about as long as `how_long`.
fn branches(
    world: &World,
    mut search: Search,
    how_long: Duration,
    rows: &mut Vec<Row>,
) -> Result<(), String> {
    // The setup is run once for all branches, and caches fill.
    search.explore(1, 0)?;
    let start = Instant::now();
    let mut rounds = Vec::new();
    while rounds.is_empty() || start.elapsed() < how_long {
        rounds.push(search.explore(2, rounds.len() as u64 + 1)?);
    }
    let seconds = start.elapsed().as_secs_f64();
    let faults = search.faults;
    // Its cores are for whoever comes next.
    drop(search);
    let instructions = match world.booted.engine {
        Engine::Soft => mean(&rounds, |totals| totals.instructions),
        Engine::Kvm => instructions(world, faults)?,
    };
    let count = sum(&rounds, |totals| totals.branches);
    let events = mean(&rounds, |totals| totals.events.values().sum());
    let simulated = sum(&rounds, |totals| totals.simulated_ns) / 1e9;
    rows.extend([
        ("branches_per_minute", count * 60.0 / seconds, 1),
        ("branches", count, 0),
        ("branches_failed", sum(&rounds, |totals| totals.failed), 0),
        ("events_per_branch", events, 1),
        ("instructions_per_branch", instructions, 0),
        ("simulated_seconds_per_second", simulated / seconds, 1),
    ]);
    Ok(())
}

fn sum(rounds: &[Totals], of: fn(&Totals) -> u64) -> f64 {
    rounds.iter().map(of).sum::<u64>() as f64
}

/// For each branch.
fn mean(rounds: &[Totals], of: fn(&Totals) -> u64) -> f64 {
    sum(rounds, of) / sum(rounds, |totals| totals.branches).max(1.0)
}

/// Instructions of a branch, counted by the software CPU in the first of the measured rounds,
/// which begins alike on both engines: nothing has been learnt that could guide it.
fn instructions(world: &World, faults: Option<u64>) -> Result<f64, String> {
    let scenario = Scenario {
        boot: boot(counting(world)).map_err(|e| e.to_string())?,
        code_map: None,
        ..(*world.scenario).clone()
    };
    let round = Search::new(world, faults, Arc::new(scenario))?.explore(1, 1)?;
    Ok(mean(&[round], |totals| totals.instructions))
}

/// How branches are looked for, and who runs them: the workers that the test would have.
struct Search {
    generator: Generator,
    strategy: Strategy,
    branches: u64,
    /// The most faults of a branch, if it is to have a random schedule.
    faults: Option<u64>,
    crew: Crew,
}

impl Search {
    fn new(world: &World, faults: Option<u64>, scenario: Arc<Scenario>) -> Result<Search, String> {
        let mut generator = world.generator.clone();
        match faults {
            Some(0) => generator.aims.clear(),
            Some(most) => generator.max_faults = most as usize,
            None => {}
        }
        Ok(Search {
            generator,
            strategy: match faults {
                None => Strategy::Guided,
                Some(_) => Strategy::Random,
            },
            branches: world.settings.branches,
            faults,
            crew: Crew::gather("bench", &world.settings, scenario).map_err(|e| e.to_string())?,
        })
    }

    fn explore(&mut self, rounds: u64, seed: u64) -> Result<Totals, String> {
        let options = Options {
            seed,
            rounds,
            branches: self.branches,
            generator: self.generator.clone(),
            strategy: self.strategy,
            stop_at_failure: false,
            ..Options::default()
        };
        let mut explorer = Explorer::new(options, Verdicts::new([]));
        let workers = &mut self.crew.workers;
        explorer
            .explore(workers, &AtomicBool::new(false), &mut Silent)
            .map_err(|e| e.to_string())?;
        Ok(explorer.totals().clone())
    }
}

/// The most memory this process had resident.
fn peak_memory_mib() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}
