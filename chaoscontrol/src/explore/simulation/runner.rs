//! Branches for the explorer: each worker owns a [`Simulation`] and lets it follow recipes.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use super::signs::signs;
use super::{Checkpoint, Scenario, Simulation};
use crate::cluster::NetworkStats;
use crate::explore::{
    BranchResult, BranchStats, Coverage, Job, Offered, Recipe, Runner, RunnerError, RunnerFactory,
};

/// Makes a runner for each worker; the way to the setup is run only once.
#[derive(Debug)]
pub struct SimulationFactory {
    scenario: Arc<Scenario>,
    ready: Arc<OnceLock<Checkpoint>>,
}

impl SimulationFactory {
    /// A factory for branches of `scenario`.
    pub fn new(scenario: Arc<Scenario>) -> SimulationFactory {
        SimulationFactory {
            scenario,
            ready: Arc::default(),
        }
    }
}

impl RunnerFactory for SimulationFactory {
    type Runner = SimulationRunner;

    fn create(&self) -> Result<SimulationRunner, RunnerError> {
        let simulation = Simulation::new(Arc::clone(&self.scenario)).map_err(trouble)?;
        Ok(SimulationRunner {
            simulation,
            ready: Arc::clone(&self.ready),
        })
    }
}

/// One worker's cluster.
pub struct SimulationRunner {
    simulation: Simulation,
    ready: Arc<OnceLock<Checkpoint>>,
}

fn trouble(error: impl ToString) -> RunnerError {
    RunnerError(error.to_string())
}

impl SimulationRunner {
    /// Follows `recipe` from the setup or from `start` on; see [`Simulation::follow`].
    ///
    /// # Errors
    /// Trouble of the host.
    pub fn follow(
        &mut self,
        recipe: &Recipe,
        start: Option<&Checkpoint>,
        stops: &[u64],
        at: impl FnMut(&mut Simulation, u64),
    ) -> Result<&mut Simulation, RunnerError> {
        let simulation = &mut self.simulation;
        match start {
            Some(checkpoint) => {
                simulation.restore(checkpoint).map_err(trouble)?;
                simulation.follow_on(recipe, stops, at);
            }
            None => {
                // Every worker may be the first; whoever loses has computed the same.
                if self.ready.get().is_none() {
                    let mut fresh =
                        Simulation::new(Arc::clone(&simulation.scenario)).map_err(trouble)?;
                    fresh.set_up();
                    self.ready.get_or_init(|| fresh.checkpoint());
                }
                let ready = self.ready.get().expect("was just set");
                simulation.restore(ready).map_err(trouble)?;
                simulation.follow(recipe, stops, at);
            }
        }
        match simulation.trouble() {
            Some(error) => Err(trouble(error)),
            None => Ok(simulation),
        }
    }

    /// The worker's cluster, as its last branch left it.
    pub fn simulation(&mut self) -> &mut Simulation {
        &mut self.simulation
    }
}

impl Runner for SimulationRunner {
    type Snapshot = Checkpoint;

    fn run(&mut self, job: &Job<Checkpoint>) -> Result<BranchResult<Checkpoint>, RunnerError> {
        let mut snapshots = Vec::new();
        let mut schedule = job.recipe.schedule.clone();
        let aims = job.aimed.instants(&schedule);
        let mut before = job.start.as_ref().map_or(0, Checkpoint::instructions);
        // Where memory was too short for a snapshot, the way to it is run again.
        let fork = job.fork_ns.filter(|_| job.start.is_none());
        let mut stops = [&job.snapshots[..], &aims, job.until_ns.as_slice()].concat();
        stops.extend(fork);
        stops.sort_unstable();
        stops.dedup();
        let limit = |before: u64| {
            job.most
                .map_or(u64::MAX, |most| before.saturating_add(most))
        };
        self.simulation.limit(match fork {
            Some(_) => u64::MAX,
            None => limit(before),
        });
        let simulation = self.follow(
            &job.recipe,
            job.start.as_ref(),
            &stops,
            |simulation, at_ns| {
                if fork == Some(at_ns) {
                    before = simulation.tally().instructions;
                    simulation.limit(limit(before));
                }
                if aims.contains(&at_ns) {
                    let activity = &simulation.tally().activity;
                    if job.aimed.resolve(&mut schedule, at_ns, activity) {
                        simulation.reschedule(schedule.clone());
                    }
                }
                if job.snapshots.contains(&at_ns) {
                    let snapshot = simulation.checkpoint();
                    snapshots.push(Offered {
                        at_ns,
                        bytes: snapshot.owned_bytes(),
                        snapshot,
                    });
                }
                if job.until_ns == Some(at_ns) {
                    simulation.cut_off();
                }
            },
        )?;
        let tally = simulation.tally().clone();
        let mut coverage = sparse(simulation.edges().get());
        coverage.extend(signs(&tally, simulation.oracle()));
        // What a guest did that was not left alone may not happen again.
        let reliable = tally.spins == 0;
        Ok(BranchResult {
            coverage,
            points: simulation.points(),
            oracle: simulation.oracle().clone(),
            failure: simulation.failure().cloned().filter(|_| reliable),
            start_ns: simulation.start_ns(),
            applied: tally.applied,
            recipe: Recipe {
                schedule,
                ..job.recipe.clone()
            },
            stats: BranchStats {
                faults: tally.faults,
                packets: packets(simulation.network()),
                events: tally.events,
                instructions: tally.instructions,
                executed: tally.instructions - before,
                spun: !reliable,
                simulated_ns: simulation.now(),
            },
            state_hash: simulation.state_hash(),
            snapshots,
        })
    }
}

