//! What a search has to find: each planted mistake, by the property that it breaks.

use chaoscontrol::prelude::*;
use raft::Bug;

use crate::{BUSY, LOAD, READERS, cluster};

#[rustfmt::skip]
#[chaos_test(
    vms = 4, clients = 1, rounds = 40, duration = "6s", disk = "16M",
    faults = [
        "partition", "one-way-partition", "latency", "loss", "heal", "kill", "restart", "pause",
        "resume",
    ]
)]
#[should_panic(expected = "one leader per term")]
#[ignore = "minutes"]
fn double_vote(node: Node) -> Result {
    cluster(node, Some(Bug::DoubleVote), LOAD)
}

#[rustfmt::skip]
#[chaos_test(
    vms = 4, clients = 1, rounds = 40, duration = "6s", disk = "16M",
    faults = [
        "partition", "one-way-partition", "latency", "loss", "heal", "kill", "restart", "pause",
        "resume",
    ]
)]
#[should_panic(expected = "a committed entry never changes")]
fn skip_truncate(node: Node) -> Result {
    cluster(node, Some(Bug::SkipTruncate), LOAD)
}

#[rustfmt::skip]
#[chaos_test(
    vms = 4, clients = 1, rounds = 40, duration = "6s", disk = "16M",
    faults = [
        "partition", "one-way-partition", "latency", "loss", "heal", "kill", "restart", "pause",
        "resume",
    ]
)]
#[should_panic(expected = "a committed entry never changes")]
#[ignore = "minutes"]
fn accept_stale_term(node: Node) -> Result {
    cluster(node, Some(Bug::AcceptStaleTerm), LOAD)
}

#[rustfmt::skip]
#[chaos_test(
    vms = 4, clients = 1, rounds = 40, duration = "6s", disk = "16M",
    faults = [
        "partition", "one-way-partition", "latency", "loss", "heal", "kill", "restart", "pause",
        "resume",
    ]
)]
#[should_panic(expected = "one leader per term")]
fn leader_no_stepdown(node: Node) -> Result {
    cluster(node, Some(Bug::LeaderNoStepdown), LOAD)
}

#[rustfmt::skip]
#[chaos_test(
    vms = 4, clients = 1, rounds = 40, duration = "6s", disk = "16M",
    faults = [
        "partition", "one-way-partition", "latency", "loss", "heal", "kill", "restart", "pause",
        "resume",
    ]
)]
#[should_panic(expected = "a committed entry never changes")]
fn premature_commit(node: Node) -> Result {
    cluster(node, Some(Bug::PrematureCommit), LOAD)
}

#[rustfmt::skip]
#[chaos_test(
    vms = 4, clients = 1, rounds = 40, duration = "6s", disk = "16M",
    faults = [
        "partition", "one-way-partition", "latency", "loss", "heal", "kill", "restart", "pause",
        "resume",
    ]
)]
#[should_panic(expected = "one leader per term")]
#[ignore = "minutes"]
fn vote_not_synced(node: Node) -> Result {
    cluster(node, Some(Bug::VoteNotSynced), LOAD)
}

#[rustfmt::skip]
#[chaos_test(
    vms = 4, clients = 1, rounds = 40, duration = "6s", disk = "16M",
    faults = [
        "partition", "one-way-partition", "latency", "loss", "heal", "kill", "restart", "pause",
        "resume",
    ]
)]
#[should_panic(expected = "a committed entry never changes")]
#[ignore = "minutes"]
fn log_not_synced(node: Node) -> Result {
    cluster(node, Some(Bug::LogNotSynced), LOAD)
}

#[rustfmt::skip]
#[chaos_test(
    vms = 4, clients = 1, rounds = 40, duration = "6s", disk = "16M",
    faults = [
        "partition", "one-way-partition", "heal", "wall-clock-jump", "skew",
    ]
)]
#[should_panic(expected = "a read sees what was acknowledged before")]
#[ignore = "minutes"]
fn stale_read_by_lease(node: Node) -> Result {
    cluster(node, Some(Bug::StaleReadByLease), READERS)
}

#[rustfmt::skip]
#[chaos_test(
    vms = 4, clients = 1, rounds = 40, duration = "6s", disk = "16M",
    faults = [
        "partition", "kill", "restart", "preempt",
    ]
)]
#[should_panic(expected = "each request has a ticket of its own")]
#[ignore = "minutes"]
fn lost_update_race(node: Node) -> Result {
    cluster(node, Some(Bug::LostUpdateRace), BUSY)
}

#[rustfmt::skip]
#[chaos_test(
    vms = 4, clients = 1, rounds = 40, duration = "6s", disk = "16M",
    faults = [
        "partition", "one-way-partition", "latency", "loss", "heal", "kill", "restart", "pause",
        "resume",
    ]
)]
#[should_panic(expected = "a leader commits by an entry of its own term")]
#[ignore = "minutes"]
fn fig8_commit(node: Node) -> Result {
    cluster(node, Some(Bug::Fig8Commit), BUSY)
}
