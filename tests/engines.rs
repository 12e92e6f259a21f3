//! The engines against each other: where only exits count, a guest does the same on the
//! software CPU as on KVM.
//!
//! Linux does not boot on every `/dev/kvm`, so `tests/kvm.rs` runs these where it does.

use std::path::Path;
use std::sync::Arc;

use chaoscontrol::cluster::{ClusterConfig, boot};
use chaoscontrol::explore::simulation::{Scenario, Simulation};
use chaoscontrol::fault::FaultSchedule;
use chaoscontrol::machine::{Access, CpuConfig, DeterministicVm, Engine, Stop, Until, VmConfig};
use chaoscontrol::replay::TickRecord;

/// The variable that names the lock service's chaos test executable.
const LOCK_SERVICE: &str = "CHAOS_LOCK_SERVICE";

fn config(engine: Engine, executable: &Path) -> VmConfig {
    VmConfig {
        engine,
        cpu: CpuConfig {
            by_exits: true,
            ..CpuConfig::default()
        },
        ..chaoscontrol_tests::machine(executable)
    }
}

/// Panics at the first access that differs, with those before it.
#[track_caller]
fn compare(soft: &[Access], kvm: &[Access], before: u64) {
    let differs = soft.iter().zip(kvm).position(|(a, b)| a != b);
    let Some(at) = differs else {
        assert_eq!(soft.len(), kvm.len(), "accesses after {before}");
        return;
    };
    let lines = |trace: &[Access]| {
        let near = &trace[at.saturating_sub(3)..=at];
        near.iter().map(|a| format!("{a:x?}\n")).collect::<String>()
    };
    panic!(
        "access {} differs\nsoft:\n{}kvm:\n{}",
        before + at as u64,
        lines(soft),
        lines(kvm)
    );
}

#[test]
#[ignore = "needs a KVM that runs Linux: tests/kvm.rs runs it"]
fn both_engines_boot_linux_access_by_access() {
    let mut vms = [Engine::Soft, Engine::Kvm].map(|engine| {
        let config = config(engine, Path::new(env!("CARGO_BIN_EXE_guest")));
        DeterministicVm::new(config).unwrap()
    });
    for vm in &mut vms {
        vm.trace();
    }
    let mut accesses = 0;
    loop {
        let until = Until {
            boot: true,
            exits: Some(500),
            ..Until::default()
        };
        let stops = vms.each_mut().map(|vm| vm.run(&until));
        let [soft, kvm] = vms.each_mut().map(DeterministicVm::take_trace);
        compare(&soft, &kvm, accesses);
        accesses += soft.len() as u64;
        let [soft, kvm] = &mut vms;
        assert_eq!(stops[0], stops[1], "{:?} {:?}", soft.off(), kvm.off());
        assert_eq!(soft.time(), kvm.time());
        match stops[0] {
            Stop::Exits => {}
            Stop::Boot => break,
            other => panic!("{other:?}: {:?}", soft.off()),
        }
    }
    compare_memory(&vms[0], &vms[1]);
    println!("{accesses} accesses, {} virtual ns", vms[0].time());
}

const MS: u64 = 1_000_000;
/// Three servers and a client.
const VMS: usize = 4;

fn cluster(engine: Engine) -> Simulation {
    let executable = std::env::var_os(LOCK_SERVICE)
        .unwrap_or_else(|| panic!("{LOCK_SERVICE} names no executable: let tests/kvm.rs run this"));
    let cluster = ClusterConfig {
        vms: VMS,
        clients: 1,
        seed: 2,
        test: "mutual_exclusion".into(),
        duration_ns: 3_000 * MS,
        quiet_ns: 1_000 * MS,
        ..ClusterConfig::default()
    };
    let scenario = Scenario {
        boot: boot(config(engine, Path::new(&executable)))
            .unwrap_or_else(|e| panic!("{engine:?}: {e}")),
        cluster,
        force_setup_ns: 0,
        stall_ns: 0,
        must_finish: false,
        code_map: None,
        check: None,
    };
    let mut simulation = Simulation::new(Arc::new(scenario)).unwrap();
    simulation.record();
    simulation
}

