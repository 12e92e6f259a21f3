//! The SDK port against whatever a guest may put in its registers and memory.

use chaoscontrol_guest::protocol::{
    Call, End, Identity, MALFORMED, MAX_MESSAGE, Message, UNMAPPED, VERSION,
};

use super::RandomStream;
use super::sdk::Sdk;
use crate::cluster::ClusterConfig;
use crate::cpu::{Exit, Vcpu};

/// Registers and a few pages of memory at address 0.
struct Caller {
    gpr: [u64; 16],
    memory: Vec<u8>,
}

impl Caller {
    fn new() -> Caller {
        Caller {
            gpr: [0; 16],
            memory: vec![0; 0x2_0000],
        }
    }

    fn send(&mut self, sdk: &mut Sdk, message: &[u8]) -> (u64, Option<Vec<u8>>) {
        self.memory[..message.len()].copy_from_slice(message);
        self.gpr[0] = u64::from(VERSION);
        (self.gpr[7], self.gpr[6]) = (0, message.len() as u64);
        let passed_on = sdk.call(self, 4, 0);
        (self.gpr[0], passed_on.map(|sent| sent.bytes))
    }

    fn range(&self, address: u64, size: usize) -> Option<std::ops::Range<usize>> {
        let end = address.checked_add(size as u64)?;
        (end <= self.memory.len() as u64).then_some(address as usize..end as usize)
    }
}

impl Vcpu for Caller {
    fn run(&mut self, _: u64, _: bool) -> Exit {
        Exit::Budget
    }
    fn complete(&mut self, _: u64) {}
    fn more(&mut self) -> Option<Exit> {
        None
    }
    fn finish(&mut self) -> Option<Exit> {
        None
    }
    fn count(&self) -> u64 {
        0
    }
    fn interruptible(&mut self) -> bool {
        false
    }
    fn inject(&mut self, _: u8) {}
    fn nmi(&mut self) {
        unreachable!()
    }
    fn halted(&self) -> bool {
        false
    }
    fn rip(&mut self) -> u64 {
        0
    }

    fn gpr(&mut self, index: usize) -> u64 {
        self.gpr[index]
    }
    fn set_gpr(&mut self, index: usize, value: u64) {
        self.gpr[index] = value;
    }
    fn read_virtual(&mut self, address: u64, into: &mut [u8]) -> bool {
        let range = self.range(address, into.len());
        range.is_some_and(|range| {
            into.copy_from_slice(&self.memory[range]);
            true
        })
    }
    fn write_virtual(&mut self, address: u64, from: &[u8]) -> bool {
        let range = self.range(address, from.len());
        range.is_some_and(|range| {
            self.memory[range].copy_from_slice(from);
            true
        })
    }
}

fn sdk() -> Sdk {
    let mut sdk = Sdk::new(&[1; 32]);
    let config = ClusterConfig::default();
    sdk.set_identity(config.identity(1, false, Default::default(), 0));
    sdk
}

fn encoded(message: Message<'_>) -> Vec<u8> {
    let mut buffer = [0; 256];
    let length = message.encode(&mut buffer).unwrap();
    buffer[..length].to_vec()
}

#[test]
fn the_machine_answers_what_it_can() {
    let (mut sdk, mut caller) = (sdk(), Caller::new());
    let random = caller.send(&mut sdk, &encoded(Message::GetRandom));
    assert_ne!(random, caller.send(&mut sdk, &encoded(Message::GetRandom)));
    let (choice, _) = caller.send(&mut sdk, &encoded(Message::RandomChoice { n: 3 }));
    assert!(choice < 3);
    let mut room = encoded(Message::Identity);
    assert_eq!(caller.send(&mut sdk, &room), (MALFORMED, None), "no room");
    room.resize(1024, 0);
    let (length, _) = caller.send(&mut sdk, &room);
    let identity = &caller.memory[..length as usize];
    let identity = Identity::decode(identity).unwrap();
    assert_eq!((identity.index, identity.hostname), (1, "vm1"));
    let body = encoded(Message::BodyStarted { pid: 3 });
    assert_eq!(caller.send(&mut sdk, &body), (0, Some(body.clone())));
}

