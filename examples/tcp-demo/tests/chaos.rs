//! Messages between virtual machines, over a network that loses, delays, swaps and doubles
//! packets and falls apart. TCP makes up for all of that, and a service that uses it rightly
//! does not notice; the planted mistake does.

use std::thread;
use std::time::Duration;

use chaoscontrol::prelude::*;
use tcp_demo::{Client, PORT, Reading, Server};

/// Messages of each client.
const MESSAGES: u64 = 50;

/// Message `number`: random bytes, of any length up to several packets.
fn message(number: u64) -> Vec<u8> {
    let mut message = number.to_be_bytes().to_vec();
    message.resize(8 + random_choice(6000) as usize, 0);
    for chunk in message[8..].chunks_mut(8) {
        chunk.copy_from_slice(&get_random().to_be_bytes()[..chunk.len()]);
    }
    message
}

/// Runs in every VM: the first is the server, the others are clients.
fn echoes(node: Node, reading: Reading) -> Result {
    if node.role() == Role::Server {
        let server = Server::listen(reading)?;
        // Faults begin when every server has said so.
        node.setup_complete();
        return Ok(server.serve()?);
    }
    node.wait_setup(Duration::from_secs(30))?;
    let mut client = Client::connect(node.servers()[0].socket(PORT));
    for number in 0..MESSAGES {
        let sent = message(number);
        // An error, such as that the connection broke, fails the test, too.
        let back = client.echo(&sent)?;
        assert_always!(
            back == sent,
            "messages come back whole and in order",
            number = number,
            sent = sent.len(),
            back = back.len(),
        );
        thread::sleep(Duration::from_millis(20));
    }
    assert_reachable!("all messages are back");
    Ok(())
}

/// Every branch has other faults at other times. When a body has not returned by the end of
/// the quiet period, in which there are none, `must_finish` makes that a failure: then a
/// connection was lost for good.
#[chaos_test(
    vms = 3,
    clients = 2,
    rounds = 2,
    duration = "3s",
    quiet = "12s",
    must_finish = true,
    faults = ["partition", "one-way-partition", "heal", "latency", "jitter", "loss", "reorder", "duplicate"]
)]
fn a_transfer_survives_the_network(node: Node) -> Result {
    echoes(node, Reading::Whole)
}

/// What the library prints of a failure is the shortest list of faults that shows it. Leave
/// `should_panic` out to see it.
#[chaos_test(vms = 2, clients = 1, rounds = 30, duration = "3s", quiet = "1s", faults = ["loss", "latency", "jitter", "reorder"])]
#[should_panic(expected = "messages come back whole and in order")]
fn a_message_that_is_read_in_part_is_found(node: Node) -> Result {
    echoes(node, Reading::OneRead)
}

chaoscontrol::main!();
