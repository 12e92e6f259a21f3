//! What `#[chaos_test]` writes into the registry.

use chaoscontrol::fault::FaultSchedule;
use chaoscontrol::harness::engine::EngineChoice;
use chaoscontrol::harness::registry::{Schedule, TESTS, TestCase};
use chaoscontrol::prelude::*;

fn case(name: &str) -> &'static TestCase {
    TESTS
        .iter()
        .find(|case| case.name() == name)
        .unwrap_or_else(|| panic!("{name} is not registered"))
}

/// Documented, as tests may be.
#[chaos_test]
fn plain(_node: Node) {}

#[test]
fn a_test_without_keys_leaves_all_to_the_configuration() {
    let case = case("plain");
    assert_eq!(case.module, "attribute");
    assert_eq!((case.ignore, case.should_panic), (None, None));
    assert_eq!(case.attributes.vms, None);
    assert!(case.file.ends_with("attribute.rs"));
    assert_eq!(case.line, case.end_line);
}

mod nested {
    use super::*;

    pub fn fixed() -> FaultSchedule {
        FaultSchedule::default()
    }

    #[chaos_test(
        vms = 4,
        clients = 1,
        duration = "1500ms",
        quiet = 0,
        seed = 7,
        schedule = fixed,
        require = ["something commits"],
        memory = "256M",
        binaries = ["/bin/sh", concat!("/bin/", "ls")],
        packages = ["redis-server"],
        files = ["tests/data"],
        kernel = "vmlinux",
        engine = "auto",
        epoch = "2026-01-01",
        instruction_ns = 5,
        must_finish = true,
        force_setup_complete = "2s",
        stall = "1min",
        wall_limit = 60,
    )]
    #[ignore = "slow"]
    #[should_panic(expected = "one leader")]
    pub fn full(node: Node) -> Result<()> {
        if node.role() == Role::Client {
            node.wait_setup(Duration::from_secs(1))?;
        }
        Ok(())
    }
}

#[test]
fn keys_and_attributes_arrive() {
    let case = case("nested::full");
    let keys = case.attributes;
    assert_eq!((keys.vms, keys.clients), (Some(4), Some(1)));
    assert_eq!(keys.duration_ns, Some(1_500_000_000));
    assert_eq!(keys.quiet_ns, Some(0));
    assert_eq!((keys.seed, keys.rounds), (Some(7), None));
    assert!(matches!(keys.schedule, Some(Schedule::Function(_))));
    assert_eq!(keys.require, ["something commits"]);
    assert_eq!(keys.memory, Some(256 << 20));
    assert_eq!(keys.binaries, ["/bin/sh", "/bin/ls"]);
    assert_eq!(keys.packages, ["redis-server"]);
    assert_eq!(keys.files, ["tests/data"]);
    assert_eq!(keys.kernel, Some("vmlinux"));
    assert_eq!(keys.engine, Some(EngineChoice::Auto));
    assert_eq!(keys.epoch, Some(1_767_225_600));
    assert_eq!(keys.instruction_ns, Some(5));
    assert_eq!(keys.must_finish, Some(true));
    assert_eq!(keys.force_setup_ns, Some(2_000_000_000));
    assert_eq!(keys.stall_ns, Some(60_000_000_000));
    assert_eq!(keys.wall_limit_ns, Some(60_000_000_000));
    assert_eq!(case.ignore, Some(Some("slow")));
    assert_eq!(case.should_panic, Some(Some("one leader")));
    assert!(case.end_line > case.line + 3);
}

#[chaos_test(faults = [], rounds = 3, branches = 2, crate = chaoscontrol)]
async fn asynchronous(_node: Node) -> std::result::Result<(), String> {
    Err("async".into())
}

#[chaos_test(vms = 5, preset = "bridge", tolerance = ["down: minority", "clock: none"])]
fn promises(_node: Node) {}

#[chaos_test(clients = 1, faults = ["kill", "kill clients"])]
fn client_faults(_node: Node) {}

#[chaos_test(faults = ["kill", "wall-clock-jump"])]
#[cfg(any())]
fn left_out(_node: Node) {}

#[test]
fn async_tests_and_conditions_work() {
    assert_eq!(case("asynchronous").attributes.faults, Some(&[][..]));
    let promises = case("promises").attributes;
    assert_eq!(promises.presets, ["bridge"]);
    assert_eq!(promises.tolerance, ["down: minority", "clock: none"]);
    let faults = case("client_faults").attributes.faults;
    assert_eq!(faults, Some(&["kill", "kill clients"][..]));
    assert!(TESTS.iter().all(|case| case.function != "left_out"));
}
