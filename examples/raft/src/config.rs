//! What a server is told when it starts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::{Bug, ServerId};

/// Configuration of a server. All servers of a cluster have the same but for `id` and
/// `data_dir`.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which of `servers` this is.
    pub id: ServerId,
    /// Where all servers listen, this one too.
    pub servers: Vec<SocketAddr>,
    /// Where log, votes and snapshots are kept. It exists.
    pub data_dir: PathBuf,
    /// How often a leader is heard of at least.
    pub heartbeat: Duration,
    /// For how long a follower waits for its leader at least; it waits up to half as long
    /// again.
    pub election: Duration,
    /// A snapshot replaces the log when that has so many entries.
    pub snapshot_every: usize,
    /// The mistake to make.
    pub bug: Option<Bug>,
}

impl Config {
    /// Server `id` of `servers`, that keeps its data in `data_dir`.
    pub fn new(id: ServerId, servers: Vec<SocketAddr>, data_dir: impl Into<PathBuf>) -> Config {
        Config {
            id,
            servers,
            data_dir: data_dir.into(),
            heartbeat: Duration::from_millis(80),
            election: Duration::from_millis(250),
            snapshot_every: 48,
            bug: None,
        }
    }

    /// Whether the server is to make this mistake.
    pub(crate) fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// How many servers are a majority.
    pub(crate) fn majority(&self) -> usize {
        self.servers.len() / 2 + 1
    }
}