#[test]
fn a_body_that_a_fault_has_killed_is_another_incarnation_from_then_on() {
    let (mut sdk, mut caller) = (sdk(), Caller::new());
    let killed = encoded(Message::BodyEnd { end: End::Killed });
    let other = encoded(Message::BodyEnd { end: End::Ok });
    for (message, incarnation) in [(&other, 0), (&killed, 1), (&killed, 2)] {
        assert_eq!(caller.send(&mut sdk, message), (0, Some(message.clone())));
        let mut room = encoded(Message::Identity);
        room.resize(1024, 0);
        let (length, _) = caller.send(&mut sdk, &room);
        let identity = Identity::decode(&caller.memory[..length as usize]).unwrap();
        assert_eq!(identity.incarnation, incarnation);
        assert_eq!((identity.index, identity.hostname), (1, "vm1"));
        assert_eq!(sdk.incarnation(), incarnation);
    }
}

#[test]
fn no_two_calls_of_a_vm_have_the_same_number_in_any_of_its_lives() {
    let invoke = |id| {
        encoded(Message::Invoke {
            id,
            key: "x",
            call: Call::Read,
        })
    };
    let mut numbers = Vec::new();
    for life in 0..2 {
        let (mut sdk, mut caller) = (sdk(), Caller::new());
        let killed = encoded(Message::BodyEnd { end: End::Killed });
        (0..life).for_each(|_| drop(caller.send(&mut sdk, &killed)));
        for forged in [0, 7] {
            let (number, message) = caller.send(&mut sdk, &invoke(forged));
            assert_eq!(message, Some(invoke(number)));
            numbers.push(number);
        }
    }
    assert_eq!(numbers, [1, 2, (1 << 32) + 1, (1 << 32) + 2]);
}

#[test]
fn unmapped_and_oversized_buffers_are_told_apart() {
    let (mut sdk, mut caller) = (sdk(), Caller::new());
    for (address, length, answer) in [
        (u64::MAX - 3, 8, UNMAPPED),
        (0x1_FFFF, 2, UNMAPPED),
        (0, MAX_MESSAGE as u64 + 1, MALFORMED),
        (0, u64::MAX, MALFORMED),
        (0, 0, MALFORMED),
    ] {
        caller.gpr[0] = u64::from(VERSION);
        (caller.gpr[7], caller.gpr[6]) = (address, length);
        assert_eq!(sdk.call(&mut caller, 4, 0), None);
        assert_eq!(caller.gpr[0], answer, "{address:#x} {length:#x}");
    }
    caller.gpr[0] = u64::from(VERSION) + 1;
    sdk.call(&mut caller, 4, 0);
    assert_eq!(caller.gpr[0], MALFORMED);
}

#[test]
fn random_registers_and_messages_do_no_harm() {
    let seed = 20_250_101;
    println!("seed {seed}");
    let mut random = RandomStream::derive(seed, "sdk fuzz", &[]);
    let (mut sdk, mut caller) = (sdk(), Caller::new());
    let mut passed_on = 0;
    for _ in 0..1_000_000 {
        let length = random.below(64);
        let address = random.below(0x2_0010);
        let start = (address as usize).min(0x2_0000 - 64);
        random.fill(&mut caller.memory[start..start + length as usize]);
        caller.memory[start] = random.below(24) as u8;
        if random.chance(500_000) {
            // Short strings and small numbers decode more often.
            for byte in &mut caller.memory[start + 1..start + 1 + length as usize] {
                *byte &= 1;
            }
        }
        for register in [0, 6, 7] {
            caller.gpr[register] = random.next_u64();
        }
        if !random.chance(10_000) {
            caller.gpr[0] = u64::from(VERSION);
            (caller.gpr[7], caller.gpr[6]) = (address, length);
        }
        let size = [1, 2, 4, 4, 4, 4, 4, 4][random.below(8) as usize];
        if let Some(message) = sdk.call(&mut caller, size, 0) {
            assert!(Message::decode(&message.bytes).is_ok());
            passed_on += 1;
        }
    }
    assert!(passed_on > 1000, "{passed_on}");
}
