//! Values of the wrong type or out of range.

use chaoscontrol_macros::chaos_test;

struct Node;

#[chaos_test(
    vms = 0,
    clients = -1,
    rounds = "many",
    branches = 5000,
    duration = "10",
    quiet = 1.5,
    seed = 99999999999999999999,
    faults = ["partitoin", "kill", "kill", "fire", "kil clients", "loss clients"],
    preset = ["brige", "bridge"],
    tolerance = ["down minority", "dwn: 1", "down: most", "kill: minority"],
    schedule = 7,
    require = "leader elected",
    memory = 128,
    disk = "1T",
    files = ["", 3],
    kernel = "",
    engine = "kmv",
    epoch = "2026-02-30",
    instruction_ns = 0,
    must_finish = "yes",
    force_setup_complete = "60s",
    stall = "25h",
    wall_limit = "1 fortnight",
    check = "histories",
)]
fn test(_: Node) {}

#[chaos_test(vms = 17, memory = "16M", duration = "1us", epoch = 4102444801, engine = 2, binaries = ["", 3, 1 + 1, "a", "a"])]
fn limits(_: Node) {}

#[chaos_test(disk = "5")]
fn small(_: Node) {}

#[chaos_test(disk = "")]
fn nothing(_: Node) {}

#[chaos_test(disk = 64)]
fn number(_: Node) {}

#[chaos_test(mode = "input")]
fn modes(_: Node) {}

fn main() {}