/// Two clusters that go through the same branch side by side.
struct Pair {
    both: [Simulation; 2],
    schedule: FaultSchedule,
    begun: bool,
}

impl Pair {
    fn new(engines: [Engine; 2]) -> Pair {
        Pair {
            both: engines.map(cluster),
            schedule: FAULTS.parse().unwrap(),
            begun: false,
        }
    }

    /// Lets both run for `ns` virtual ns; false once the branch is over.
    fn step(&mut self, ns: u64) -> bool {
        let [one, other] = &mut self.both;
        if one.is_over() {
            assert!(self.begun && other.is_over());
            return false;
        }
        let until = one.now() + ns;
        for simulation in [one, other] {
            simulation.run_until(until);
            if !self.begun && simulation.start_ns().is_some() {
                simulation.begin(1, self.schedule.clone());
            }
        }
        self.begun = self.both[0].start_ns().is_some();
        true
    }
}

/// Whether two quad words at an address may differ, and how many such there may be at once.
struct Excuse {
    why: &'static str,
    holds: fn(at: u64, soft: u64, kvm: u64) -> bool,
    most: usize,
}

/// What CPUs may do as they like, and QEMU does differently, as it shows in memory.
const EXCUSES: [Excuse; 4] = [
    Excuse {
        // Undefined status flags; RF in the frame of a fault, which QEMU does not set.
        why: "flags that an instruction leaves undefined, and RF, in a saved RFLAGS",
        holds: |_, a, b| (a ^ b) & !0x1_08D5 == 0 && a & 2 != 0 && a < 1 << 22,
        most: 64,
    },
    Excuse {
        why: "accessed and dirty bits of entries that only speculation used",
        holds: |_, a, b| (a ^ b) & !0x60 == 0 && a & 1 != 0,
        most: 4096,
    },
    Excuse {
        // Behind the 10 bytes of each x87 register, and where FIP and FDP stand.
        why: "reserved and pointer fields of an FXSAVE area",
        holds: |at, a, b| at % 16 == 8 && (a ^ b) & 0xFFFF == 0 && (a == 0 || b == 0),
        most: 256,
    },
    Excuse {
        // QEMU loads before it stores where an instruction does both, and so faults twice.
        why: "statistics of page faults",
        holds: |_, a, b| a.max(b) < 1 << 16 && a.abs_diff(b) < 256,
        most: 8,
    },
];

/// The quad words in which the memory of two machines differs: address, and what stands there.
fn different_words(one: &DeterministicVm, other: &DeterministicVm) -> Vec<(u64, u64, u64)> {
    const PAGE: usize = 4096;
    let mut different = Vec::new();
    let [mut a, mut b] = [[0; PAGE]; 2];
    for page in (0..one.config().memory_size).step_by(PAGE) {
        one.read_memory(page, &mut a).unwrap();
        other.read_memory(page, &mut b).unwrap();
        if a == b {
            continue;
        }
        for (n, (a, b)) in a.as_chunks().0.iter().zip(b.as_chunks().0).enumerate() {
            if a != b {
                let at = page + n as u64 * 8;
                different.push((at, u64::from_le_bytes(*a), u64::from_le_bytes(*b)));
            }
        }
    }
    different
}

/// Compares the memory of two machines, but for what [`EXCUSES`] allow. Gives how many words
/// each of them was needed for.
#[track_caller]
fn compare_memory(soft: &DeterministicVm, kvm: &DeterministicVm) -> [usize; EXCUSES.len()] {
    let mut excused = [0; EXCUSES.len()];
    for (at, a, b) in different_words(soft, kvm) {
        let excuse = EXCUSES.iter().position(|excuse| (excuse.holds)(at, a, b));
        let excuse = excuse.unwrap_or_else(|| panic!("{at:#x} is {a:#x} on soft, {b:#x} on kvm"));
        excused[excuse] += 1;
        let Excuse { why, most, .. } = EXCUSES[excuse];
        assert!(excused[excuse] <= most, "more than {most} words of {why}");
    }
    excused
}

