//! The host's cores, shared by all test processes: nextest runs one process a test, and
//! each wants workers.
//!
//! A core is a lock file; whoever holds it may run one worker. One worker is always
//! granted, so that no test waits for another, and how many there are never changes a
//! result.

use std::env;
use std::fs::{self, File};
use std::thread;

use crate::image::cache;

/// Cores this process may use until the value is dropped.
#[derive(Debug)]
pub struct Cores {
    held: Vec<File>,
}

impl Cores {
    /// Takes up to `wanted` free cores.
    pub fn take(wanted: usize) -> Cores {
        let folder = env::temp_dir().join(format!("chaoscontrol-cores-{}", user()));
        let _ = fs::create_dir_all(&folder);
        let all = thread::available_parallelism().map_or(1, |n| n.get());
        let lock = |core: usize| {
            let mut options = File::options();
            options.create(true).truncate(false).write(true);
            let file = options.open(folder.join(core.to_string())).ok()?;
            file.try_lock().ok().map(|()| file)
        };
        Cores {
            held: (0..all).filter_map(lock).take(wanted).collect(),
        }
    }

    /// How many workers may run, at least 1.
    pub fn workers(&self) -> usize {
        self.held.len().max(1)
    }
}

fn user() -> String {
    cache::folder().display().to_string().replace('/', "_")
}
