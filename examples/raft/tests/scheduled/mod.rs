//! The mistakes by schedules that are known to show them: what `cargo chaos zoo` found and made
//! small, with the seed. Two mistakes are races, which a small schedule shows in one build only; theirs
//! were written to show them in any.

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
    schedule = "tests/schedules/skip_truncate.txt", seed = 0x1fb3dfa46fba30b4
)]
#[should_panic(expected = "a committed entry never changes")]
fn skip_truncate(node: Node) -> Result {
    cluster(node, Some(Bug::SkipTruncate), LOAD)
}

#[rustfmt::skip]
#[chaos_test(
    vms = 4, clients = 1, duration = "6s", disk = "16M",
    schedule = "tests/schedules/accept_stale_term.txt", seed = 0x7280f5abf96cf8ca
)]
#[should_panic(expected = "a committed entry never changes")]
fn accept_stale_term(node: Node) -> Result {
    cluster(node, Some(Bug::AcceptStaleTerm), LOAD)
}

#[rustfmt::skip]
#[chaos_test(
    vms = 4, clients = 1, duration = "6s", disk = "16M",
    schedule = "tests/schedules/leader_no_stepdown.txt", seed = 0x31a04e90c37b9b7e
)]
#[should_panic(expected = "one leader per term")]
fn leader_no_stepdown(node: Node) -> Result {
    cluster(node, Some(Bug::LeaderNoStepdown), LOAD)
}

#[rustfmt::skip]
#[chaos_test(
    vms = 4, clients = 1, duration = "6s", disk = "16M",
    schedule = "tests/schedules/premature_commit.txt", seed = 0x260888e5c9621ec2
)]
#[should_panic(expected = "a committed entry never changes")]
fn premature_commit(node: Node) -> Result {
    cluster(node, Some(Bug::PrematureCommit), LOAD)
}

#[rustfmt::skip]
#[chaos_test(
    vms = 4, clients = 1, duration = "6s", disk = "16M",
    schedule = "tests/schedules/vote_not_synced.txt", seed = 0xe9dab0790668eddb
)]
#[should_panic(expected = "one leader per term")]
fn vote_not_synced(node: Node) -> Result {
    cluster(node, Some(Bug::VoteNotSynced), LOAD)
}

#[rustfmt::skip]
#[chaos_test(
    vms = 4, clients = 1, duration = "6s", disk = "16M",
    schedule = "tests/schedules/log_not_synced.txt", seed = 0xc8327e728be11201
)]
#[should_panic(expected = "a committed entry never changes")]
fn log_not_synced(node: Node) -> Result {
    cluster(node, Some(Bug::LogNotSynced), LOAD)
}

#[rustfmt::skip]
#[chaos_test(
    vms = 4, clients = 1, duration = "6s", disk = "16M",
    schedule = "tests/schedules/stale_read_by_lease.txt", seed = 0x91de7c197be139ee
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
    schedule = "tests/schedules/fig8_commit.txt", seed = 0xf690f6da89eaca65
)]
#[should_panic(expected = "a leader commits by an entry of its own term")]
fn fig8_commit(node: Node) -> Result {
    cluster(node, Some(Bug::Fig8Commit), BUSY)
}
