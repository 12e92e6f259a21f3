//! Two threads of one process in one VM. Their race shows if the scheduler takes the CPU from
//! one of them between two certain instructions of a payment: the search finds when.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use chaoscontrol::prelude::*;
use race::Account;

/// Payments of each thread.
const PAYMENTS: u64 = 100;

/// Lets two threads pay in, and counts what has arrived.
fn tellers(node: Node, pay: fn(&Account, u64)) -> Result {
    node.setup_complete();
    node.wait_setup(Duration::from_secs(30))?;
    let account = Arc::new(Account::default());
    let tellers: Vec<_> = (0..2)
        .map(|_| {
            let account = Arc::clone(&account);
            thread::spawn(move || {
                for _ in 0..PAYMENTS {
                    // Both wake at the same time, and pay one after the other.
                    thread::sleep(Duration::from_millis(1));
                    pay(&account, 1);
                }
            })
        })
        .collect();
    for teller in tellers {
        teller.join().map_err(|_| "a teller panicked")?;
    }
    let balance = account.balance();
    assert_always!(balance == 2 * PAYMENTS, "no payment is lost");
    Ok(())
}

/// The control: no preemption breaks what a lock protects.
#[chaos_test(vms = 1, rounds = 20, duration = "200ms", quiet = "1s", faults = ["preempt"])]
fn with_a_lock_no_payment_is_lost(node: Node) -> Result {
    tellers(node, Account::pay_alone)
}

/// A lost update, which needs a preemption at the right instruction.
#[chaos_test(vms = 1, rounds = 100, duration = "200ms", quiet = "1s", faults = ["preempt"])]
#[should_panic(expected = "no payment is lost")]
fn a_lost_payment_is_found(node: Node) -> Result {
    tellers(node, Account::pay)
}

/// The kernel's own scheduling does not show it.
#[chaos_test(vms = 1, rounds = 2, duration = "200ms", quiet = "1s", faults = [])]
fn without_preemptions_no_payment_is_lost(node: Node) -> Result {
    tellers(node, Account::pay)
}

/// The same race, to see what a failure looks like.
#[chaos_test(vms = 1, rounds = 100, duration = "200ms", quiet = "1s", faults = ["preempt"])]
#[ignore = "fails by design: shows a report"]
fn a_report(node: Node) -> Result {
    tellers(node, Account::pay)
}

chaoscontrol::main!();
