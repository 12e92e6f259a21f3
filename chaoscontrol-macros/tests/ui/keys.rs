//! Unknown, repeated and malformed keys; all are reported at once.

use chaoscontrol_macros::chaos_test;

struct Node;

#[chaos_test(
    vm = 3,
    rounds = 5,
    nodes = 3,
    rounds = 6,
    quiet,
    seed =,
    "vms",
    clients: 2,
)]
fn test(_: Node) {}

#[chaos_test(vms = 3,, rounds = 1 2)]
fn commas(_: Node) {}

fn main() {}
