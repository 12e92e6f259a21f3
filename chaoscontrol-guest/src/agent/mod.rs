//! The test VM's PID 1. A test executable is its VMs' `/init` too, so it enters here
//! before it is anything else; on the host that costs one CPUID instruction.
//!
//! The order matters: what all VMs share is done before [`Message::Boot`], the moment of
//! the boot snapshot; what makes a VM itself follows, and every restart repeats it.

mod backtrace;
mod body;
mod control;
mod network;
mod output;
mod serve;
mod system;
mod wake;

use std::{fmt, io};

use crate::Node;
use crate::protocol::Message;
use crate::transport::{identity, inside, send};

/// A test's body; answers the `Debug` text of the error it ended with.
pub type Body = fn(Node) -> Result<(), String>;

/// Names the test whose body a process is to run. The body's process removes it from its
/// environment, so that processes it starts are not taken for bodies.
const BODY_VARIABLE: &str = "CHAOSCONTROL_BODY";

/// The greatest [`Identity`](crate::protocol::Identity), in bytes.
const IDENTITY_SIZE: usize = 1024;

/// What the agent failed to do, and why.
struct AgentError {
    what: String,
    why: String,
}

impl AgentError {
    fn new(what: impl Into<String>, why: impl fmt::Display) -> Self {
        Self {
            what: what.into(),
            why: why.to_string(),
        }
    }

    /// From the calling thread's `errno`.
    fn last(what: impl Into<String>) -> Self {
        Self::new(what, io::Error::last_os_error())
    }
}

impl fmt::Display for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

/// The result of a libc call that answers a negative number if it fails.
fn check(answer: libc::c_int, what: impl FnOnce() -> String) -> Result<libc::c_int, AgentError> {
    if answer < 0 {
        Err(AgentError::last(what()))
    } else {
        Ok(answer)
    }
}

/// Plays this process's part in a test VM and does not return: the agent's if it is
/// PID 1, a test's body if the agent started it as that. Returns on the host, and in any
/// other process of a VM.
///
/// `bodies` finds a test's body by the test's name.
pub fn enter(bodies: &dyn Fn(&str) -> Option<Body>) {
    if !inside() {
        return;
    }
    if std::process::id() == 1 {
        let Err(error) = run();
        fail(&error);
    }
    if std::env::var_os(BODY_VARIABLE).is_some() {
        body::run(bodies);
    }
}

/// The agent's life.
fn run() -> Result<std::convert::Infallible, AgentError> {
    system::allow_messages()?;
    system::mount_all()?;
    system::prepare()?;
    network::loopback_up()?;
    let control = control::Channel::open();
    send(&Message::Boot);

    let mut buffer = [0; IDENTITY_SIZE];
    let identity = identity(&mut buffer).ok_or_else(|| {
        AgentError::new("cannot learn who this VM is", "the host's answer is wrong")
    })?;
    wake::wake(&identity)?;
    network::join(&identity)?;
    serve::serve(control, identity.test)
}

/// Says on the console and to the host what went wrong. PID 1 must not exit.
fn fail(error: &AgentError) -> ! {
    console(&format!("cannot go on: {error}"));
    send(&Message::AgentError {
        text: &error.to_string(),
    });
    loop {
        // SAFETY: pause(2) takes no arguments and touches no memory.
        unsafe { libc::pause() };
    }
}

/// Writes a line to the kernel's console, which PID 1 has as its standard error.
fn console(line: &str) {
    eprintln!("chaoscontrol agent: {line}");
}
