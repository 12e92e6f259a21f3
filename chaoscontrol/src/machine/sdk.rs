//! The host's end of the SDK port: reads a guest's message through the caller's page
//! tables, answers what the machine itself can answer, and hands on the rest.
//!
//! One OUT is one message, so there is no state between two of them but the streams
//! and values kept here.

use chaoscontrol_guest::protocol::{
    End, Identity, MALFORMED, MAX_MESSAGE, Message, OK, UNMAPPED, VERSION,
};

use super::choices::Choices;
use crate::cpu::Vcpu;
use crate::devices::random::RandomStream;

const RAX: usize = 0;
const RSI: usize = 6;
const RDI: usize = 7;

/// A message for whoever runs the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    /// As the guest encoded it.
    pub bytes: Vec<u8>,
    /// What it is to the machine.
    pub what: What,
}

/// What a message is to the machine that carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// The agent asks who it is: here the boot ends.
    Boot,
    /// An order, which returns when it has been carried out.
    Order,
    /// Nothing that concerns it.
    Other,
}

/// What a machine knows about its guest's test.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Sdk {
    identity: Vec<u8>,
    incarnation: u32,
    status: u64,
    random: RandomStream,
    choices: RandomStream,
    answers: Choices,
    /// Calls that the guest announced.
    calls: u32,
}

impl Sdk {
    /// A machine without identity whose streams derive from `entropy`.
    pub(super) fn new(entropy: &[u8]) -> Sdk {
        let stream = |purpose: &[u8]| RandomStream::from_bytes(&[purpose, entropy].concat());
        Sdk {
            identity: Vec::new(),
            incarnation: 0,
            status: 0,
            random: stream(b"get_random"),
            choices: stream(b"random_choice"),
            answers: Choices::default(),
            calls: 0,
        }
    }

    /// Derives the random streams anew.
    pub(super) fn reseed(&mut self, entropy: &[u8]) {
        let fresh = Sdk::new(entropy);
        (self.random, self.choices) = (fresh.random, fresh.choices);
    }

    /// What is settled and known of the guest's random values.
    pub(super) fn answers(&mut self) -> &mut Choices {
        &mut self.answers
    }

    /// What [`Message::Identity`] is answered with: an encoded [`Identity`].
    pub(super) fn set_identity(&mut self, identity: Vec<u8>) {
        self.incarnation = Identity::decode(&identity).map_or(0, |known| known.incarnation);
        self.identity = identity;
    }

    /// The incarnation that [`Message::Identity`] is answered with.
    pub(super) fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// The next process of the body is another incarnation of it.
    fn begin_incarnation(&mut self) {
        let Ok(mut identity) = Identity::decode(&self.identity) else {
            return;
        };
        identity.incarnation = identity.incarnation.saturating_add(1);
        let mut bytes = vec![0; self.identity.len()];
        identity
            .encode(&mut bytes)
            .expect("another number is not longer");
        self.incarnation = identity.incarnation;
        self.identity = bytes;
    }

    /// What [`Message::Status`] is answered with.
    pub(super) fn set_status(&mut self, status: u64) {
        self.status = status;
    }

    /// Carries out one OUT of `size` bytes at T = `time`: sets the guest's RAX, and returns the message
    /// if it is for whoever runs this machine.
    pub(super) fn call(&mut self, cpu: &mut impl Vcpu, size: u8, time: u64) -> Option<Sent> {
        if size != 4 || cpu.gpr(RAX) as u32 != VERSION {
            cpu.set_gpr(RAX, MALFORMED);
            return None;
        }
        let (address, length) = (cpu.gpr(RDI), cpu.gpr(RSI));
        if length > MAX_MESSAGE as u64 {
            cpu.set_gpr(RAX, MALFORMED);
            return None;
        }
        let mut bytes = vec![0; length as usize];
        if !cpu.read_virtual(address, &mut bytes) {
            cpu.set_gpr(RAX, UNMAPPED);
            return None;
        }
        let (answer, what) = self.answer(cpu, address, &bytes, time);
        cpu.set_gpr(RAX, answer);
        if let Ok(Message::Invoke { .. }) = Message::decode(&bytes) {
            Message::set_invocation(&mut bytes, answer);
        }
        what.map(|what| Sent { bytes, what })
    }

    /// The answer, and what the message is if it goes on to whoever runs the machine.
    fn answer(
        &mut self,
        cpu: &mut impl Vcpu,
        address: u64,
        bytes: &[u8],
        time: u64,
    ) -> (u64, Option<What>) {
        let what = match Message::decode(bytes) {
            Err(_) => return (MALFORMED, None),
            Ok(Message::Status) => return (self.status, None),
            // What is settled is drawn as well, so that it changes no other answer.
            Ok(Message::GetRandom) => {
                let drawn = self.random.next_u64();
                return (self.answers.answer(time, 0, drawn), None);
            }
            Ok(Message::RandomChoice { n }) => {
                let drawn = self.choices.below(n);
                return (self.answers.answer(time, n.max(1), drawn), None);
            }
            Ok(Message::Identity) => return (self.identify(cpu, address, bytes.len()), None),
            Ok(Message::BodyEnd { end: End::Killed }) => {
                self.begin_incarnation();
                What::Other
            }
            Ok(Message::Invoke { .. }) => {
                // Another life of the VM counts from 0 again.
                self.calls = self.calls.wrapping_add(1);
                let number = u64::from(self.incarnation) << 32 | u64::from(self.calls);
                return (number, Some(What::Other));
            }
            Ok(Message::Boot) => What::Boot,
            Ok(Message::Fault { .. }) => What::Order,
            Ok(_) => What::Other,
        };
        (OK, Some(what))
    }

    /// Writes the identity where the guest has `room` bytes for it.
    fn identify(&self, cpu: &mut impl Vcpu, address: u64, room: usize) -> u64 {
        if self.identity.len() > room {
            MALFORMED
        } else if cpu.write_virtual(address, &self.identity) {
            self.identity.len() as u64
        } else {
            UNMAPPED
        }
    }
}
