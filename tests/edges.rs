//! Guests that count their edges themselves, in the table that the host reads: a program
//! built with SanitizerCoverage's guards, and the kernel variant `kcov`.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use chaoscontrol::cluster::{self, ClusterConfig, EventKind, SimulationController};
use chaoscontrol::guest::protocol::{EDGES, EDGES_BYTES, Message};
use chaoscontrol::image::kernel::{self, Variant};
use chaoscontrol::machine::{VmConfig, VmSnapshot, counts_edges, traps_rdtsc};

/// The instrumented program. A process's edges count wherever its threads and children go.
const PROGRAM: &str = r#"
use chaoscontrol_guest::{Node, agent};

fn main() {
    agent::enter(&|name| match name {
        "left" => Some(left),
        "right" => Some(right),
        "both" => Some(both),
        _ => None,
    });
    turn(&left_edges, 300);
    turn(&right_edges, 300);
    println!("fine outside");
}

fn turn(what: &dyn Fn(u32) -> u32, times: u32) -> u32 {
    (0..times).map(what).fold(0, u32::wrapping_add)
}

fn left_edges(n: u32) -> u32 {
    if std::hint::black_box(n) % 2 == 0 { n } else { n + 1 }
}

fn right_edges(n: u32) -> u32 {
    if std::hint::black_box(n) % 3 == 0 { n } else { n - 1 }
}

fn left(_: Node) -> Result<(), String> {
    turn(&left_edges, 1000);
    Ok(())
}

fn right(_: Node) -> Result<(), String> {
    turn(&right_edges, 3);
    Ok(())
}

fn both(node: Node) -> Result<(), String> {
    unsafe extern "C" {
        safe fn fork() -> i32;
        safe fn _exit(code: i32) -> !;
    }
    if fork() == 0 {
        let _ = left(node);
        _exit(0);
    }
    std::thread::spawn(|| right(node)).join().map_err(|_| "no thread")?
}
"#;

/// The flags that README names.
fn flags() -> String {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let line = readme.lines().find_map(|l| l.strip_prefix("RUSTFLAGS=\""));
    let (flags, _) = line.unwrap().split_once('"').unwrap();
    flags.to_owned()
}

/// Builds [`PROGRAM`] as README says.
fn instrumented() -> PathBuf {
    const TARGET: &str = "x86_64-unknown-linux-gnu";
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("edges");
    fs::create_dir_all(folder.join("src")).unwrap();
    let sdk = checkout.join("chaoscontrol-guest").canonicalize().unwrap();
    let manifest = format!(
        "[package]\nname = \"edges\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
         [dependencies]\nchaoscontrol-guest = {{ path = {sdk:?}, features = [\"agent\", \"sancov\"] }}\n"
    );
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    fs::write(folder.join("src/main.rs"), PROGRAM).unwrap();
    fs::copy(checkout.join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo
        .current_dir(&folder)
        .args(["build", "--target", TARGET])
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .env("RUSTFLAGS", flags())
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    assert!(cargo.status().unwrap().success());
    folder.join("target").join(TARGET).join("debug/edges")
}

fn cluster(boot: &VmSnapshot, test: &str) -> SimulationController {
    let config = ClusterConfig {
        vms: 1,
        seed: 1,
        test: test.into(),
        ..ClusterConfig::default()
    };
    SimulationController::new(boot, config).unwrap()
}

fn table(cluster: &SimulationController) -> Vec<u8> {
    let mut table = vec![0; EDGES_BYTES];
    cluster.vm(0).read_memory(EDGES, &mut table).unwrap();
    table
}

/// The table at the end of body `test`.
fn counted(boot: &VmSnapshot, test: &str) -> Vec<u8> {
    let mut cluster = cluster(boot, test);
    let events = cluster.run_until(200_000_000);
    let ends = |kind: &EventKind| match kind {
        EventKind::Message(bytes) => match Message::decode(bytes) {
            Ok(Message::BodyEnd { end }) => Some(format!("{end:?}")),
            _ => None,
        },
        _ => None,
    };
    let end = events.iter().find_map(|event| ends(&event.kind));
    assert_eq!(end.as_deref(), Some("Ok"), "{test}");
    table(&cluster)
}

fn taken(table: &[u8]) -> BTreeSet<usize> {
    let taken = table.iter().enumerate().filter(|(_, count)| **count != 0);
    taken.map(|(index, _)| index).collect()
}

#[test]
fn an_instrumented_program_counts_its_edges_where_the_host_reads_them() {
    let program = instrumented();
    let outside = Command::new(&program).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&outside.stdout), "fine outside\n");

    let boot = cluster::boot(chaoscontrol_tests::machine(&program)).unwrap();
    let [left, right, both] = ["left", "right", "both"].map(|test| counted(&boot, test));
    assert!(left == counted(&boot, "left"));
    // What was taken more than once is the loop of one of them and nothing of its start.
    let looped = |table: &[u8], other: &[u8]| {
        let others = taken(other);
        let mine = taken(table).into_iter().filter(|&index| table[index] > 1);
        mine.filter(|index| !others.contains(index)).collect()
    };
    let only_left: Vec<usize> = looped(&left, &right);
    let only_right: Vec<usize> = looped(&right, &left);
    assert!(only_left.len() >= 2 && !only_right.is_empty());
    // A thousand turns are more than a counter counts, three are three.
    assert!(only_left.iter().all(|&index| left[index] == 255));
    assert!(only_right.iter().all(|&index| right[index] <= 3));
    for index in only_left.into_iter().chain(only_right) {
        assert!(both[index] > 1, "{index}");
    }
}

#[test]
#[ignore = "has a second kernel built, which takes minutes; run it with --ignored"]
fn the_kcov_kernel_counts_what_tasks_do_and_no_interrupts() {
    let kernel = kernel::provide(Variant::Kcov, &|line| eprintln!("{line}")).unwrap();
    assert!(traps_rdtsc(&kernel.bytes) && counts_edges(&kernel.bytes));
    let guest = chaoscontrol_tests::machine(Path::new(env!("CARGO_BIN_EXE_guest")));
    assert!(!counts_edges(&guest.kernel));
    let boot = cluster::boot(VmConfig {
        kernel: kernel.bytes,
        ..guest
    });
    let boot = boot.unwrap();

    let mut idle = cluster(&boot, "idle");
    idle.run_until(6_000_000_000);
    let before = table(&idle);
    assert!(taken(&before).len() > 1000, "{}", taken(&before).len());
    // Kernel threads are done with the boot's work: there are only timer interrupts left.
    idle.run_until(8_500_000_000);
    assert!(before == table(&idle));

    let ring = || {
        let mut ring = cluster(&boot, "ring");
        ring.run_until(500_000_000);
        table(&ring)
    };
    let busy = ring();
    assert!(busy == ring());
    let (busy, idle) = (taken(&busy), taken(&before));
    assert!(busy.difference(&idle).count() > 1000);
}
