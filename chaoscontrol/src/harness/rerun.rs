//! Runs one known branch from its beginning and remembers all of it: for reports, replays
//! and fixed schedules.

use std::sync::Arc;

use crate::cluster::ClusterError;
use crate::explore::Recipe;
use crate::explore::simulation::{Entry, Scenario, Simulation};
use crate::oracle::Failure;

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
    /// Instructions that guests tried to execute and the CPU does not have, a phrase each.
    pub missing: Vec<String>,
}

/// Runs `recipe` in `scenario`, from the boot snapshot on.
///
/// # Errors
/// A host without memory.
pub fn rerun(scenario: &Arc<Scenario>, recipe: &Recipe) -> Result<Rerun, ClusterError> {
    let mut simulation = Simulation::new(Arc::clone(scenario))?;
    simulation.record();
    simulation.set_up();
    simulation.follow(recipe, &[], |_, _| ());
    Ok(Rerun {
        failure: simulation.failure().cloned(),
        timeline: simulation.timeline().to_vec(),
        start_ns: simulation.start_ns(),
        missing: missing(&mut simulation, scenario.cluster.vms),
        state_hash: simulation.state_hash(),
    })
}

fn missing(simulation: &mut Simulation, vms: usize) -> Vec<String> {
    let mut phrases = Vec::new();
    for vm in 0..vms {
        for (name, met) in simulation.cluster().vm(vm).cpu().missing() {
            // Programs execute UD2 on purpose.
            if name.starts_with("Ud") {
                continue;
            }
            let (times, at) = (met.count, met.first_rip);
            phrases.push(format!(
                "vm {vm} executed {name}, an instruction that this CPU does not have, {times} times, first at {at:#x}"
            ));
        }
    }
    phrases
}
