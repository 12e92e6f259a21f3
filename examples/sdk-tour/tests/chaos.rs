//! A tour of the SDK: every call once, and every kind of test.

use std::sync::atomic::{AtomicU64, Ordering};

use chaoscontrol::oracle::history::{self as histories, HistoryError};
use chaoscontrol::prelude::*;
// `#[test]` functions of a file with chaos tests run on the host, beside them.
use chaoscontrol::test;
use sdk_tour::{PORT, Register, add, serve};

/// What a VM knows about itself and the others.
fn introduce(node: &Node) -> Result {
    send_event(
        "hello",
        format_args!(
            "{}, a {:?}, at {}, incarnation {}",
            node.name(),
            node.role(),
            node.addr(),
            node.incarnation()
        ),
    );
    assert_always!(
        node.servers().len() + node.clients().len() == node.vms().len(),
        "every vm is a server or a client",
        vms = node.vms(),
    );
    // All VMs see one value for a key, or the test fails.
    assert_agree!("size", node.vms().len(), "all see the same cluster");
    // A restart loses what lies in the data folder, which is in memory; a process that was
    // killed leaves it to the next one.
    let note = node.data_dir().join("note");
    if node.incarnation() == 0 && note.exists() {
        assert_unreachable!("the first incarnation finds data");
    }
    std::fs::write(note, node.index().to_string())?;
    Ok(())
}

async fn server(node: Node) -> Result {
    // Threads, tasks and sockets are those of a real Linux; time is virtual.
    let register = Register::default();
    let service = serve(register);
    // Faults begin when every server has said so.
    node.setup_complete();
    Ok(service.await?)
}

/// Adds until it works, which it has to within 1.5 s.
async fn recovers(server: &Peer) -> Result {
    let succeeds = async {
        while add(server.socket(PORT), 1).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let limit = Duration::from_millis(1500);
    let outcome = tokio::time::timeout(limit, succeeds).await;
    outcome.map_err(|_| format!("{} did not recover", server.name()).into())
}

async fn client(node: Node) -> Result {
    node.wait_setup(Duration::from_secs(30))?;
    let servers = node.servers();
    let mut added = 0u32;
    while !node.is_quiet() {
        // The exploration decides which server, and tries other choices in other branches.
        let server = &servers[random_choice(servers.len() as u64) as usize];
        // From the run's seed: the same in every replay.
        let amount = get_random() % 1000;
        let answer = add(server.socket(PORT), amount).await;
        // Once in all branches is enough; never is a failure.
        assert_sometimes!(
            answer.is_ok(),
            "an addition is acknowledged",
            server = server.name()
        );
        added += u32::from(answer.is_ok());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Now all faults are healed and killed VMs are back: the place for what must hold then.
    send_event("added", added);
    for server in servers {
        recovers(&server).await?;
    }
    assert_reachable!("all servers recover", added = added);
    Ok(())
}

/// Explores schedules of faults: two rounds of two branches, 3 s of faults and 2 s of
/// quiet in each. `async` bodies run on the crate's own tokio.
#[chaos_test(
    vms = 3,
    clients = 1,
    rounds = 2,
    branches = 2,
    duration = "3s",
    quiet = "2s",
    require = ["all servers recover"]
)]
async fn every_call(node: Node) -> Result {
    introduce(&node)?;
    match node.role() {
        Role::Server => server(node).await,
        Role::Client => client(node).await,
    }
}

/// One way to write a schedule down; a file in its text form is the other.
fn a_crash() -> FaultSchedule {
    FaultScheduleBuilder::new()
        .at(
            Duration::from_millis(500),
            Fault::NetworkPartition {
                side_a: vec![0],
                side_b: vec![1, 2],
            },
        )
        .at(Duration::from_secs(1), Fault::NetworkHeal)
        .at(
            Duration::from_millis(1500),
            Fault::ProcessKill { target: 1 },
        )
        .at(Duration::from_secs(2), Fault::ProcessRestart { target: 1 })
        .build()
}

/// A regression test: this one branch, no exploration.
#[chaos_test(vms = 3, clients = 1, duration = "3s", quiet = "2s", schedule = a_crash)]
async fn survives_a_crash(node: Node) -> Result {
    every_call(node).await
}

/// The same from a file.
#[chaos_test(
    vms = 3,
    clients = 1,
    duration = "3s",
    quiet = "2s",
    schedule = "tests/slow-network.toml"
)]
async fn survives_a_slow_network(node: Node) -> Result {
    every_call(node).await
}

