//! What each kind of fault does to a real guest: a chaos test for each, named after it, whose body
//! orders the fault and looks for its effect from inside.

mod clock;
mod disk;
mod interrupt;
mod memory;
mod network;
mod process;
mod repeat;
mod resource;
mod server;
mod space;

use std::collections::BTreeSet;

use chaoscontrol::fault::FaultKind;
use chaoscontrol::harness::registry::TESTS;
use chaoscontrol::test;

#[test]
fn every_kind_has_a_test_of_its_effect() {
    let tests: BTreeSet<String> = TESTS
        .iter()
        .map(|case| case.function.replace('_', "-"))
        .collect();
    let missing: Vec<_> = FaultKind::all()
        .map(FaultKind::name)
        .filter(|name| !tests.contains(*name))
        .collect();
    assert!(
        missing.is_empty(),
        "nothing shows the effect of {missing:?}"
    );
}

chaoscontrol::main!();
