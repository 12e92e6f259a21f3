//! The wire protocol between a test VM and the deterministic machine that runs it.
//!
//! Both sides are built from this one module, so that they cannot drift apart. A guest
//! sends a [`Message`] with a single `out dx, eax`:
//!
//! | register | meaning |
//! |---|---|
//! | DX | [`PORT`] |
//! | EAX | [`VERSION`] |
//! | RDI | address of the message, in the caller's address space |
//! | RSI | bytes of the buffer at RDI |
//! | RAX, on return | the host's answer, [`UNMAPPED`] if it could not reach the buffer |
//!
//! The other way round, the host sends [`Control`] commands to the agent over a
//! virtio console. Within a VM, a body sends a [`Request`] to the agent over a socket for
//! each program that it runs. Encoders write into the caller's buffer and need no allocator;
//! decoders are total: whatever the bytes are, they end in a value or an [`Error`].

mod command;
mod control;
mod frame;
mod history;
mod identity;
mod message;
mod wire;

pub use command::{MAX_REQUEST, NO_FILE, Reply, Request, SOCKET};
pub use control::{Control, ControlFrame, MIN_STROBE_NS, Signal};
pub use history::{Answer, Call, Outcome, Texts};
pub use identity::{Identity, MAX_VMS, Peers, Role};
pub use message::{End, Message, PropertyKind, Stream};
pub use wire::Error;

/// Version of this protocol; both sides refuse any other.
pub const VERSION: u32 = 4;

/// The I/O port a guest writes to in order to send a message.
pub const PORT: u16 = 0x0510;

/// The CPUID leaf whose EBX, ECX and EDX hold [`SIGNATURE`] inside a test VM.
pub const SIGNATURE_LEAF: u32 = 0x4000_0000;

/// What [`SIGNATURE_LEAF`] spells, in the byte order of EBX, ECX, EDX.
pub const SIGNATURE: [u8; 12] = *b"ChaosControl";

/// The longest message, in bytes, that the host accepts.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// Guest-physical address of the table of saturating one-byte counters in which kernels and
/// programs that are built for it count their edges. No memory map lists it as RAM.
pub const EDGES: u64 = 0xE_0000;

/// Size of the table at [`EDGES`], in bytes.
pub const EDGES_BYTES: usize = 0x1_0000;

/// The guest's file that lists the paths of the packed programs, one a line.
pub const PROGRAMS: &str = "/etc/chaoscontrol/programs";

/// Answer: the message was taken.
pub const OK: u64 = 0;

/// Answer: the message's buffer is not mapped (or, for a message that is answered in its
/// buffer, not writable); touch it and send again.
pub const UNMAPPED: u64 = u64::MAX;

/// Answer: the message could not be decoded, or its version is not the host's.
pub const MALFORMED: u64 = u64::MAX - 1;

/// Bit of the answer to [`Message::Status`]: every server has completed its setup.
pub const STATUS_SETUP: u64 = 1 << 0;

/// Bit of the answer to [`Message::Status`]: faults are over and healed, the quiet
/// period runs.
pub const STATUS_QUIET: u64 = 1 << 1;

#[cfg(test)]
mod tests;
