//! The program that whole-system tests boot as `/init`: the agent, and a few bodies.

mod orders;
mod storage;

use std::hash::{BuildHasher, RandomState};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use chaoscontrol_guest::{Node, agent, get_random, send_event};

const PORT: u16 = 7000;

fn main() {
    agent::enter(&|name| match name {
        "idle" => Some(idle),
        "silent" => Some(silent),
        "random" => Some(random),
        "draws" => Some(draws),
        "draws-busily" => Some(draws_busily),
        "ring" => Some(ring),
        "ring-with-log" => Some(ring_with_log),
        "beats" => Some(orders::beats),
        "family" => Some(orders::family),
        "hungry" => Some(orders::hungry),
        "writes" => Some(orders::writes),
        "records" => Some(storage::records),
        _ => None,
    });
    orders::enter_child();
    eprintln!("this program is the guest of whole-system tests and runs only in a test VM");
    std::process::exit(2);
}

/// Completes its setup and does nothing.
fn idle(node: Node) -> Result<(), String> {
    node.setup_complete();
    Ok(())
}

/// Runs, and never tells anyone.
fn silent(_: Node) -> Result<(), String> {
    loop {
        std::thread::park();
    }
}

/// Says what the kernel's random generator and the host's streams give it.
fn random(node: Node) -> Result<(), String> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut f| f.read_exact(&mut bytes))
        .map_err(|e| e.to_string())?;
    send_event("kernel", u128::from_le_bytes(bytes));
    send_event("host", get_random());
    node.setup_complete();
    loop {
        std::thread::park();
    }
}

/// Says what the standard library's hashers get from the kernel, before the setup is
/// complete and then every 10 ms.
fn draws(node: Node) -> Result<(), String> {
    draw_for_ever(node, || std::thread::sleep(Duration::from_millis(10)))
}

/// The same, without ever leaving the CPU to others.
fn draws_busily(node: Node) -> Result<(), String> {
    draw_for_ever(node, || {
        for i in 0..10_000 {
            std::hint::black_box(i);
        }
    })
}

fn draw_for_ever(node: Node, pause: fn()) -> Result<(), String> {
    // A thread's first hasher asks the kernel for its keys.
    let draw = || std::thread::spawn(|| RandomState::new().hash_one(0)).join();
    send_event("before", draw().map_err(|_| "no thread")?);
    node.setup_complete();
    loop {
        pause();
        send_event("drew", draw().map_err(|_| "no thread")?);
    }
}

/// The same as [`ring`], beside a log whose lines reach the disk one by one.
fn ring_with_log(node: Node) -> Result<(), String> {
    let path = node.data_dir().join("log");
    std::thread::spawn(move || {
        for count in 0.. {
            // A disk that fails is no reason to end: that is what it is there for.
            let _ = storage::append(&path, count);
            std::thread::sleep(Duration::from_millis(40));
        }
    });
    ring(node)
}

/// Sends counted lines to the next VM over TCP, for ever, and reports those of the one before.
fn ring(node: Node) -> Result<(), String> {
    let listener = TcpListener::bind(("0.0.0.0", PORT)).map_err(|e| e.to_string())?;
    node.setup_complete();
    let next = node.vms()[(node.index() + 1) % node.vms().len()].socket(PORT);
    std::thread::spawn(move || {
        let mut count = 0u64;
        loop {
            let Ok(mut stream) = TcpStream::connect(next) else {
                std::thread::sleep(Duration::from_millis(10));
                continue;
            };
            while writeln!(stream, "{count}").is_ok() {
                count += 1;
                std::thread::sleep(Duration::from_millis(3));
            }
        }
    });
    loop {
        let (stream, _) = listener.accept().map_err(|e| e.to_string())?;
        for line in std::io::BufRead::lines(std::io::BufReader::new(stream)) {
            match line {
                Ok(line) => send_event("heard", line),
                Err(_) => break,
            }
        }
    }
}
