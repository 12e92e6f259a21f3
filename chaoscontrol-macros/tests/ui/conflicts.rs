//! Values that are right by themselves, but not together.

use chaoscontrol_macros::chaos_test;

struct Node;

#[chaos_test(vms = 3, clients = 3)]
fn no_server(_: Node) {}

#[chaos_test(vms = 1, clients = 1)]
fn only_a_client(_: Node) {}

#[chaos_test(schedule = "faults.toml", rounds = 10, branches = 2, faults = ["kill"])]
fn fixed_and_explored(_: Node) {}

#[chaos_test(clients = 0, faults = ["loss", "kill clients"])]
fn nobody_to_hit(_: Node) {}

#[chaos_test(mode = "inputs", faults = ["kill"], tolerance = "down: 1")]
fn no_faults_to_choose(_: Node) {}

#[chaos_test(schedule = "faults.toml", mode = "hybrid")]
fn nothing_to_vary(_: Node) {}

fn main() {}
