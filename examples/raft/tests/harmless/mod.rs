//! What the mistakes do not do: break anything while there are no faults. The race is not among
//! them, since a guest's own scheduler may at any time do what the fault does.

use chaoscontrol::prelude::*;
use raft::Bug;

use crate::{BUSY, LOAD, READERS, cluster};

#[rustfmt::skip]
#[chaos_test(
    vms = 4, clients = 1, rounds = 1, branches = 1, duration = "6s", disk = "16M", faults = []
)]
fn double_vote(node: Node) -> Result {
    cluster(node, Some(Bug::DoubleVote), LOAD)
}

#[rustfmt::skip]
#[chaos_test(
    vms = 4, clients = 1, rounds = 1, branches = 1, duration = "6s", disk = "16M", faults = []
)]
fn skip_truncate(node: Node) -> Result {
    cluster(node, Some(Bug::SkipTruncate), LOAD)
}

#[rustfmt::skip]
#[chaos_test(
    vms = 4, clients = 1, rounds = 1, branches = 1, duration = "6s", disk = "16M", faults = []
)]
fn accept_stale_term(node: Node) -> Result {
    cluster(node, Some(Bug::AcceptStaleTerm), LOAD)
}

#[rustfmt::skip]
#[chaos_test(
    vms = 4, clients = 1, rounds = 1, branches = 1, duration = "6s", disk = "16M", faults = []
)]
fn leader_no_stepdown(node: Node) -> Result {
    cluster(node, Some(Bug::LeaderNoStepdown), LOAD)
}

#[rustfmt::skip]
#[chaos_test(
    vms = 4, clients = 1, rounds = 1, branches = 1, duration = "6s", disk = "16M", faults = []
)]
fn fig8_commit(node: Node) -> Result {
    cluster(node, Some(Bug::Fig8Commit), BUSY)
}

#[rustfmt::skip]
#[chaos_test(
    vms = 4, clients = 1, rounds = 1, branches = 1, duration = "6s", disk = "16M", faults = []
)]
fn premature_commit(node: Node) -> Result {
    cluster(node, Some(Bug::PrematureCommit), LOAD)
}

#[rustfmt::skip]
#[chaos_test(
    vms = 4, clients = 1, rounds = 1, branches = 1, duration = "6s", disk = "16M", faults = []
)]
fn vote_not_synced(node: Node) -> Result {
    cluster(node, Some(Bug::VoteNotSynced), LOAD)
}

#[rustfmt::skip]
#[chaos_test(
    vms = 4, clients = 1, rounds = 1, branches = 1, duration = "6s", disk = "16M", faults = []
)]
fn log_not_synced(node: Node) -> Result {
    cluster(node, Some(Bug::LogNotSynced), LOAD)
}

#[rustfmt::skip]
#[chaos_test(
    vms = 4, clients = 1, rounds = 1, branches = 1, duration = "6s", disk = "16M", faults = []
)]
fn stale_read_by_lease(node: Node) -> Result {
    cluster(node, Some(Bug::StaleReadByLease), READERS)
}
