//! `cargo chaos bench` as a program reads it. `kvm.rs` has the same for the other engine.

mod case;

use std::process::Command;
use std::thread;

use case::Case;
use chaoscontrol_tests::figures::figures;

/// The verb for a test of a second.
fn bench(case: &Case) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cases"));
    command
        .args(["explores_for_days", "--json", "--seconds", "0"])
        .env("CHAOS_VERB", "bench")
        .env("CHAOS_ENGINE", "soft")
        .env("CARGO_MANIFEST_DIR", &case.folder);
    command
}

#[test]
fn all_figures_are_there_and_agree() {
    let case = Case::new("explores_for_days", "bench");
    let output = bench(&case).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let figures = figures(&String::from_utf8_lossy(&output.stdout));
    let mips = figures["boot_instructions"] / figures["boot_seconds"] / 1e6;
    assert!(
        (figures["mips_boot"] / mips - 1.0).abs() < 0.01,
        "{figures:?}"
    );
    // Two rounds of one branch, which goes on from where the machine has booted.
    assert_eq!(figures["branches"], 2.0);
    let branch = figures["instructions_per_branch"];
    assert!(branch < figures["boot_instructions"], "{figures:?}");
}

#[test]
fn workers_are_those_of_the_test() {
    let case = Case::new("explores_for_days", "bench-pinned");
    let cores = thread::available_parallelism().map_or(1, |n| n.get());
    let output = bench(&case)
        .env("CHAOS_PIN", "1")
        .env("CHAOS_WORKERS", (cores + 1).to_string())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("pin = true wants a core for each worker"),
        "{said}"
    );
}
