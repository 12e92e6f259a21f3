//! The process that runs a test's body.

use std::any::Any;
use std::io::Write;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::thread;

use super::{BODY_VARIABLE, IDENTITY_SIZE, backtrace};
use crate::Node;
use crate::agent::{Body, finished};
use crate::protocol::{End, Message};
use crate::transport::{identity, send};

/// Runs the body, tells how it ended, and stays: threads that it left behind go on.
pub fn run(bodies: &dyn Fn(&str) -> Option<Body>) -> ! {
    // SAFETY: this process has no second thread yet.
    unsafe { std::env::remove_var(BODY_VARIABLE) };
    std::panic::set_hook(Box::new(report));
    let mut buffer = [0; IDENTITY_SIZE];
    match identity(&mut buffer) {
        None => error("the host's answer to who this VM is makes no sense"),
        Some(identity) => match bodies(identity.test) {
            None => error(&format!("there is no chaos test {:?}", identity.test)),
            Some(body) => live(body, Node::new(&identity)),
        },
    }
    loop {
        thread::park();
    }
}

fn error(text: &str) {
    send(&Message::AgentError { text });
}

fn live(body: Body, node: Node) {
    match catch_unwind(AssertUnwindSafe(|| body(node))) {
        Ok(outcome) => finished(outcome),
        Err(_) => {
            let end = End::Panicked;
            send(&Message::BodyEnd { end });
        }
    }
}

/// Tells of a panic, on whichever thread.
fn report(info: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let thread = thread.name().unwrap_or("<unnamed>");
    let message = text(info.payload());
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    send(&Message::Panic {
        thread,
        message,
        location: &location,
        backtrace: &backtrace::capture(),
    });
    // Writing to standard error with `eprintln!` would panic if it is closed.
    let _ = writeln!(
        std::io::stderr(),
        "thread '{thread}' panicked at {location}:\n{message}"
    );
}

fn text(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "a value that is no text"
    }
}