/// A body may order faults itself, at the point of the protocol that it wants to try.
#[chaos_test(
    vms = 2,
    clients = 1,
    rounds = 1,
    branches = 1,
    duration = "3s",
    quiet = "1s",
    faults = []
)]
async fn orders_its_own_faults(node: Node) -> Result {
    if node.role() == Role::Server {
        return server(node).await;
    }
    node.wait_setup(Duration::from_secs(30))?;
    let server = node.servers()[0];
    let answers = async || add(server.socket(PORT), 1).await.is_ok();
    assert_always!(answers().await, "a healthy server answers");
    node.faults().partition([0], [1])?;
    assert_always!(!answers().await, "nothing passes a partition");
    node.faults().heal()?;
    recovers(&server).await?;
    node.faults().pause_for(0, Duration::from_millis(500))?;
    assert_always!(!answers().await, "a paused server does not answer");
    recovers(&server).await?;
    // Blocks the thread, which is right here: there is nothing else to do.
    node.wait_quiet();
    assert_always!(answers().await, "a paused server goes on");
    Ok(())
}

/// Programs that are packed beside the test run as if they were installed.
#[chaos_test(
    vms = 1,
    rounds = 1,
    branches = 1,
    duration = "1s",
    quiet = "500ms",
    binaries = ["/bin/cat", "/bin/sleep"]
)]
fn runs_other_programs(node: Node) -> Result {
    let mut sleep = node.command("sleep").arg("1000").spawn()?;
    node.setup_complete();
    let output = node.command("cat").stdin("purr").output()?;
    assert_always!(output.stdout == b"purr", "a program's output comes back");
    // Without `may_fail` a status other than 0 fails the test.
    let status = node
        .command("cat")
        .arg("/no/such/file")
        .may_fail()
        .status()?;
    assert_always!(!status.success(), "a program's status comes back");
    assert_always!(
        sleep.try_wait()?.is_none(),
        "a program runs beside the body"
    );
    // Nor would it be allowed to end by a signal, but for who has sent it.
    sleep.kill()?;
    sleep.wait()?;
    Ok(())
}

/// Judges each branch on the host, after its end: some order of all that the clients told of has
/// to explain what they were answered.
fn one_variable(run: &Run) -> std::result::Result<(), HistoryError> {
    run.linearizable(histories::Register::holding(0))
}

/// What clients do together is told as a history. These share a variable.
#[chaos_test(
    vms = 1,
    rounds = 1,
    branches = 2,
    duration = "1s",
    quiet = "500ms",
    check = one_variable
)]
fn tells_what_clients_do(node: Node) {
    node.setup_complete();
    let variable = AtomicU64::new(0);
    let client = |number: u64| {
        for round in 1..20 {
            let value = 100 * number + round;
            let write = history::write("variable", value);
            variable.store(value, Ordering::SeqCst);
            write.ok(());
            let read = history::read("variable");
            read.ok(variable.load(Ordering::SeqCst));
            let swap = history::compare_and_swap("variable", value, 0);
            let swapped = variable.compare_exchange(value, 0, Ordering::SeqCst, Ordering::SeqCst);
            swap.ok(swapped.is_ok());
            // A client that gave up would say `unknown()`, or nothing; one that was refused
            // `fail()`.
            std::thread::sleep(Duration::from_millis(random_choice(3)));
        }
    };
    std::thread::scope(|threads| {
        for number in 1..4 {
            let client = &client;
            threads.spawn(move || client(number));
        }
    });
}

/// Passes only if exploration finds the failure.
#[chaos_test(vms = 1, rounds = 1, branches = 1, duration = "1s", quiet = "500ms")]
#[should_panic(expected = "out of luck")]
fn is_bound_to_fail(node: Node) -> Result {
    node.setup_complete();
    node.wait_quiet();
    Err("out of luck".into())
}

/// Runs with `-- --ignored`.
#[chaos_test(vms = 3, clients = 1, rounds = 100)]
#[ignore = "a longer search"]
async fn every_call_at_length(node: Node) -> Result {
    every_call(node).await
}

/// An ordinary test, on the host. Here the SDK finds no VM around it, and does nothing.
#[test]
fn on_the_host_the_sdk_is_silent() {
    send_event("nobody", "hears this");
    assert!(random_choice(6) < 6);
    assert!(!chaoscontrol_guest::inside());
}

chaoscontrol::main!();
