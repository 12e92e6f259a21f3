//! The guest program by which the CPU's speed on user code is measured.

use std::hint::black_box;
use std::time::Duration;

use chaoscontrol_guest::Node;

/// The name under which the agent finds it.
pub const NAME: &str = "chaoscontrol::bench::mix";

/// Words of the table that it works on: 256 KiB.
const WORDS: usize = 1 << 15;

/// Steps between two events.
const STEPS: u64 = 1 << 20;

/// Loads, stores, arithmetic, calls and branches, with an event now and then, for ever.
pub fn body(node: Node) -> Result<(), String> {
    let mut table: Vec<u64> = (0..WORDS as u64).collect();
    node.setup_complete();
    // Whoever waits for the setup gets past it, also where computing takes no time.
    std::thread::sleep(Duration::from_millis(20));
    let mut state = 1;
    loop {
        for _ in 0..STEPS {
            state = step(black_box(&mut table), state);
        }
        chaoscontrol_guest::send_event("mixed", state);
    }
}

/// One step of a generator that picks a place, and a choice of what to do there.
#[inline(never)]
fn step(table: &mut [u64], state: u64) -> u64 {
    let mut x = state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    let place = x as usize % WORDS;
    let value = table[place];
    table[place] = match x % 4 {
        0 => value.wrapping_add(x),
        1 => fold(value, x),
        2 => value ^ table[(place + 64) % WORDS],
        _ => value.rotate_left(9),
    };
    x
}

/// A short loop with a branch that is hard to foretell.
#[inline(never)]
fn fold(mut value: u64, x: u64) -> u64 {
    for bit in 0..8 {
        if x >> bit & 1 == 0 {
            value = value.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        } else {
            value = value.wrapping_sub(bit);
        }
    }
    value
}
