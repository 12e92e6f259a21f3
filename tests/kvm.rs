//! The KVM engine, tested where `/dev/kvm` works (see the module `qemu`).

use std::path::Path;

use chaoscontrol_tests::qemu::{self, Command, Ending, Run};

fn run(commands: &[Command]) -> Run {
    let init = Path::new(env!("CARGO_BIN_EXE_in-qemu"));
    let run = qemu::run(init, commands, &mut |line| println!("| {line}"));
    run.unwrap_or_else(|trouble| panic!("{trouble}"))
}

#[test]
fn a_guest_of_two_instructions_runs() {
    let run = run(&[Command::new(env!("CARGO_BIN_EXE_tiny"))]);
    let outcome = &run.outcomes[0];
    println!("/dev/kvm ready after {:?}", run.ready);
    assert_eq!(outcome.ending, Ending::Exited(0), "{}", outcome.output);
    assert!(
        outcome.output.contains("API version 12\n"),
        "{}",
        outcome.output
    );
    assert!(outcome.output.contains(" port exits"), "{}", outcome.output);
}
