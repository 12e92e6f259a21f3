//! The KVM engine, tested where `/dev/kvm` runs Linux (see `chaoscontrol_tests::qemu`): the
//! small tests in every run, the long ones if `CHAOS_KVM_FULL=1`.

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use chaoscontrol_tests::qemu::{self, Command, Ending, Outcome, Target};

/// How long all tests of this target may take, in a full run and otherwise.
const LIMITS: [Duration; 2] = [Duration::from_secs(6 * 3600), Duration::from_secs(15 * 60)];

/// Whether the long tests are to run, too.
fn full() -> bool {
    env::var_os("CHAOS_KVM_FULL").is_some_and(|value| !value.is_empty() && value != "0")
}

fn init() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_in-qemu"))
}

/// The unit tests of the library.
fn library() -> &'static Path {
    static LIBRARY: LazyLock<PathBuf> = LazyLock::new(|| {
        let built = qemu::built(Target::Lib("chaoscontrol"));
        built.unwrap_or_else(|error| panic!("{error}"))
    });
    &LIBRARY
}

/// Runs `commands` as far as the time for all tests allows. Each has to succeed.
fn run(commands: &[Command]) -> Vec<Outcome> {
    static BEGUN: LazyLock<Instant> = LazyLock::new(|| {
        // If this is to be built first, that does not count.
        library();
        Instant::now()
    });
    let [long, short] = LIMITS;
    let limit = if full() { long } else { short };
    let left = limit.saturating_sub(BEGUN.elapsed());
    let run = qemu::run(init(), commands, left, &mut |line| println!("  | {line}"));
    let run = run.unwrap_or_else(|trouble| panic!("{trouble}"));
    match run.ready {
        Some(ready) => println!("/dev/kvm was there after {:.1} s", ready.as_secs_f64()),
        None => println!("on this host's own /dev/kvm"),
    }
    for (command, outcome) in commands.iter().zip(&run.outcomes) {
        let seconds = outcome.took.as_secs_f64();
        println!("{command} {} after {seconds:.1} s", outcome.ending);
    }
    for (command, outcome) in commands.iter().zip(&run.outcomes) {
        let ending = &outcome.ending;
        assert_eq!(*ending, Ending::Exited(0), "{command}:\n{}", outcome.output);
    }
    run.outcomes
}

/// The number of tests that libtest says have passed.
fn passed(outcome: &Outcome) -> u32 {
    let counts = outcome.output.split_once("test result: ok. ");
    let count = counts.and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
    count.unwrap_or_else(|| panic!("no test result in\n{}", outcome.output))
}

#[test]
fn a_guest_of_two_instructions_runs() {
    let outcomes = run(&[Command::new(env!("CARGO_BIN_EXE_tiny"))]);
    let output = &outcomes[0].output;
    assert!(output.contains("API version 12\n"), "{output}");
    assert!(output.contains(" port exits"), "{output}");
}

#[test]
fn the_engines_own_tests_pass() {
    let command = Command::new(library()).arguments(["cpu::kvm", "--test-threads=1"]);
    // What cannot run there fails, instead of telling that it cannot.
    let command = command.variable("CHAOS_KVM_REQUIRED", 1);
    let outcomes = run(&[command.seconds(180)]);
    assert!(passed(&outcomes[0]) > 0);
}

#[test]
fn a_qemu_that_does_not_start_is_an_error_with_its_words() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("broken-qemu");
    fs::create_dir_all(&folder).unwrap();
    let qemu = folder.join("qemu-system-x86_64");
    fs::write(
        &qemu,
        "#!/bin/sh\necho no virtual machines today >&2\nexit 3\n",
    )
    .unwrap();
    fs::set_permissions(&qemu, Permissions::from_mode(0o755)).unwrap();
    let path = env::var_os("PATH").unwrap_or_default();
    let path = [folder].into_iter().chain(env::split_paths(&path));
    let output = std::process::Command::new(init())
        .arg(env!("CARGO_BIN_EXE_tiny"))
        .env("PATH", env::join_paths(path).unwrap())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{text}");
    for wanted in [
        "the machine failed on its way to /dev/kvm: QEMU ended (exit status: 3)",
        "its log is /",
        "  | no virtual machines today\n",
        "\"qemu-system-x86_64\" \"-nodefaults\"",
    ] {
        assert!(text.contains(wanted), "no {wanted:?} in\n{text}");
    }
    let log = text
        .split_once("its log is ")
        .and_then(|(_, rest)| rest.lines().next());
    let log = Path::new(log.unwrap());
    assert!(log.with_file_name("initramfs").is_file(), "{text}");
    fs::remove_dir_all(log.parent().unwrap()).unwrap();
}
