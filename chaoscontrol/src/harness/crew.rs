//! The workers of a run, with the cores that they fill: how many there are and where they
//! run is settled here for whoever runs branches.

use std::sync::Arc;

use super::cores::Cores;
use super::count::count;
use super::settings::Settings;
use crate::explore::simulation::{Checkpoint, Scenario, SimulationFactory};
use crate::explore::{RunnerError, Workers};

/// Workers on cores that no other process of ours fills meanwhile.
pub struct Crew {
    /// The workers.
    pub workers: Workers<Checkpoint>,
    /// Given back when the workers are gone.
    _cores: Cores,
}

impl Crew {
    /// Workers for `scenario`: as many as `settings` say, else one for each free core. With
    /// `pin` each is kept on a core of its own, as far as other processes leave some; `who` is
    /// told about the rest.
    ///
    /// # Errors
    /// Trouble of the host, or more workers that are to be pinned than cores.
    pub fn gather(
        who: &str,
        settings: &Settings,
        scenario: Arc<Scenario>,
    ) -> Result<Crew, RunnerError> {
        let wanted = settings.workers as usize;
        let cores = Cores::take(if wanted == 0 { usize::MAX } else { wanted });
        let threads = if wanted == 0 { cores.workers() } else { wanted };
        let trouble = |error: super::pin::PinError| RunnerError(error.to_string());
        if settings.pin {
            Cores::suffice(threads).map_err(trouble)?;
        }
        let workers = Workers::new(&SimulationFactory::new(scenario), threads)?;
        if settings.pin {
            let left = cores.pin(workers.threads()).map_err(trouble)?;
            if left > 0 {
                eprintln!(
                    "chaoscontrol: {who}: {} not pinned, since other processes hold the other cores",
                    count(left as u64, "worker")
                );
            }
        }
        Ok(Crew {
            workers,
            _cores: cores,
        })
    }
}
