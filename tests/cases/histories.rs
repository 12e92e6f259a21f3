//! Chaos tests that `check` judges, for `histories.rs` to run one at a time.

use std::net::{SocketAddr, UdpSocket};
use std::str::FromStr;
use std::thread;

use chaoscontrol::guest::protocol::{Message, Outcome};
use chaoscontrol::guest::transport::send;
use chaoscontrol::oracle::history::{HistoryError, Register};
use chaoscontrol::prelude::*;

const PORT: u16 = 4000;

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_millis(100);

/// Texts of three numbers: what is asked, the request's number, a value.
fn numbers<T: FromStr + Copy>(bytes: &[u8]) -> Option<[T; 3]> {
    let text = str::from_utf8(bytes).ok()?;
    let numbers: Vec<T> = text.split(' ').filter_map(|n| n.parse().ok()).collect();
    numbers.try_into().ok()
}

const READ: u64 = 0;
const WRITE: u64 = 1;
/// From the primary to its replica; the request's number is the value's version.
const COPY: u64 = 2;

/// Holds a register: server 0 takes writes and copies them to server 1, without waiting for it.
fn serve(node: &Node) -> Result {
    let socket = UdpSocket::bind((node.addr(), PORT))?;
    let replica = node.servers()[1].socket(PORT);
    node.setup_complete();
    let (mut value, mut version) = (0, 0);
    let mut bytes = [0; 64];
    loop {
        let (length, from) = socket.recv_from(&mut bytes)?;
        let Some([what, number, new]) = numbers::<u64>(&bytes[..length]) else {
            continue;
        };
        match what {
            WRITE => {
                (value, version) = (new, version + 1);
                socket.send_to(format!("{COPY} {version} {value}").as_bytes(), replica)?;
            }
            COPY if number > version => (value, version) = (new, number),
            COPY => continue,
            _ => {}
        }
        socket.send_to(format!("{what} {number} {value}").as_bytes(), from)?;
    }
}

/// A client with requests under way one at a time.
struct Client {
    socket: UdpSocket,
    requests: u64,
}

impl Client {
    fn new(node: &Node) -> Result<Client> {
        let socket = UdpSocket::bind((node.addr(), 0))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let requests = 0;
        Ok(Client { socket, requests })
    }

    /// The value that is answered, if anything is.
    fn ask(&mut self, server: SocketAddr, what: u64, value: u64) -> Option<u64> {
        self.requests += 1;
        let text = format!("{what} {} {value}", self.requests);
        self.socket.send_to(text.as_bytes(), server).ok()?;
        let mut bytes = [0; 64];
        loop {
            let length = self.socket.recv(&mut bytes).ok()?;
            match numbers::<u64>(&bytes[..length]) {
                Some([_, number, value]) if number == self.requests => return Some(value),
                _ => {}
            }
        }
    }
}

/// Writes from one thread and reads from another, at `readers` in turn, until faults are over.
fn use_register(node: &Node, readers: &[Peer]) -> Result {
    let primary = node.servers()[0].socket(PORT);
    let mut writer = Client::new(node)?;
    let mut reader = Client::new(node)?;
    node.wait_setup(Duration::from_secs(30))?;
    thread::scope(|threads| {
        threads.spawn(move || {
            for value in 1.. {
                let write = history::write("x", value);
                match writer.ask(primary, WRITE, value) {
                    Some(_) => write.ok(()),
                    None => write.unknown(),
                }
                if node.is_quiet() {
                    break;
                }
            }
        });
        for server in readers.iter().cycle() {
            let read = history::read("x");
            if let Some(value) = reader.ask(server.socket(PORT), READ, 0) {
                read.ok((value != 0).then_some(value));
            }
            if node.is_quiet() {
                break;
            }
        }
    });
    Ok(())
}

fn one_value_at_a_time(run: &Run) -> std::result::Result<(), HistoryError> {
    run.linearizable(Register::new())
}

#[chaos_test(
    vms = 3, clients = 1, rounds = 8, branches = 4, duration = "500ms", quiet = "100ms",
    faults = ["loss"], check = one_value_at_a_time,
)]
#[ignore = "for histories.rs"]
fn reads_what_is_stale(node: Node) -> Result {
    match node.role() {
        Role::Server => serve(&node),
        Role::Client => use_register(&node, &node.servers()),
    }
}

#[chaos_test(
    vms = 3, clients = 1, rounds = 3, branches = 4, duration = "500ms", quiet = "100ms",
    faults = ["partition", "loss"], check = one_value_at_a_time,
)]
#[ignore = "for histories.rs"]
fn reads_where_it_writes(node: Node) -> Result {
    match node.role() {
        Role::Server => serve(&node),
        Role::Client => use_register(&node, &node.servers()[..1]),
    }
}

/// Sees what there is to see, and objects to it.
fn objects(run: &Run) -> std::result::Result<(), String> {
    let events: Vec<_> = run
        .events()
        .map(|event| (event.at.vm, event.name))
        .collect();
    let faults: Vec<_> = run.faults().map(|(_, fault)| fault.to_string()).collect();
    let lines = run.lines().filter(|line| line.program.is_none());
    let lines: Vec<_> = lines.map(|line| line.text).collect();
    Err(format!("{events:?} {faults:?} {lines:?}"))
}

#[chaos_test(check = self::objects)]
#[ignore = "for histories.rs"]
fn is_objected_to(node: Node) -> Result {
    node.setup_complete();
    node.faults().latency(0, Duration::from_millis(5))?;
    thread::sleep(Duration::from_millis(10));
    println!("a line");
    send_event("an event", 7);
    Ok(())
}

fn panics(run: &Run) -> std::result::Result<(), String> {
    panic!("{} VMs are not to my taste", run.vms());
}

#[chaos_test(check = panics)]
#[ignore = "for histories.rs"]
fn is_judged_by_one_that_panics(node: Node) {
    node.setup_complete();
}

#[chaos_test(check = one_value_at_a_time)]
#[ignore = "for histories.rs"]
fn returns_what_nobody_called(node: Node) {
    node.setup_complete();
    let outcome = Outcome::Unknown;
    send(&Message::Return { id: 99, outcome });
}
