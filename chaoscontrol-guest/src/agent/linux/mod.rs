//! The agent and the body's process, on the one platform that test VMs run.

mod backtrace;
mod balloon;
mod body;
mod clock;
mod control;
mod disk;
mod fill;
mod hog;
mod network;
mod output;
mod pressure;
mod process;
mod programs;
mod serve;
mod system;
mod timer;
mod wake;

use std::convert::Infallible;
use std::{fmt, io};

use super::Body;
use crate::protocol::Message;
use crate::transport::{identity, inside, send};

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

/// See [`super::enter`].
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
fn run() -> Result<Infallible, AgentError> {
    system::allow_messages()?;
    system::mount_all()?;
    system::prepare()?;
    network::loopback_up()?;
    let programs = programs::Programs::listen()?;
    let control = control::Channel::open();
    send(&Message::Boot);

    let mut buffer = [0; IDENTITY_SIZE];
    let identity = identity(&mut buffer).ok_or_else(|| {
        let why = "the host's answer makes no sense";
        AgentError::new("cannot learn who this VM is", why)
    })?;
    wake::wake(&identity)?;
    if identity.disk {
        disk::mount()?;
    }
    network::join(&identity)?;
    serve::serve(control, programs, identity.test)
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
