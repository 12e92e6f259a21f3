//! The mistakes by schedules that are known to show them.

use chaoscontrol::prelude::*;
use raft::Bug;

use crate::{BUSY, LOAD, READERS, cluster};

#[rustfmt::skip]
#[chaos_test(
    vms = 4, clients = 1, duration = "6s", disk = "16M",
    schedule = "tests/schedules/double_vote.txt"
)]
#[should_panic(expected = "one leader per term")]
fn double_vote(node: Node) -> Result {
    cluster(node, Some(Bug::DoubleVote), LOAD)
}

#[rustfmt::skip]
#[chaos_test(
    vms = 4, clients = 1, duration = "6s", disk = "16M",
    schedule = "tests/schedules/skip_truncate.txt"
)]
#[should_panic(expected = "a committed entry never changes")]
fn skip_truncate(node: Node) -> Result {
    cluster(node, Some(Bug::SkipTruncate), LOAD)
}

#[rustfmt::skip]
#[chaos_test(
    vms = 4, clients = 1, duration = "6s", disk = "16M",
    schedule = "tests/schedules/accept_stale_term.txt"
)]
#[should_panic(expected = "a committed entry never changes")]
fn accept_stale_term(node: Node) -> Result {
    cluster(node, Some(Bug::AcceptStaleTerm), LOAD)
}

#[rustfmt::skip]
#[chaos_test(
    vms = 4, clients = 1, duration = "6s", disk = "16M",
    schedule = "tests/schedules/leader_no_stepdown.txt"
)]
#[should_panic(expected = "one leader per term")]
fn leader_no_stepdown(node: Node) -> Result {
    cluster(node, Some(Bug::LeaderNoStepdown), LOAD)
}

#[rustfmt::skip]
#[chaos_test(
    vms = 4, clients = 1, duration = "6s", disk = "16M",
    schedule = "tests/schedules/premature_commit.txt"
)]
#[should_panic(expected = "a committed entry never changes")]
fn premature_commit(node: Node) -> Result {
    cluster(node, Some(Bug::PrematureCommit), LOAD)
}

#[rustfmt::skip]
#[chaos_test(
    vms = 4, clients = 1, duration = "6s", disk = "16M",
    schedule = "tests/schedules/vote_not_synced.txt"
)]
#[should_panic(expected = "one leader per term")]
fn vote_not_synced(node: Node) -> Result {
    cluster(node, Some(Bug::VoteNotSynced), LOAD)
}

#[rustfmt::skip]
#[chaos_test(
    vms = 4, clients = 1, duration = "6s", disk = "16M",
    schedule = "tests/schedules/log_not_synced.txt"
)]
#[should_panic(expected = "a committed entry never changes")]
fn log_not_synced(node: Node) -> Result {
    cluster(node, Some(Bug::LogNotSynced), LOAD)
}

#[rustfmt::skip]
#[chaos_test(
    vms = 4, clients = 1, duration = "6s", disk = "16M",
    schedule = "tests/schedules/stale_read_by_lease.txt"
)]
#[should_panic(expected = "a read sees what was acknowledged before")]
fn stale_read_by_lease(node: Node) -> Result {
    cluster(node, Some(Bug::StaleReadByLease), READERS)
}

#[rustfmt::skip]
#[chaos_test(
    vms = 4, clients = 1, duration = "12s", disk = "16M",
    schedule = "tests/schedules/lost_update_race.txt"
)]
#[should_panic(expected = "each request has a ticket of its own")]
fn lost_update_race(node: Node) -> Result {
    cluster(node, Some(Bug::LostUpdateRace), BUSY)
}

#[rustfmt::skip]
#[chaos_test(
    vms = 4, clients = 1, duration = "6s", disk = "16M",
    schedule = "tests/schedules/fig8_commit.txt"
)]
#[should_panic(expected = "a leader commits by an entry of its own term")]
fn fig8_commit(node: Node) -> Result {
    cluster(node, Some(Bug::Fig8Commit), BUSY)
}
