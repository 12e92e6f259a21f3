//! The agent's work once the VM is itself: start the body, then forward output, obey the
//! host and reap processes, in one loop of one thread.
//!
//! A body whose process a fault has ended is started again, as a supervisor would, while
//! the VM goes on: what it wrote to files is there, flushed or not.

use std::convert::Infallible;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Command, Stdio};

use libc::{POLLIN, c_int, pollfd};

use super::control::Channel;
use super::output::Pipe;
use super::programs::Programs;
use super::timer::Timer;
use super::{AgentError, BODY_VARIABLE, check, console};
use crate::protocol::{End, Message, Stream};
use crate::transport::send;

/// The body's environment, besides [`BODY_VARIABLE`].
const ENVIRONMENT: [(&str, &str); 4] = [
    ("HOME", "/root"),
    (
        "PATH",
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ),
    ("TMPDIR", "/tmp"),
    // The host symbolizes backtraces; symbols are not packed.
    ("RUST_BACKTRACE", "0"),
];

/// How long after its end by a fault the body is started again, in ns.
const AGAIN_NS: u64 = 100_000_000;

/// Runs the body of `test` and serves it for ever.
pub fn serve(
    mut control: Channel,
    mut programs: Programs,
    test: &str,
) -> Result<Infallible, AgentError> {
    let children = child_signals()?;
    let failed = |error| AgentError::new("cannot wait to start the test's process again", error);
    let again = Timer::new().map_err(failed)?;
    let (mut body, mut pipes) = start(test)?;
    send(&Message::BodyStarted { pid: body });
    loop {
        let [commands, strobe] = control.descriptors();
        let own = [
            commands,
            strobe,
            pipes[0].descriptor(),
            pipes[1].descriptor(),
            children.as_raw_fd(),
            again.descriptor(),
        ];
        let all = own.into_iter().chain(programs.descriptors());
        let watch = |fd| pollfd {
            fd,
            events: POLLIN,
            revents: 0,
        };
        let mut watched: Vec<pollfd> = all.map(watch).collect();
        // SAFETY: poll(2) reads and writes the array, exclusively borrowed, of the length
        // given.
        let ready = unsafe { libc::poll(watched.as_mut_ptr(), watched.len() as libc::nfds_t, -1) };
        if ready < 0 {
            continue;
        }
        let ready: Vec<bool> = watched.iter().map(|watched| watched.revents != 0).collect();
        if ready[0] || ready[1] {
            control.obey(body);
        }
        for (pipe, _) in pipes
            .iter_mut()
            .zip(&ready[2..])
            .filter(|(_, ready)| **ready)
        {
            pipe.forward();
        }
        programs.serve(&ready[own.len()..]);
        if ready[4] {
            drain(&children);
            if reap(body, &mut pipes, &mut programs, &mut control) {
                again.set(AGAIN_NS, 0).map_err(failed)?;
            }
        }
        if again.expirations() > 0 {
            match start(test) {
                Ok(started) => {
                    (body, pipes) = started;
                    send(&Message::BodyStarted { pid: body });
                }
                // Memory may be short now.
                Err(error) => {
                    console(&format!("{error}; the next attempt follows"));
                    again.set(AGAIN_NS, 0).map_err(failed)?;
                }
            }
        }
    }
}

/// A descriptor that becomes readable when a child ends.
fn child_signals() -> Result<OwnedFd, AgentError> {
    // SAFETY: all-zero bytes are a valid signal set; the calls change only the set they
    // are given, and this thread's mask.
    let descriptor = unsafe {
        let mut signals = mem::zeroed();
        libc::sigemptyset(&mut signals);
        libc::sigaddset(&mut signals, libc::SIGCHLD);
        libc::sigprocmask(libc::SIG_BLOCK, &signals, std::ptr::null_mut());
        libc::signalfd(-1, &signals, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC)
    };
    let descriptor = check(descriptor, || "cannot watch child processes".into())?;
    // SAFETY: the descriptor was opened above and has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Starts this executable once more, as the body of `test`.
fn start(test: &str) -> Result<(i32, [Pipe; 2]), AgentError> {
    let failed = |error| AgentError::new("cannot start the test's process", error);
    let mut child = Command::new("/proc/self/exe")
        .env_clear()
        .envs(ENVIRONMENT)
        .env(BODY_VARIABLE, test)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let pid = child.id() as i32;
    let out = child.stdout.take().map(OwnedFd::from);
    let err = child.stderr.take().map(OwnedFd::from);
    let pipe = |from: Option<OwnedFd>, stream| {
        Pipe::new(from, pid, "", stream)
            .map_err(|error| AgentError::new("cannot read the test's output", error))
    };
    Ok((
        pid,
        [pipe(out, Stream::Stdout)?, pipe(err, Stream::Stderr)?],
    ))
}

/// Takes what the signal descriptor holds, so that it can become readable again.
fn drain(children: &OwnedFd) {
    let mut information = [0u8; mem::size_of::<libc::signalfd_siginfo>()];
    // SAFETY: read(2) writes at most the buffer's length to the buffer, exclusively
    // borrowed; the descriptor is open. It does not block, and pending signals of one
    // kind are one.
    unsafe {
        libc::read(
            children.as_raw_fd(),
            information.as_mut_ptr().cast(),
            information.len(),
        )
    };
}

/// Takes note of all processes that have ended, orphans too. True if a fault ended the
/// body's.
fn reap(body: i32, pipes: &mut [Pipe; 2], programs: &mut Programs, control: &mut Channel) -> bool {
    let mut killed = false;
    loop {
        let mut status = 0;
        // SAFETY: waitpid(2) writes the status, exclusively borrowed.
        let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
        if pid <= 0 {
            return killed;
        }
        let by_fault = control.ended(pid, status);
        let end = if by_fault { End::Killed } else { end(status) };
        if pid == body {
            killed = by_fault;
            for pipe in pipes.iter_mut() {
                pipe.flush();
            }
            if killed {
                control.sweep();
            }
            send(&Message::BodyEnd { end });
        } else {
            programs.ended(pid, status, end);
        }
    }
}

/// How a process ended that has this wait status.
fn end(status: c_int) -> End<'static> {
    if libc::WIFSIGNALED(status) {
        End::Signal {
            signal: libc::WTERMSIG(status),
        }
    } else {
        End::Exit {
            code: libc::WEXITSTATUS(status),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_statuses_become_ends() {
        assert_eq!(end(3 << 8), End::Exit { code: 3 });
        assert_eq!(end(libc::SIGKILL), End::Signal { signal: 9 });
        assert_eq!(end(libc::SIGSEGV | 0x80), End::Signal { signal: 11 });
    }
}