fn sparse(edges: &[u8]) -> Coverage {
    let taken = edges.iter().enumerate().filter(|(_, count)| **count != 0);
    taken
        .map(|(index, count)| (index as u32, u32::from(*count)))
        .collect()
}

fn packets(stats: &NetworkStats) -> BTreeMap<&'static str, u64> {
    BTreeMap::from([
        ("delivered", stats.delivered),
        ("partitioned", stats.partitioned),
        ("lost", stats.lost),
        ("congested", stats.congested),
        ("down", stats.down),
        ("overflowed", stats.overflowed),
        ("unroutable", stats.unroutable),
        ("corrupted", stats.corrupted),
        ("reordered", stats.reordered),
        ("duplicated", stats.duplicated),
        ("held", stats.held),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::ClusterConfig;
    use crate::explore::Reseed;
    use crate::machine::testing::beacon_guest;
    use crate::machine::{DeterministicVm, VmConfig};

    const MS: u64 = 1_000_000;

    /// Two machines that say every ms that their setup is complete.
    fn factory() -> SimulationFactory {
        let vm = VmConfig {
            memory_size: 4 << 20,
            kernel: beacon_guest().into(),
            ..VmConfig::default()
        };
        SimulationFactory::new(Arc::new(Scenario {
            boot: DeterministicVm::new(vm).unwrap().snapshot(),
            cluster: ClusterConfig {
                vms: 2,
                duration_ns: 100 * MS,
                quiet_ns: 50 * MS,
                ..ClusterConfig::default()
            },
            force_setup_ns: 0,
            stall_ns: 0,
            must_finish: false,
            code_map: None,
            check: None,
        }))
    }

    fn job(schedule: &str, start: Option<Checkpoint>) -> Job<Checkpoint> {
        let reseed = Reseed {
            at_ns: 50 * MS,
            seed: 7,
        };
        Job {
            start,
            fork_ns: Some(50 * MS),
            snapshots: vec![50 * MS],
            ..Job::new(Recipe {
                seed: 1,
                reseeds: vec![reseed],
                schedule: schedule.parse().unwrap(),
                inputs: Vec::new(),
            })
        }
    }

    #[test]
    fn a_branch_counts_the_same_whatever_its_worker_did_before() {
        let factory = factory();
        let mut workers = [factory.create().unwrap(), factory.create().unwrap()];
        let kill = "+20 ms kill vm 0\n+80 ms restart vm 0";
        let whole = workers[0].run(&job(kill, None)).unwrap();
        let start = whole.snapshots[0].snapshot.clone();
        let before = start.instructions();
        assert!(before > 0);
        assert_eq!(whole.stats.executed, whole.stats.instructions - before);
        // While it is without power, a machine holds what its worker had in it.
        workers[1].run(&job("", None)).unwrap();
        for worker in &mut workers {
            let fork = worker.run(&job(kill, Some(start.clone()))).unwrap();
            assert_eq!(fork.state_hash, whole.state_hash);
            assert_eq!(fork.stats.instructions, whole.stats.instructions);
            assert_eq!(fork.stats.executed, whole.stats.instructions - before);
        }
    }

    #[test]
    fn a_branch_that_executes_too_much_is_cut_off_wherever_it_is_started() {
        let factory = factory();
        let mut runner = factory.create().unwrap();
        let kill = "+20 ms kill vm 0\n+80 ms restart vm 0";
        let whole = runner.run(&job(kill, None)).unwrap();
        let start = whole.snapshots[0].snapshot.clone();
        let most = whole.stats.executed / 2;
        let cut = |start| Job {
            most: Some(most),
            ..job(kill, start)
        };
        let ways = [cut(None), cut(Some(start))].map(|job| runner.run(&job).unwrap());
        for cut in &ways {
            assert!(cut.stats.executed > most);
            assert!(cut.stats.executed < whole.stats.executed);
            assert_eq!(cut.state_hash, ways[0].state_hash);
        }
        let again = runner.run(&job(kill, None)).unwrap();
        assert_eq!(
            again.state_hash, whole.state_hash,
            "the limit was the job's"
        );
    }

    #[test]
    fn a_branch_that_is_cut_off_can_be_gone_on_with() {
        let factory = factory();
        let mut runner = factory.create().unwrap();
        let kill = "+20 ms kill vm 0\n+80 ms restart vm 0";
        let whole = runner.run(&job(kill, None)).unwrap();
        let until = Job {
            until_ns: Some(50 * MS),
            ..job(kill, None)
        };
        let cut = runner.run(&until).unwrap();
        assert!(cut.stats.simulated_ns + 40 * MS < whole.stats.simulated_ns);
        assert_eq!(cut.applied, whole.applied[..1], "the kill, and no recovery");
        assert_eq!(cut.failure, None);
        let start = cut.snapshots[0].snapshot.clone();
        let on = runner.run(&job(kill, Some(start))).unwrap();
        assert_eq!(on.state_hash, whole.state_hash);
        assert_eq!(on.stats.instructions, whole.stats.instructions);
    }
}
