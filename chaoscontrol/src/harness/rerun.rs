//! Runs one known branch from its beginning and remembers all of it: for reports, replays
//! and fixed schedules.

use std::sync::Arc;

use crate::cluster::{ClusterError, NetworkStats};
use crate::explore::simulation::{Entry, Scenario, Simulation, Tally};
use crate::explore::{Recipe, Reseed};
use crate::oracle::{Failure, PropertyOracle};

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
    /// What it did.
    pub tally: Tally,
    /// What became of its packets.
    pub network: NetworkStats,
    /// What it showed of each property.
    pub oracle: PropertyOracle,
}

/// Runs `recipe` in `scenario`, from the boot snapshot on.
///
/// # Errors
/// A host without memory.
pub fn rerun(scenario: &Arc<Scenario>, recipe: &Recipe) -> Result<Rerun, ClusterError> {
    let mut simulation = Simulation::new(Arc::clone(scenario))?;
    simulation.record();
    simulation.set_up();
    simulation.begin(recipe.seed, recipe.schedule.clone());
    let start_ns = simulation.start_ns();
    for Reseed { at_ns, seed } in &recipe.reseeds {
        simulation.run_until(start_ns.unwrap_or(0).saturating_add(*at_ns));
        simulation.cluster().branch(*seed);
    }
    simulation.run_until(u64::MAX);
    Ok(Rerun {
        failure: simulation.failure().cloned(),
        timeline: simulation.timeline().to_vec(),
        start_ns,
        state_hash: simulation.state_hash(),
        tally: simulation.tally().clone(),
        network: simulation.network().clone(),
        oracle: simulation.oracle().clone(),
    })
}
