//! The test VM's PID 1. A test executable is its VMs' `/init` too, so it enters here
//! before it is anything else; on the host that costs one CPUID instruction.
//!
//! The order matters: what all VMs share is done before [`Message::Boot`], the moment of
//! the boot snapshot; what makes a VM itself follows, and every restart repeats it.

use std::io::Write;

use crate::Node;
use crate::protocol::{End, Message};
use crate::transport::send;

#[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
mod linux;

/// A test's body; answers the `Debug` text of the error it ended with.
pub type Body = fn(Node) -> Result<(), String>;

/// Plays this process's part in a test VM and does not return: the agent's if it is
/// PID 1, a test's body if the agent started it as that. Returns on the host, and in any
/// other process of a VM.
///
/// `bodies` finds a test's body by the test's name.
pub fn enter(bodies: &dyn Fn(&str) -> Option<Body>) {
    #[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
    linux::enter(bodies);
    #[cfg(not(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64")))]
    let _ = bodies;
}

/// Tells the host how a body ended whose function does not return: that of an async test,
/// whose runtime goes on.
pub fn finished(outcome: Result<(), String>) {
    // A failure to flush is the body's business: it may have closed its output.
    let _ = std::io::stdout().flush();
    let end = match &outcome {
        Ok(()) => End::Ok,
        Err(text) => End::Err { text },
    };
    send(&Message::BodyEnd { end });
}
