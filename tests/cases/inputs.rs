//! Chaos tests that fail by what they are answered, not by faults, for `inputs.rs`.

use chaoscontrol::prelude::*;

/// Fails when three choices among twenty fall right, one after another.
#[chaos_test(mode = "inputs", rounds = 50, branches = 8)]
#[ignore = "for inputs.rs"]
fn opens_by_three_numbers(node: Node) -> Result {
    node.setup_complete();
    node.wait_setup(Duration::from_secs(1))?;
    if random_choice(20) == 7 {
        println!("one");
        if random_choice(20) == 13 {
            println!("two");
            if random_choice(20) == 2 {
                return Err("the lock is open".into());
            }
        }
    }
    Ok(())
}

/// Fails at the top of twelve steps, each of which one in four takes.
#[chaos_test(mode = "inputs", rounds = 60, branches = 8)]
#[ignore = "for inputs.rs"]
fn climbs_twelve_steps(node: Node) -> Result {
    node.setup_complete();
    node.wait_setup(Duration::from_secs(1))?;
    for step in 0..12 {
        maximize!("steps", step);
        if random_choice(4) != 2 {
            return Ok(());
        }
    }
    Err("it is at the top".into())
}
