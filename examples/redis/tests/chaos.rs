//! What Redis promises of writes that it has acknowledged: those that it has synced to its
//! log outlive a power cut.
//!
//! `packages` fetches Redis where it is not installed. Nothing in it knows of this test.

use chaoscontrol::prelude::*;
use redis_power_cuts::{Answer, Client, PORT};

/// A primary, two replicas, and a client that writes to the primary.
fn redis(node: Node, appendfsync: &str) -> Result {
    match node.role() {
        Role::Server => serve(&node, appendfsync),
        Role::Client => write_and_read(&node),
    }
}

fn serve(node: &Node, appendfsync: &str) -> Result {
    let mut server = node.command("redis-server");
    server
        .current_dir(node.data_dir())
        .args(["--port", &PORT.to_string(), "--protected-mode", "no"])
        .args(["--save", "", "--appendonly", "yes"])
        .args(["--appendfsync", appendfsync])
        .args(["--repl-diskless-sync-delay", "0"]);
    if node.index() > 0 {
        server.args(["--replicaof", "vm0", &PORT.to_string()]);
    }
    let mut server = server.spawn()?;
    let own = node.servers()[node.index()];
    until(|| tell(&mut None, &own, &["PING"]).ok());
    node.setup_complete();
    // It goes on for ever. Should it fail, so does the test.
    server.wait()?;
    Ok(())
}

/// Writes while there are faults, and when they are over reads what was acknowledged.
fn write_and_read(node: &Node) -> Result {
    node.wait_setup(Duration::from_secs(30))?;
    let servers = node.servers();
    let mut connection = None;
    let mut written = Vec::new();
    for number in 0.. {
        if node.is_quiet() {
            break;
        }
        let key = format!("key-{number}");
        if tell(&mut connection, &servers[0], &["SET", &key, &key]).is_ok() {
            written.push(key);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    send_event("acknowledged", written.len());
    assert_sometimes!(written.len() > 50, "the primary acknowledges writes");
    for key in written {
        // A server that reads its log answers with errors until it is done.
        let value = until(|| tell(&mut connection, &servers[0], &["GET", &key]).ok());
        assert_always!(
            value == Answer::Value(key.clone().into_bytes()),
            "an acknowledged write is not lost",
            key = key
        );
    }
    let size = |server| tell(&mut None, server, &["DBSIZE"]).ok();
    let sizes: Vec<Option<Answer>> = servers.iter().map(size).collect();
    assert_sometimes!(
        sizes[0].is_some() && sizes.iter().all(|size| *size == sizes[0]),
        "the replicas have what the primary has"
    );
    Ok(())
}

/// Sends a command on a connection to a server, a new one if the last has failed.
fn tell(connection: &mut Option<Client>, server: &Peer, command: &[&str]) -> Result<Answer> {
    let mut client = match connection.take() {
        Some(client) => client,
        None => Client::connect(server.socket(PORT))?,
    };
    let answer = client.ask(command)?;
    *connection = Some(client);
    Ok(answer)
}

/// Tries again and again.
fn until<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(outcome) = attempt() {
            return outcome;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[chaos_test(
    vms = 4,
    clients = 1,
    rounds = 2,
    duration = "3s",
    quiet = "5s",
    must_finish = true,
    disk = "64M",
    packages = ["redis-server"],
    binaries = ["/usr/bin/redis-server"],
    faults = ["partition", "one-way-partition", "kill", "restart"]
)]
fn what_is_synced_is_not_lost(node: Node) -> Result {
    redis(node, "always")
}

/// With `no` Redis leaves it to the kernel when the log reaches the disk.
#[chaos_test(
    vms = 4,
    clients = 1,
    rounds = 20,
    duration = "3s",
    quiet = "5s",
    disk = "64M",
    packages = ["redis-server"],
    binaries = ["/usr/bin/redis-server"],
    faults = ["partition", "one-way-partition", "kill", "restart"]
)]
#[should_panic(expected = "an acknowledged write is not lost")]
fn what_is_not_synced_is_lost(node: Node) -> Result {
    redis(node, "no")
}

/// The same as a failure: shrunk, with its report.
#[chaos_test(
    vms = 4,
    clients = 1,
    rounds = 20,
    duration = "3s",
    quiet = "5s",
    disk = "64M",
    packages = ["redis-server"],
    binaries = ["/usr/bin/redis-server"],
    faults = ["partition", "one-way-partition", "kill", "restart"]
)]
#[ignore = "fails by design, to show the report"]
fn a_report(node: Node) -> Result {
    redis(node, "no")
}

chaoscontrol::main!();
