//! Raft under faults: without a mistake it has to hold, and each planted one has to be found.

mod workload;

use chaoscontrol::prelude::*;
use raft::{Bug, Config, PORT, Server};
use workload::Load;

/// What the client of most tests does.
const LOAD: Load = Load {
    sessions: 2,
    pause: 160,
    transfers: true,
};

/// Three servers, and a client VM with several sessions.
fn cluster(node: Node, bug: Option<Bug>, load: Load) -> Result {
    if node.role() == Role::Client {
        return workload::run(&node, load);
    }
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
    cluster(node, None, LOAD)
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
    cluster(node, None, LOAD)
}

chaoscontrol::main!();
