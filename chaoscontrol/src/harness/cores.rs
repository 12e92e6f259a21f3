//! The host's cores, shared by all test processes: nextest runs one process a test, and
//! each wants workers.
//!
//! A core is a lock file; whoever holds it may run one worker. One worker is always
//! granted, so that no test waits for another, and how many there are never changes a
//! result.

use std::env;
use std::fs::{self, File};
use std::thread::{self, JoinHandle};

use super::pin::{self, PinError};
use crate::image::cache;

/// Cores this process may use until the value is dropped.
#[derive(Debug)]
pub struct Cores {
    held: Vec<(usize, File)>,
}

impl Cores {
    /// Takes up to `wanted` free cores.
    pub fn take(wanted: usize) -> Cores {
        let folder = env::temp_dir().join(format!("chaoscontrol-cores-{}", user()));
        let _ = fs::create_dir_all(&folder);
        let lock = |core: usize| {
            let mut options = File::options();
            options.create(true).truncate(false).write(true);
            let file = options.open(folder.join(core.to_string())).ok()?;
            file.try_lock().ok().map(|()| (core, file))
        };
        let all = usable(pin::allowed().ok()).into_iter();
        Cores {
            held: all.filter_map(lock).take(wanted).collect(),
        }
    }

    /// How many workers may run, at least 1.
    pub fn workers(&self) -> usize {
        self.held.len().max(1)
    }

    /// Whether each of so many workers could have a core of its own.
    ///
    /// # Errors
    /// It couldn't, whatever other processes do.
    pub fn suffice(workers: usize) -> Result<(), PinError> {
        let cores = usable(Some(pin::allowed()?)).len();
        if workers > cores {
            return Err(PinError::TooFew { workers, cores });
        }
        Ok(())
    }

    /// Keeps each of `threads` on a core that this process holds, in order, and answers how
    /// many are left over, since other processes hold the rest of the cores.
    ///
    /// # Errors
    /// The host refuses it.
    pub fn pin(&self, threads: &[JoinHandle<()>]) -> Result<usize, PinError> {
        for (thread, (core, _)) in threads.iter().zip(&self.held) {
            pin::pin(thread, *core)?;
        }
        Ok(threads.len().saturating_sub(self.held.len()))
    }
}

/// The numbers of the cores that the process may fill; `allowed` are those it may run on, but
/// it may have been given less time than all of them have.
fn usable(allowed: Option<Vec<usize>>) -> Vec<usize> {
    let most = thread::available_parallelism().map_or(1, |n| n.get());
    let mut cores = allowed.unwrap_or_else(|| (0..most).collect());
    cores.truncate(most);
    cores
}

fn user() -> String {
    cache::folder().display().to_string().replace('/', "_")
}
