//! The KVM engine, tested where `/dev/kvm` runs Linux (see `chaoscontrol_tests::qemu`): the
//! small tests in every run, the long ones with `--include-ignored` and `CHAOS_KVM_FULL=1`.

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use chaoscontrol::image::kernel::{self, Variant};
use chaoscontrol::image::{KernelRequest, disk};
use chaoscontrol_tests::figures::figures;
use chaoscontrol_tests::instrumented;
use chaoscontrol_tests::qemu::{self, Command, Ending, Outcome, Target};

/// How long all tests of this target may take, in a full run and otherwise. This and what each
/// command may take is several times what they need, on a busy host as well.
const LIMITS: [Duration; 2] = [Duration::from_secs(6 * 3600), Duration::from_secs(40 * 60)];

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
    let names = ["cpu::kvm", "machine::kvm_tests", "a_run_whose_engine_fails"];
    let command = Command::new(library()).arguments(names);
    let command = command.arguments(["--test-threads=1"]);
    // What cannot run there fails, instead of telling that it cannot.
    let command = command.variable("CHAOS_KVM_REQUIRED", 1);
    let outcomes = run(&[command.seconds(900)]);
    assert!(passed(&outcomes[0]) > 0);
}

/// `command` with the guest kernel, for tests that boot it.
fn with_kernel(command: Command) -> Command {
    static KERNEL: LazyLock<PathBuf> = LazyLock::new(|| {
        let say = |line: &str| eprintln!("{line}");
        let kernel = kernel::locate(&KernelRequest::default(), &say);
        kernel.unwrap_or_else(|error| panic!("{error}")).path
    });
    let kernel = KERNEL.as_path();
    command
        .file(kernel)
        .variable("CHAOS_KERNEL", kernel.display())
        .variable("CHAOS_KVM_REQUIRED", 1)
}

/// The executable of a test target.
fn target(folder: &'static str, name: &'static str) -> PathBuf {
    let built = qemu::built(Target::Test(folder, name));
    built.unwrap_or_else(|error| panic!("{error}"))
}

/// The lock service's chaos tests on KVM, in short branches.
fn lock_service() -> Command {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/lock-service");
    let folder = folder.canonicalize().expect("the example is there");
    with_kernel(Command::new(target("lock-service", "chaos")))
        .file(folder.join("Cargo.toml"))
        .variable("CARGO_MANIFEST_DIR", folder.display())
        .variable("CARGO_PKG_NAME", "lock-service")
        .variable("CHAOS_ENGINE", "kvm")
        .variable("CHAOS_DURATION", "3s")
        .variable("CHAOS_QUIET", "2s")
}

/// What compares machines with each other, on both engines or on one; `words` choose tests.
fn engines(words: &[&str]) -> Command {
    let lock_service = target("lock-service", "chaos");
    with_kernel(Command::new(target("tests", "engines")))
        .file(env!("CARGO_BIN_EXE_guest"))
        .file(&lock_service)
        .variable("CHAOS_LOCK_SERVICE", lock_service.display())
        .arguments(["--include-ignored", "--test-threads=1", "--nocapture"])
        .arguments(words.iter().copied())
}

#[test]
fn both_engines_do_the_same() {
    let outcomes = run(&[engines(&["both_engines"]).seconds(1800)]);
    assert_eq!(passed(&outcomes[0]), 2, "{}", outcomes[0].output);
}

/// A hash that differs says that something does, and this one what.
#[test]
#[ignore = "takes long: CHAOS_KVM_FULL=1 cargo test --workspace --test kvm -- --include-ignored"]
fn two_runs_on_kvm_leave_the_same_words_in_memory() {
    let pairs = engines(&["word_by_word"]).variable("CHAOS_PAIRS", 10);
    let outcomes = run(&[pairs.seconds(3600)]);
    assert_eq!(passed(&outcomes[0]), 1, "{}", outcomes[0].output);
}

