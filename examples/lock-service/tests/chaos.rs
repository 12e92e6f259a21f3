//! The lock service under faults: a control that has to hold, and a planted bug that
//! has to be found.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use chaoscontrol::prelude::*;
use lock_service::{Client, PORT, Rejoin, Server};

/// Threads of the client VM that want the same locks.
const WORKERS: u32 = 3;

/// What they lock: one for work that is soon done, one for work that takes a while.
const LOCKS: [&str; 2] = ["orders", "backup"];

/// A piece of work.
struct Job {
    /// The index in [`LOCKS`] of the lock that it needs.
    lock: usize,
    takes: Duration,
}

impl Job {
    /// Most work is short.
    fn draw() -> Job {
        let (lock, ms) = match random_choice(4) {
            0 => (1, 250 + random_choice(100)),
            _ => (0, 10 + random_choice(30)),
        };
        Job {
            lock,
            takes: Duration::from_millis(ms),
        }
    }
}

/// Who is inside of the critical section of one lock. A section lasts from when somebody
/// enters the empty room until it is empty again, so two holders at once share one.
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

/// The rooms of all [`LOCKS`].
type Rooms = [Mutex<Room>; LOCKS.len()];

/// One worker: does one job after another, and says who it is while it holds the lock.
fn work(node: &Node, number: u32, rooms: &Rooms) {
    let servers = node
        .servers()
        .iter()
        .map(|peer| peer.socket(PORT))
        .collect();
    let mut client = Client::new(servers, number);
    let mut due = Instant::now();
    let mut job = Job::draw();
    let mut pace = 1;
    while !node.is_quiet() {
        let lock = LOCKS[job.lock];
        let Some(held) = client.acquire(lock) else {
            // Short work is over the next time; what takes longer is asked for less often.
            thread::sleep(Duration::from_millis(pace * (60 + random_choice(80))));
            pace = 2;
            continue;
        };
        pace = 1;
        let room = || {
            rooms[job.lock]
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        let section = room().enter();
        assert_agree!((lock, section), number, "one holder at a time");
        send_event("acknowledged", "");
        // Out of the room well before the lease ends.
        let allowed = held
            .until
            .saturating_duration_since(Instant::now())
            .saturating_sub(Duration::from_millis(20));
        thread::sleep(job.takes.min(allowed));
        room().inside -= 1;
        client.release(lock, held);
        job = Job::draw();
        // Work comes in at a steady rate; what an outage has held up is caught up with.
        due += Duration::from_millis(300 + random_choice(60));
        let pause = Duration::from_millis(20 + random_choice(40));
        thread::sleep(due.saturating_duration_since(Instant::now()).max(pause));
    }
}

/// Contends for the locks until faults are over, then checks that the service recovered.
fn contend(node: Node) -> Result {
    node.wait_setup(Duration::from_secs(60))?;
    let rooms: Arc<Rooms> = Arc::default();
    let workers: Vec<_> = (0..WORKERS)
        .map(|number| {
            let (node, rooms) = (node.clone(), Arc::clone(&rooms));
            thread::spawn(move || work(&node, number, &rooms))
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
    while client.acquire(LOCKS[0]).is_none() {
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
#[rustfmt::skip]
#[chaos_test(
    vms = 4, clients = 1, rounds = 100,
    faults = [
        "partition", "one-way-partition", "latency", "jitter", "loss", "reorder", "heal",
        "kill", "pause", "resume", "restart", "skew", "wall-clock-jump",
    ]
)]
fn mutual_exclusion(node: Node) -> Result {
    lock_service(node, Rejoin::AfterALease)
}

/// A restarted server that grants at once what it has leased already and forgot.
#[rustfmt::skip]
#[chaos_test(
    vms = 4, clients = 1, rounds = 100,
    faults = [
        "partition", "one-way-partition", "latency", "jitter", "loss", "reorder", "heal",
        "kill", "pause", "resume", "restart", "skew", "wall-clock-jump",
    ]
)]
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
#[rustfmt::skip]
#[chaos_test(
    vms = 4, clients = 1, rounds = 100,
    faults = [
        "partition", "one-way-partition", "latency", "jitter", "loss", "reorder", "heal",
        "kill", "pause", "resume", "restart", "skew", "wall-clock-jump",
    ]
)]
#[ignore = "fails by design: shows a report"]
fn a_report(node: Node) -> Result {
    lock_service(node, Rejoin::AtOnce)
}

chaoscontrol::main!();