/// What happens in a branch.
const FAULTS: &str = "+200 ms loss vm 0 of 20 %\n+500 ms partition {0, 3} | {1, 2}\n\
    +900 ms heal\n+1 s kill vm 1\n+1.2 s skew vm 2 by 30 %\n+1.5 s restart vm 1\n\
    +1.7 s pause vm 0 for 200 ms\n+1.9 s reorder vm 1 within 3 ms\n+2.2 s wall-clock jump vm 2 by -1 s";

#[test]
#[ignore = "needs a KVM that runs Linux: tests/kvm.rs runs it"]
fn both_engines_run_a_branch_of_the_lock_service_access_by_access() {
    let mut pair = Pair::new([Engine::Soft, Engine::Kvm]);
    for simulation in &mut pair.both {
        (0..VMS).for_each(|vm| simulation.cluster().vm_mut(vm).trace());
    }
    let mut accesses = [0; VMS];
    let mut excused = Vec::new();
    while pair.step(MS) {
        let both = &mut pair.both;
        for (vm, accesses) in accesses.iter_mut().enumerate() {
            let [soft, kvm] = both.each_mut().map(|s| s.cluster().vm_mut(vm).take_trace());
            compare(&soft, &kvm, *accesses);
            *accesses += soft.len() as u64;
        }
        let [soft, kvm] = both;
        assert_eq!(soft.now(), kvm.now());
        if soft.now() % (500 * MS) == 0 {
            for vm in 0..VMS {
                let [soft, kvm] = [soft.cluster().vm(vm), kvm.cluster().vm(vm)];
                excused.push(compare_memory(soft, kvm));
            }
        }
    }
    let [soft, kvm] = &pair.both;
    assert_eq!(soft.timeline(), kvm.timeline());
    assert_eq!(soft.network(), kvm.network());
    assert_eq!(soft.failure(), kvm.failure());
    assert_eq!(soft.oracle(), kvm.oracle());
    let granted = kvm.tally().events.get("acknowledged");
    assert!(granted.is_some_and(|&n| n > 5), "{granted:?}");
    println!("{accesses:?} accesses, {} entries", soft.timeline().len());
    assert!(excused.len() > VMS, "memory was compared");
    for (n, excuse) in EXCUSES.iter().enumerate() {
        let most = excused.iter().map(|words| words[n]).max();
        println!("{} words at most: {}", most.unwrap_or(0), excuse.why);
    }
}

/// What the host's interrupts change in a guest is rare and small, and a hash only says that it is
/// there. `CHAOS_PAIRS` runs more than one pair.
#[test]
#[ignore = "needs a KVM that runs Linux: tests/kvm.rs runs it"]
fn kvm_runs_a_branch_of_the_lock_service_twice_word_by_word() {
    let pairs = std::env::var("CHAOS_PAIRS").map_or(1, |n| n.parse::<u32>().unwrap());
    for n in 1..=pairs {
        let mut pair = Pair::new([Engine::Kvm, Engine::Kvm]);
        while pair.step(20 * MS) {
            let both = &mut pair.both;
            let [one, other] = both.each_mut().map(|s| TickRecord::of(s.cluster()));
            if one == other {
                continue;
            }
            let [one, other] = both;
            for vm in 0..VMS {
                let words = different_words(one.cluster().vm(vm), other.cluster().vm(vm));
                for (at, a, b) in words.into_iter().take(32) {
                    println!("vm {vm} at {at:#x}: {a:#x} and {b:#x}");
                }
            }
            panic!("pair {n} differs at {} ns", one.now());
        }
        println!("pair {n} is the same");
    }
}
