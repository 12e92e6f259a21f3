//! The channel on which the host orders what only a guest can do to itself.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;

use super::balloon;
use super::clock::{self, Strobe};
use super::console;
use super::hog::{Hog, Resource, confirm};
use super::process::Killed;
use super::wake::reseed;
use crate::protocol::{Control, ControlFrame};

/// The virtio console's first port.
const DEVICE: &str = "/dev/hvc0";

/// The host's commands, as they come in, and what of their effects stands. All of it ends
/// with the VM's power.
pub struct Channel {
    device: Option<File>,
    /// Bytes of a frame that is not complete.
    pending: Vec<u8>,
    strobe: Strobe,
    memory: Hog,
    disk: Hog,
    total: balloon::Total,
    killed: Killed,
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
            strobe: Strobe::default(),
            memory: Hog::default(),
            disk: Hog::default(),
            total: balloon::Total::now(),
            killed: Killed::default(),
        }
    }

    /// What poll(2) is to watch: commands, and the strobe's timer. A -1, which it ignores,
    /// stands for what is not there.
    pub fn descriptors(&self) -> [RawFd; 2] {
        let commands = self.device.as_ref().map_or(-1, AsRawFd::as_raw_fd);
        [commands, self.strobe.descriptor()]
    }

    /// Executes the commands that have come in, and what is due of earlier ones. `body` is
    /// the body's process number.
    pub fn obey(&mut self, body: i32) {
        self.strobe.tick();
        let mut buffer = [0; 512];
        while let Some(device) = &mut self.device {
            match device.read(&mut buffer) {
                Ok(0) => self.close("the line is gone"),
                Ok(count) => self.pending.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => self.close(&error.to_string()),
            }
        }
        let bytes = mem::take(&mut self.pending);
        let mut rest = &bytes[..];
        loop {
            match ControlFrame::decode(rest) {
                Ok(None) => break,
                Ok(Some((frame, length))) => {
                    self.execute(frame, body);
                    rest = &rest[length..];
                }
                Err(error) => return self.close(&error.to_string()),
            }
        }
        self.pending = rest.to_vec();
    }

    /// Takes note that the child `pid` has ended with wait status `status`. True if a fault
    /// ended it.
    pub fn ended(&mut self, pid: i32, status: libc::c_int) -> bool {
        self.memory.ended(pid, status);
        self.disk.ended(pid, status);
        let killed = libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL;
        // The OOM killer does not say whom it chose.
        killed && (self.killed.take(pid) || self.memory.is_felt() || self.total.is_short())
    }

    /// Kills all that the body has started, as a supervisor does with what belongs to a
    /// service that has died.
    pub fn sweep(&mut self) {
        let hogs = [self.memory.pid(), self.disk.pid()];
        let spared: Vec<i32> = hogs.into_iter().flatten().collect();
        self.killed.all_but(&spared);
    }

    fn execute(&mut self, ControlFrame { id, control }: ControlFrame<'_>, body: i32) {
        let outcome = match control {
            Control::JumpWallClock { ns } => clock::jump(ns),
            Control::Reseed { entropy } => reseed(entropy),
            Control::Process { name, signal } => self.killed.signal(name, signal, body),
            Control::Strobe {
                offset_ns,
                period_ns,
            } => self.strobe.order(offset_ns, period_ns),
            // Whoever takes these confirms them.
            Control::MemoryPressure { ppm } => {
                let resource = (ppm > 0).then_some(Resource::Memory { ppm });
                return self.memory.order(id, resource);
            }
            Control::FillDisk { full } => {
                return self.disk.order(id, full.then_some(Resource::Disk));
            }
        };
        confirm(id, outcome);
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
