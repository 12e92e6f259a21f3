//! The channel on which the host orders what only a guest can do to itself.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;

use super::console;
use super::wake::reseed;
use crate::protocol::{Control, ControlFrame, Message, Signal};
use crate::transport::send;

/// The virtio console's first port.
const DEVICE: &str = "/dev/hvc0";

/// The host's commands, as they come in.
pub struct Channel {
    device: Option<File>,
    /// Bytes of a frame that is not complete.
    pending: Vec<u8>,
}

impl Channel {
    /// Opens the virtio console. Without one the VM works all the same; only commands do
    /// not reach it, which the console's line explains.
    pub fn open() -> Self {
        let device = open_raw()
            .inspect_err(|error| console(&format!("no commands from the host, {DEVICE}: {error}")))
            .ok();
        Self {
            device,
            pending: Vec::new(),
        }
    }

    /// What poll(2) is to watch; -1, which it ignores, if there is nothing.
    pub fn descriptor(&self) -> RawFd {
        self.device.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    /// Executes the commands that have come in. `body` is the body's process number.
    pub fn obey(&mut self, body: i32) {
        let mut buffer = [0; 512];
        while let Some(device) = &mut self.device {
            match device.read(&mut buffer) {
                Ok(0) => self.close("the line is gone"),
                Ok(count) => self.pending.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => self.close(&error.to_string()),
            }
        }
        loop {
            match ControlFrame::decode(&self.pending) {
                Ok(None) => return,
                Ok(Some((frame, length))) => {
                    let outcome = execute(frame.control, body);
                    send(&Message::ControlDone {
                        id: frame.id,
                        errno: outcome.map_or_else(errno, |()| 0),
                    });
                    self.pending.drain(..length);
                }
                Err(error) => return self.close(&error.to_string()),
            }
        }
    }

    fn close(&mut self, why: &str) {
        console(&format!("no more commands from the host: {why}"));
        self.device = None;
        self.pending.clear();
    }
}

fn open_raw() -> io::Result<File> {
    let device = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK)
        .open(DEVICE)?;
    let mut mode = MaybeUninit::uninit();
    // SAFETY: tcgetattr(3) fills the struct if it succeeds.
    if unsafe { libc::tcgetattr(device.as_raw_fd(), mode.as_mut_ptr()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: initialized by the successful call above.
    let mut mode = unsafe { mode.assume_init() };
    // SAFETY: cfmakeraw(3) changes the struct it is given exclusively.
    unsafe { libc::cfmakeraw(&mut mode) };
    // SAFETY: tcsetattr(3) reads the struct; the descriptor is open.
    if unsafe { libc::tcsetattr(device.as_raw_fd(), libc::TCSANOW, &mode) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(device)
}

fn errno(error: io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

fn execute(control: Control<'_>, body: i32) -> io::Result<()> {
    match control {
        Control::JumpWallClock { ns } => jump_wall_clock(ns),
        Control::Reseed { entropy } => reseed(entropy),
        Control::Process { name: "", signal } => kill(body, signal),
        Control::Process { name, signal } => {
            let found = processes_named(name)?;
            if found.is_empty() {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            found.into_iter().try_for_each(|pid| kill(pid, signal))
        }
    }
}

/// Moves the wall clock in one call, so that no time passes between looking at it and
/// setting it.
fn jump_wall_clock(ns: i64) -> io::Result<()> {
    // SAFETY: all-zero bytes are a valid `timex`, a struct of integers.
    let mut change: libc::timex = unsafe { std::mem::zeroed() };
    change.modes = libc::ADJ_SETOFFSET | libc::ADJ_NANO;
    change.time.tv_sec = ns.div_euclid(1_000_000_000);
    // With ADJ_NANO the field counts nanoseconds.
    change.time.tv_usec = ns.rem_euclid(1_000_000_000);
    // SAFETY: clock_adjtime(2) reads and writes the struct, exclusively borrowed.
    if unsafe { libc::clock_adjtime(libc::CLOCK_REALTIME, &mut change) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn kill(pid: i32, signal: Signal) -> io::Result<()> {
    let signal = match signal {
        Signal::Kill => libc::SIGKILL,
        Signal::Stop => libc::SIGSTOP,
        Signal::Continue => libc::SIGCONT,
    };
    // SAFETY: kill(2) takes integers only.
    if unsafe { libc::kill(pid, signal) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Processes other than the agent by their name, oldest number first.
fn processes_named(name: &str) -> io::Result<Vec<i32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|pid| pid.parse().ok()) else {
            continue;
        };
        // A process may end while we look.
        let comm = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if pid != 1 && comm.trim_end_matches('\n') == name {
            found.push(pid);
        }
    }
    found.sort_unstable();
    Ok(found)
}
