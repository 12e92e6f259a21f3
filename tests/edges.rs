//! Guests that count their edges themselves, in the table that the host reads: a program
//! built with SanitizerCoverage's guards, and the kernel variant `kcov`.

use std::collections::BTreeSet;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use chaoscontrol::cluster::{self, ClusterConfig, EventKind, SimulationController};
use chaoscontrol::guest::protocol::{EDGES, EDGES_BYTES, Message};
use chaoscontrol::image::kernel::{self, Variant};
use chaoscontrol::machine::{Engine, VmConfig, VmSnapshot, counts_edges, traps_rdtsc};
use chaoscontrol_tests::instrumented;

/// The variable that names the instrumented program, for a machine in which it cannot be built.
const PROGRAM: &str = "CHAOS_INSTRUMENTED";

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
    let program = instrumented::program(Path::new(env!("CARGO_TARGET_TMPDIR")));
    let outside = Command::new(&program).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&outside.stdout), "fine outside\n");
    counts_alone(&program, Engine::Soft);
}

#[test]
#[ignore = "needs a KVM that runs Linux: tests/kvm.rs runs it"]
fn it_does_so_on_the_hosts_cpu_too() {
    let program = env::var_os(PROGRAM);
    let program = program
        .unwrap_or_else(|| panic!("{PROGRAM} names no executable: let tests/kvm.rs run this"));
    counts_alone(&PathBuf::from(program), Engine::Kvm);
}

/// Sees each body's edges in the table, and no others.
fn counts_alone(program: &Path, engine: Engine) {
    let boot = cluster::boot(VmConfig {
        engine,
        ..chaoscontrol_tests::machine(program)
    });
    let boot = boot.unwrap();
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
