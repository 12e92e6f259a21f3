//! Runs one known branch from its beginning and remembers all of it: for reports, replays
//! and fixed schedules.

use std::sync::Arc;

use super::count::count;
use crate::cluster::{ClusterError, TICK_NS};
use crate::explore::Recipe;
use crate::explore::simulation::{Entry, Scenario, Simulation, Trouble};
use crate::oracle::Failure;
use crate::replay::{HashRecord, TickRecord};

/// Instants that a regression file keeps of a branch.
const KEPT: u64 = 16;

/// Why a branch could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum RerunError {
    /// A host without memory.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The engine or the test's `check`; no guest has to do with that.
    #[error("the run broke off: {0}")]
    Trouble(#[from] Trouble),
}

/// Why a run is not reproducible in which somebody had to meddle with a guest.
const SPUN: &str =
    "not reproducible: a guest ran on and on without an exit, until it was interrupted";

/// A branch that was run.
#[derive(Clone, Debug)]
pub struct Rerun {
    /// How it failed, if it did.
    pub failure: Option<Failure>,
    /// What happened, line by line.
    pub timeline: Vec<Entry>,
    /// Cluster time of schedule time 0, if setup was completed.
    pub start_ns: Option<u64>,
    /// Hash of the state it ended in.
    pub state_hash: u64,
    /// State hashes, by ns after setup: where setup was complete, at the stops asked for, at
    /// the end.
    pub trail: HashRecord,
    /// Why it may not come again, if so, in words.
    pub unreproducible: Option<&'static str>,
    /// Instructions that guests tried to execute and the CPU does not have, a phrase each.
    pub missing: Vec<String>,
}

/// Runs `recipe` in `scenario`, from the boot snapshot on, recording hashes at `stops` (ns after
/// setup, in order).
///
/// # Errors
/// See [`RerunError`].
pub fn rerun(
    scenario: &Arc<Scenario>,
    recipe: &Recipe,
    stops: &[u64],
) -> Result<Rerun, RerunError> {
    disturbed(scenario, recipe, stops, |_, _| ())
}

/// The same with something done to it at the stops, after they are recorded.
fn disturbed(
    scenario: &Arc<Scenario>,
    recipe: &Recipe,
    stops: &[u64],
    mut disturb: impl FnMut(&mut Simulation, u64),
) -> Result<Rerun, RerunError> {
    let mut simulation = Simulation::new(Arc::clone(scenario))?;
    simulation.record();
    simulation.set_up();
    let start_ns = simulation.start_ns().unwrap_or(0);
    let mut trail = HashRecord::default();
    let mut push = |simulation: &mut Simulation| {
        let tick = TickRecord::of(simulation.cluster());
        trail.push(TickRecord {
            time_ns: tick.time_ns.saturating_sub(start_ns),
            ..tick
        });
    };
    push(&mut simulation);
    simulation.follow(recipe, stops, |simulation, at_ns| {
        push(simulation);
        disturb(simulation, at_ns);
    });
    push(&mut simulation);
    if let Some(error) = simulation.trouble() {
        return Err(error.clone().into());
    }
    simulation.note_open_orders();
    Ok(Rerun {
        failure: simulation.failure().cloned(),
        timeline: simulation.timeline().to_vec(),
        start_ns: simulation.start_ns(),
        unreproducible: (simulation.tally().spins > 0).then_some(SPUN),
        missing: missing(&mut simulation, scenario.cluster.vms),
        state_hash: simulation.state_hash(),
        trail,
    })
}

/// Instants, evenly spread over `span_ns` after setup, for a record that is to be kept.
pub fn spread(span_ns: u64) -> Vec<u64> {
    let step = span_ns.div_ceil(KEPT).next_multiple_of(TICK_NS);
    (1..KEPT).map(|i| i.saturating_mul(step)).collect()
}

fn missing(simulation: &mut Simulation, vms: usize) -> Vec<String> {
    let mut phrases = Vec::new();
    for vm in 0..vms {
        for (name, met) in simulation.cluster().vm(vm).cpu().missing() {
            // Programs execute UD2 on purpose.
            if name.starts_with("Ud") {
                continue;
            }
            let (times, at) = (count(met.count, "time"), met.first_rip);
            phrases.push(format!(
                "vm {vm} executed {name}, an instruction that this CPU does not have, {times}, first at {at:#x}"
            ));
        }
    }
    phrases
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::ClusterConfig;
    use crate::cpu::kvm::{self, testing::or_not_run};
    use crate::machine::testing::beacon_guest;
    use crate::machine::{DeterministicVm, Engine, VmConfig, flat_kernel};

    const MS: u64 = 1_000_000;

    fn scenario(vm: VmConfig) -> Arc<Scenario> {
        Arc::new(Scenario {
            boot: DeterministicVm::new(vm).unwrap().snapshot(),
            cluster: ClusterConfig {
                duration_ns: 100 * MS,
                quiet_ns: 60 * MS,
                ..ClusterConfig::default()
            },
            force_setup_ns: 0,
            stall_ns: 0,
            must_finish: false,
            code_map: None,
            check: None,
        })
    }

    /// A guest that jumps to where there is no memory, from which KVM executes nothing.
    #[test]
    fn a_run_whose_engine_fails_is_an_error_and_no_result() {
        if or_not_run(kvm::open()).is_none() {
            return;
        }
        let scenario = scenario(VmConfig {
            memory_size: 4 << 20,
            kernel: flat_kernel(&[0xB8, 0, 0, 0x80, 0, 0xFF, 0xE0]).into(), // mov eax, 0x80_0000; jmp rax
            engine: Engine::Kvm,
            ..VmConfig::default()
        });
        let error = rerun(&scenario, &Recipe::default(), &[]).unwrap_err();
        let said = error.to_string();
        assert!(
            said.starts_with("the run broke off: KVM failed to run the guest: "),
            "{said}"
        );
    }

    #[test]
    fn a_flipped_bit_is_named_with_its_time_and_its_vm() {
        let scenario = scenario(VmConfig {
            memory_size: 4 << 20,
            kernel: beacon_guest().into(),
            ..VmConfig::default()
        });
        let recipe = Recipe::default();
        let stops = spread(160 * MS);
        assert_eq!((stops.len(), stops[0], stops[14]), (15, 10 * MS, 150 * MS));
        let recorded = rerun(&scenario, &recipe, &stops).unwrap();
        assert_eq!(recorded.trail.ticks.len(), 17);
        let known: Vec<u64> = recorded.trail.ticks.iter().map(|t| t.time_ns).collect();
        let again = rerun(&scenario, &recipe, &known).unwrap();
        assert_eq!(again.trail, recorded.trail);
        let flip = |simulation: &mut Simulation, at_ns| {
            if at_ns == 40 * MS {
                let vm = simulation.cluster().vm_mut(1);
                vm.flip_bit(0x30_0000, 3).unwrap();
            }
        };
        let flipped = disturbed(&scenario, &recipe, &known, flip).unwrap();
        assert_ne!(flipped.state_hash, recorded.state_hash);
        let (short, kept) = (flipped.trail.short(), recorded.trail.short());
        assert_eq!(
            kept.compare(&short).unwrap().to_string(),
            "the runs differ at +0.050 s: vm 1 in memory; they were the same at +0.040 s"
        );
    }
}
