//! Raft under faults: without a mistake it has to hold, and each planted one has to be found.

mod batch;
mod found;
mod harmless;
mod scheduled;
mod workload;

use chaoscontrol::prelude::*;
use raft::{Bug, Config, PORT, Server};
use workload::Load;

/// What the client of most tests does.
const LOAD: Load = Load {
    sessions: 2,
    readers: 0,
    pause: 160,
    transfers: false,
};

/// One session writes, another reads.
const READERS: Load = Load {
    sessions: 1,
    readers: 1,
    pause: 40,
    transfers: false,
};

/// Requests come close upon each other.
const BUSY: Load = Load {
    sessions: 3,
    readers: 0,
    pause: 60,
    transfers: false,
};

/// Three servers, and a client VM with several sessions.
fn cluster(node: Node, bug: Option<Bug>, load: Load) -> Result {
    if node.role() == Role::Client {
        return workload::run(&node, load);
    }
    batch::join()?;
    let servers = node
        .servers()
        .iter()
        .map(|peer| peer.socket(PORT))
        .collect();
    let mut config = Config::new(node.index(), servers, node.data_dir());
    config.bug = bug;
    let server = Server::start(config)?;
    server.wait_leader();
    node.setup_complete();
    // It goes on for ever, unless its disk fails.
    Err(server.wait().into())
}

/// The control: no fault that a Raft promises to survive breaks it.
#[rustfmt::skip]
#[chaos_test(
    vms = 4, clients = 1, rounds = 2, duration = "6s", disk = "16M",
    faults = [
        "partition", "one-way-partition", "latency", "jitter", "loss", "reorder", "duplicate",
        "clog", "release", "heal", "kill", "pause", "resume", "restart", "kill-process",
        "skew", "wall-clock-jump", "stall", "preempt",
    ]
)]
fn holds(node: Node) -> Result {
    let transfers = true;
    cluster(node, None, Load { transfers, ..LOAD })
}

/// The same for as long as one likes: `CHAOS_ROUNDS=1000`.
#[rustfmt::skip]
#[chaos_test(
    vms = 4, clients = 1, rounds = 100, duration = "6s", disk = "16M",
    faults = [
        "partition", "one-way-partition", "latency", "jitter", "loss", "reorder", "duplicate",
        "clog", "release", "heal", "kill", "pause", "resume", "restart", "kill-process",
        "skew", "wall-clock-jump", "stall", "preempt",
    ]
)]
#[ignore = "minutes"]
fn holds_for_long(node: Node) -> Result {
    let transfers = true;
    cluster(node, None, Load { transfers, ..LOAD })
}

chaoscontrol::main!();
