//! What `cargo test` and nextest see of a test target with chaos tests: this one, called
//! again by its own host-side tests. Nothing here boots a machine.

use std::process::Command;
use std::time::{Duration, Instant};

use chaoscontrol::cpu::UnsupportedHost;
use chaoscontrol::prelude::*;
use chaoscontrol::test;

#[chaos_test(rounds = 3)]
#[ignore = "only to be listed"]
fn listed(_node: Node) {}

mod nested {
    use super::*;

    #[chaos_test]
    #[ignore]
    fn also_listed(_node: Node) {}
}

#[test]
#[ignore]
fn fails() {
    panic!("as it is told");
}

/// Calls this executable; answers its exit status and all that it printed.
fn call(arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String) {
    let mut command = Command::new(std::env::current_exe().expect("an executable has a path"));
    command.args(arguments).env_remove("CHAOS_REPLAY");
    let output = command
        .envs(environment.iter().copied())
        .output()
        .expect("this executable can be called");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

#[test]
fn a_listing_names_the_tests_and_nothing_else_and_is_quick() {
    let began = Instant::now();
    let (status, text) = call(&["--list", "--format", "terse", "--ignored"], &[]);
    assert_eq!(status, 0);
    let names = ["fails: test", "listed: test", "nested::also_listed: test"];
    assert_eq!(text.lines().collect::<Vec<_>>(), names);
    assert!(began.elapsed() < Duration::from_millis(500));
}

#[test]
fn an_unknown_flag_exits_with_2_and_is_named() {
    let (status, text) = call(&["--no-such-flag"], &[]);
    assert_eq!(status, 2);
    assert!(text.contains("--no-such-flag"), "{text}");
}

#[test]
fn ignored_tests_show_their_reason() {
    let (status, text) = call(&["--exact", "listed"], &[]);
    assert_eq!(status, 0);
    // CI builds this also for a host that can't run chaos tests.
    let reason = match chaoscontrol::cpu::supported() {
        Ok(()) => "only to be listed",
        Err(UnsupportedHost) => UnsupportedHost::REASON,
    };
    assert!(text.contains(&format!("ignored ({reason})")), "{text}");
    assert!(text.contains("1 ignored"), "{text}");
}

#[test]
fn a_host_that_cannot_run_a_chaos_test_fails_it_on_demand() {
    if let Err(unsupported) = chaoscontrol::cpu::supported() {
        let (status, text) = call(&["--exact", "listed", "--ignored"], &[]);
        assert_eq!(status, 101);
        assert!(text.contains(&unsupported.to_string()), "{text}");
        assert!(text.contains("1 failed"), "{text}");
    }
}

#[test]
fn a_failing_test_exits_with_101() {
    let (status, text) = call(&["--exact", "fails", "--include-ignored"], &[]);
    assert_eq!(status, 101);
    assert!(text.contains("as it is told"), "{text}");
}

#[test]
fn a_bad_variable_is_named_with_its_value() {
    let arguments = ["--exact", "listed", "--ignored"];
    let (status, text) = call(&arguments, &[("CHAOS_ROUNDS", "abc")]);
    assert_eq!(status, 101);
    assert!(text.contains("CHAOS_ROUNDS is `abc`"), "{text}");
}

#[test]
fn a_failure_that_is_not_recorded_cannot_be_replayed() {
    let arguments = ["--exact", "listed", "--ignored"];
    let (status, text) = call(&arguments, &[("CHAOS_REPLAY", "cafe")]);
    assert_eq!(status, 101);
    assert!(
        text.contains("CHAOS_REPLAY=cafe: no such failure"),
        "{text}"
    );
    assert!(
        text.contains("chaos-regressions/harness/listed.toml"),
        "{text}"
    );
}

#[test]
#[should_panic(expected = "this panics")]
fn a_panic_that_is_expected_passes() {
    panic!("this panics");
}

#[test]
fn an_error_can_be_returned() -> std::result::Result<(), String> {
    Ok(())
}

chaoscontrol::main!();
