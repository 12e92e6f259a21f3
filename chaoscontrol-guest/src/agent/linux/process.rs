//! Processes of the guest by their names, and the signals that faults send them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::{fs, io};

use crate::protocol::Signal;

/// Bytes of a process's name that the kernel keeps.
const COMM: usize = 15;

/// Those that faults have killed and whose end nobody has noticed yet.
#[derive(Default)]
pub struct Killed(Vec<i32>);

impl Killed {
    /// Sends `signal` to all processes called `name`, or to the body's process if that is
    /// empty. It stops or continues all threads of a process.
    ///
    /// # Errors
    /// ESRCH if there is no such process.
    pub fn signal(&mut self, name: &str, signal: Signal, body: i32) -> io::Result<()> {
        let targets = match name {
            "" => vec![body],
            name => running().filter(|&pid| is_called(pid, name)).collect(),
        };
        if targets.is_empty() {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        targets
            .into_iter()
            .try_for_each(|pid| self.send(pid, signal))
    }

    /// Kills all processes but the agent and those in `spared`.
    pub fn all_but(&mut self, spared: &[i32]) {
        for pid in running().filter(|pid| !spared.contains(pid)) {
            // It may have ended by itself.
            let _ = self.send(pid, Signal::Kill);
        }
    }

    /// Whether process `pid`, which has ended, was killed by a fault. To be asked once.
    pub fn take(&mut self, pid: i32) -> bool {
        let before = self.0.len();
        self.0.retain(|&killed| killed != pid);
        self.0.len() < before
    }

    fn send(&mut self, pid: i32, signal: Signal) -> io::Result<()> {
        let number = match signal {
            Signal::Kill => libc::SIGKILL,
            Signal::Stop => libc::SIGSTOP,
            Signal::Continue => libc::SIGCONT,
        };
        // SAFETY: kill(2) takes integers only.
        if unsafe { libc::kill(pid, number) } < 0 {
            return Err(io::Error::last_os_error());
        }
        if signal == Signal::Kill {
            // Only the agent's own children are asked for.
            self.0.retain(|pid| place(*pid).exists());
            self.0.push(pid);
        }
        Ok(())
    }
}

fn place(pid: i32) -> std::path::PathBuf {
    Path::new("/proc").join(pid.to_string())
}

/// The numbers of all processes that execute a program, but the agent's, lowest first:
/// neither the kernel's own threads nor what has ended.
fn running() -> impl Iterator<Item = i32> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids: Vec<i32> = all
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|&pid| pid != 1 && fs::read_link(place(pid).join("exe")).is_ok())
        .collect();
    pids.sort_unstable();
    pids.into_iter()
}

fn is_called(pid: i32, name: &str) -> bool {
    // A process may end while we look.
    let read = |file| fs::read(place(pid).join(file)).unwrap_or_default();
    matches(name.as_bytes(), &read("comm"), &read("cmdline"))
}

/// Whether a process with this `comm` is called `name`. Of a longer name the kernel keeps
/// the beginning; then a word of the command line, without its folders, has to be `name`.
fn matches(name: &[u8], comm: &[u8], cmdline: &[u8]) -> bool {
    let comm = comm.strip_suffix(b"\n").unwrap_or(comm);
    comm == &name[..name.len().min(COMM)]
        && (name.len() <= COMM
            || cmdline.split(|&byte| byte == 0).any(|word| {
                Path::new(OsStr::from_bytes(word)).file_name() == Some(OsStr::from_bytes(name))
            }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_told_apart_by_the_command_line() {
        let line = b"/usr/bin/consistent-hasher-2\0--port\x001\0";
        assert!(matches(
            b"redis-server",
            b"redis-server\n",
            b"redis-server *:6379\0"
        ));
        assert!(!matches(b"redis", b"redis-server\n", b"redis-server\0"));
        assert!(matches(b"consistent-hasher-2", b"consistent-hash\n", line));
        assert!(!matches(b"consistent-hasher-1", b"consistent-hash\n", line));
        assert!(matches(b"consistent-hash", b"consistent-hash\n", line));
        assert!(!matches(b"other", b"", b""));
    }

    #[test]
    fn an_end_is_asked_for_once() {
        let mut killed = Killed(vec![3, 4]);
        assert!(killed.take(3) && !killed.take(3) && killed.take(4));
    }
}