#[test]
fn a_branch_of_the_lock_service_has_one_hash() {
    let runs = if full() { 10 } else { 2 };
    let command = lock_service()
        .variable("CHAOS_VERB", "verify")
        .arguments(["mutual_exclusion", "--runs"])
        .arguments([runs.to_string().as_str()]);
    let outcomes = run(&[command.seconds(600 * runs)]);
    let agreed = format!("\n{runs} runs agree; hash ");
    assert!(
        outcomes[0].output.contains(&agreed),
        "{}",
        outcomes[0].output
    );
}

#[test]
fn the_lock_service_holds_under_faults() {
    let command = lock_service()
        .variable("CHAOS_ROUNDS", 2)
        .variable("CHAOS_BRANCHES", if full() { 20 } else { 4 })
        .arguments(["mutual_exclusion", "--exact", "--nocapture"]);
    let outcomes = run(&[command.seconds(1200)]);
    let output = &outcomes[0].output;
    assert_eq!(passed(&outcomes[0]), 1, "{output}");
    assert!(output.contains(", engine kvm\n"), "{output}");
    assert!(!output.contains("  meddled "), "{output}");
}

/// Runs tests of what each fault does to a guest: `words` choose them.
fn faults(words: &[&str]) -> Command {
    with_kernel(Command::new(target("tests", "faults")))
        .file(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .variable("CARGO_MANIFEST_DIR", env!("CARGO_MANIFEST_DIR"))
        .variable("CARGO_PKG_NAME", env!("CARGO_PKG_NAME"))
        .variable("CHAOS_ENGINE", "kvm")
        .arguments(["--test-threads=1"])
        .arguments(words.iter().copied())
}

#[test]
fn faults_do_to_guests_what_they_do_on_the_other_engine() {
    // In there is nothing that could make a file system.
    let disk = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kvm-faults.img");
    let new = disk::empty(16 << 20, &|line| eprintln!("{line}"));
    let new = new.unwrap_or_else(|error| panic!("{error}"));
    new.image
        .write_to(fs::File::create(&disk).unwrap())
        .unwrap();
    let on_disk = |word| {
        faults(&[word])
            .file(&disk)
            .variable("CHAOS_DISK", disk.display())
            .seconds(900)
    };
    let programs = ["/bin/sleep", "/usr/bin/tail"];
    let processes = programs
        .into_iter()
        .fold(faults(&["process::"]), Command::file);
    let mut commands = vec![(on_disk("disk::"), 9), (processes.seconds(900), 8)];
    if full() {
        // Preemption counts instructions on the one engine, and happens at once on this.
        let skipped = [
            "disk::",
            "space::",
            "process::",
            "repeat::",
            "resource::preempt",
        ];
        let words = skipped.map(|word| ["--skip", word]).concat();
        commands.push((on_disk("space::"), 2));
        commands.push((faults(&words).seconds(1800), 20));
    }
    let (commands, least): (Vec<_>, Vec<_>) = commands.into_iter().unzip();
    for (outcome, least) in run(&commands).iter().zip(least) {
        let count = passed(outcome);
        assert!(count >= least, "{count} tests:\n{}", outcome.output);
        assert!(
            outcome.output.contains(", engine kvm\n"),
            "{}",
            outcome.output
        );
    }
}

#[test]
#[ignore = "has a second kernel built: cargo test -p chaoscontrol-tests --test kvm -- --include-ignored a_kernel_that_counts"]
fn a_kernel_that_counts_its_edges_guides_the_search() {
    let kernel = kernel::provide(Variant::Kcov, &|line| eprintln!("{line}"));
    let kernel = kernel.unwrap_or_else(|error| panic!("{error}")).path;
    let command = lock_service()
        .file(&kernel)
        .variable("CHAOS_KERNEL", kernel.display())
        .variable("CHAOS_ROUNDS", 1)
        .variable("CHAOS_BRANCHES", 2)
        .arguments(["mutual_exclusion", "--exact", "--nocapture"]);
    let outcomes = run(&[command.seconds(600)]);
    let output = &outcomes[0].output;
    let edges = output.split_once(" edges, seed").and_then(|(before, _)| {
        let (_, count) = before.rsplit_once(' ')?;
        count.parse::<u64>().ok()
    });
    // With the lean kernel these are the sites of assertions: a handful.
    assert!(edges.is_some_and(|edges| edges > 1000), "{output}");
}

#[test]
fn an_instrumented_program_counts_its_edges() {
    let program = instrumented::program(Path::new(env!("CARGO_TARGET_TMPDIR")));
    let command = with_kernel(Command::new(target("tests", "edges")))
        .file(&program)
        .variable("CHAOS_INSTRUMENTED", program.display())
        .arguments(["--ignored", "it_does_so_on_the_hosts_cpu_too"]);
    let outcomes = run(&[command]);
    assert_eq!(passed(&outcomes[0]), 1, "{}", outcomes[0].output);
}

/// The software CPU, which takes long in there, counts the instructions.
#[test]
#[ignore = "takes long: CHAOS_KVM_FULL=1 cargo test --workspace --test kvm -- --include-ignored"]
fn the_bench_has_the_figures_of_the_other_engine() {
    let command = with_kernel(Command::new(env!("CARGO_BIN_EXE_cases")))
        .file(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .variable("CARGO_MANIFEST_DIR", env!("CARGO_MANIFEST_DIR"))
        .variable("CARGO_PKG_NAME", env!("CARGO_PKG_NAME"))
        .variable("CHAOS_VERB", "bench")
        .variable("CHAOS_VMS", 1)
        .variable("CHAOS_BRANCHES", 1)
        .variable("CHAOS_DURATION", "1s")
        .variable("CHAOS_QUIET", "500ms")
        .arguments([
            "explores_for_days",
            "--engine",
            "kvm",
            "--json",
            "--seconds",
            "0",
        ]);
    let outcomes = run(&[command.seconds(1200)]);
    figures(&outcomes[0].output);
}

/// Finds, shrinks and replays. How many branches that takes is chance, and so is the time.
#[test]
#[ignore = "takes long: CHAOS_KVM_FULL=1 cargo test --workspace --test kvm -- --include-ignored"]
fn the_planted_bug_is_found_shrunk_and_replayed() {
    let report = || {
        let arguments = ["a_report", "--exact", "--include-ignored", "--nocapture"];
        lock_service()
            .variable("CHAOS_DURATION", "10s")
            .variable("CHAOS_QUIET", "1s")
            .arguments(arguments)
    };
    let init = init();
    let commands = [report().seconds(4 * 3600), report().seconds(1200)];
    let run = qemu::run(init, &commands, LIMITS[0], &mut |line| {
        println!("  | {line}")
    });
    let run = run.unwrap_or_else(|trouble| panic!("{trouble}"));
    for (outcome, wanted) in run.outcomes.iter().zip(["shrunk from", "replayed"]) {
        assert_eq!(outcome.ending, Ending::Exited(101), "{}", outcome.output);
        assert!(outcome.output.contains(wanted), "{}", outcome.output);
        assert!(
            outcome.output.contains("one holder at a time"),
            "{}",
            outcome.output
        );
    }
}

/// Those that need no branch on the software CPU, which in there takes long.
#[test]
fn tests_run_on_the_engine_they_choose() {
    let command = with_kernel(Command::new(target("tests", "engine")))
        .file(env!("CARGO_BIN_EXE_cases"))
        .file(env!("CARGO_BIN_EXE_guest"))
        .arguments(["--test-threads=1", "kvm_that_", "a_kernel_"]);
    let outcomes = run(&[command.seconds(900)]);
    assert_eq!(passed(&outcomes[0]), 4, "{}", outcomes[0].output);
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
