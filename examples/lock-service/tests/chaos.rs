//! The lock service under faults: a control that has to hold, and a planted bug that
//! has to be found.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use chaoscontrol::prelude::*;
use lock_service::{Client, PORT, Rejoin, Server};

/// Threads of the client VM that want the same lock.
const WORKERS: u32 = 3;

/// Who is inside of the critical section. A section lasts from when somebody enters the
/// empty room until it is empty again, so two holders at once share one.
#[derive(Default)]
struct Room {
    inside: u32,
    section: u64,
}

impl Room {
    fn enter(&mut self) -> u64 {
        if self.inside == 0 {
            self.section += 1;
        }
        self.inside += 1;
        self.section
    }
}

/// One worker: takes the lock again and again, and says who it is while it holds it.
fn work(node: &Node, number: u32, room: &Mutex<Room>) {
    let servers = node
        .servers()
        .iter()
        .map(|peer| peer.socket(PORT))
        .collect();
    let mut client = Client::new(servers, number);
    let room = || room.lock().unwrap_or_else(PoisonError::into_inner);
    let mut due = Instant::now();
    while !node.is_quiet() {
        let Some(held) = client.acquire("the-lock") else {
            thread::sleep(Duration::from_millis(80 + random_choice(160)));
            continue;
        };
        let section = room().enter();
        assert_agree!(("section", section), number, "one holder at a time");
        send_event("acknowledged", "");
        // Most work is short, some takes a while.
        let wanted = match random_choice(8) {
            0 => Duration::from_millis(150 + random_choice(150)),
            _ => Duration::from_millis(10 + random_choice(30)),
        };
        // Out of the room well before the lease ends.
        let allowed = held
            .until
            .saturating_duration_since(Instant::now())
            .saturating_sub(Duration::from_millis(20));
        thread::sleep(wanted.min(allowed));
        room().inside -= 1;
        client.release("the-lock", held);
        // Work comes in at a steady rate; what an outage has held up is caught up with.
        due += Duration::from_millis(320 + random_choice(80));
        let pause = Duration::from_millis(20 + random_choice(40));
        thread::sleep(due.saturating_duration_since(Instant::now()).max(pause));
    }
}

/// Contends for one lock until faults are over, then checks that the service recovered.
fn contend(node: Node) -> Result {
    node.wait_setup(Duration::from_secs(60))?;
    let room = Arc::new(Mutex::new(Room::default()));
    let workers: Vec<_> = (0..WORKERS)
        .map(|number| {
            let (node, room) = (node.clone(), Arc::clone(&room));
            thread::spawn(move || work(&node, number, &room))
        })
        .collect();
    for worker in workers {
        worker.join().map_err(|_| "a worker panicked")?;
    }
    let mut client = Client::new(
        node.servers()
            .iter()
            .map(|peer| peer.socket(PORT))
            .collect(),
        WORKERS,
    );
    let healed = Instant::now();
    while client.acquire("the-lock").is_none() {
        if healed.elapsed() > Duration::from_secs(4) {
            return Err("no lock to be had 4 s after all faults were healed".into());
        }
        thread::sleep(Duration::from_millis(50));
    }
    assert_reachable!("the service recovers");
    Ok(())
}

/// What every VM runs: three servers, and one client.
fn lock_service(node: Node, rejoin: Rejoin) -> Result {
    if node.role() == Role::Client {
        return contend(node);
    }
    let server = Server::listen(rejoin)?;
    server.wait_joined();
    node.setup_complete();
    server.serve()?;
    Ok(())
}

/// The control: no fault may break it.
#[chaos_test(vms = 4, clients = 1, rounds = 100)]
fn mutual_exclusion(node: Node) -> Result {
    lock_service(node, Rejoin::AfterALease)
}

/// A restarted server that grants at once what it has leased already and forgot.
#[chaos_test(vms = 4, clients = 1, rounds = 100)]
#[should_panic(expected = "one holder at a time")]
fn a_forgetful_server_is_found(node: Node) -> Result {
    lock_service(node, Rejoin::AtOnce)
}

/// The bug needs faults to show.
#[chaos_test(vms = 4, clients = 1, rounds = 13, faults = [])]
fn without_faults_a_forgetful_server_is_right(node: Node) -> Result {
    lock_service(node, Rejoin::AtOnce)
}

/// The same bug, to see what a failure looks like.
#[chaos_test(vms = 4, clients = 1, rounds = 100)]
#[ignore = "fails by design: shows a report"]
fn a_report(node: Node) -> Result {
    lock_service(node, Rejoin::AtOnce)
}

chaoscontrol::main!();
