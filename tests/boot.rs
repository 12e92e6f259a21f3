//! One machine: the lean kernel boots to the agent, always in the same way.

use std::path::Path;
use std::sync::OnceLock;

use chaoscontrol::machine::{DeterministicVm, Stop, Until, VmConfig, traps_rdtsc};
use chaoscontrol_tests::Numbers;

fn config() -> VmConfig {
    static CONFIG: OnceLock<VmConfig> = OnceLock::new();
    let make = || chaoscontrol_tests::machine(Path::new(env!("CARGO_BIN_EXE_guest")));
    CONFIG.get_or_init(make).clone()
}

fn boot(vm: &mut DeterministicVm) {
    let until = Until {
        boot: true,
        instructions: Some(100_000_000),
        ..Until::default()
    };
    let stop = vm.run(&until);
    assert_eq!(
        stop,
        Stop::Boot,
        "{:?} at {} instructions",
        vm.off(),
        vm.retired()
    );
}

#[test]
fn the_kernel_boots_to_the_agent_within_20_million_instructions() {
    let config = config();
    let mib = config.initrd.len() as u64 >> 20;
    let mut vm = DeterministicVm::new(config).unwrap();
    boot(&mut vm);
    let limit = 20_000_000 + mib.saturating_sub(4) * 900_000;
    assert!(
        vm.retired() <= limit,
        "{} instructions, with {mib} MiB packed",
        vm.retired()
    );
}

#[test]
fn the_kernel_keeps_the_time_stamp_counter_from_programs() {
    assert!(traps_rdtsc(&config().kernel));
}

#[test]
fn two_boots_give_one_state_hash() {
    let mut first = DeterministicVm::new(config()).unwrap();
    let mut second = DeterministicVm::new(config()).unwrap();
    boot(&mut first);
    // Cut into uneven pieces, which may not matter.
    let mut numbers = Numbers::new(1);
    let mut pieces = 0;
    while second.retired() < first.retired() {
        let piece = (1 + numbers.below(500_000)).min(first.retired() - second.retired());
        second.run(&Until {
            instructions: Some(piece),
            ..Until::default()
        });
        pieces += 1;
    }
    assert!(pieces > 10);
    assert_eq!(first.retired(), second.retired());
    assert_eq!(first.state_hash(), second.state_hash());
}

#[test]
fn a_fork_at_any_instruction_continues_as_the_original() {
    let mut original = DeterministicVm::new(config()).unwrap();
    let mut numbers = Numbers::new(2);
    let mut last = None;
    for _ in 0..12 {
        original.run(&Until {
            instructions: Some(numbers.below(900_000)),
            ..Until::default()
        });
        let snapshot = original.snapshot();
        let mut fork = DeterministicVm::from_snapshot(&snapshot).unwrap();
        let on = Until {
            instructions: Some(200_000 + numbers.below(100_000)),
            ..Until::default()
        };
        fork.run(&on);
        original.run(&on);
        assert_eq!(
            original.state_hash(),
            fork.state_hash(),
            "forked at {}",
            original.retired()
        );
        // And back: a restore into a machine that ran elsewhere.
        if let Some((earlier, hash, more)) = last.replace((snapshot, original.state_hash(), on)) {
            fork.restore(&earlier).unwrap();
            fork.run(&more);
            assert_eq!(fork.state_hash(), hash);
        }
    }
}
