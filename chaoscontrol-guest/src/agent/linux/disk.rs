//! The VM's disk, in the place of the memory that the directory for data is without one.

use std::ffi::CStr;

use super::{AgentError, system};
use crate::node::DATA_DIR;

/// The machine's only disk.
const DEVICE: &CStr = c"/dev/vda";

/// A file system that finds itself damaged goes read-only, as on servers that are meant to
/// keep their data: the test's writes fail then, and nothing makes the damage worse.
/// Barriers, `data=ordered` and a commit each 5 s are ext4's defaults.
const OPTIONS: &CStr = c"errors=remount-ro";

/// Lines of the kernel's log that an error quotes.
const QUOTED: usize = 4;

/// Mounts the disk. Its journal is replayed if the power was cut.
pub fn mount() -> Result<(), AgentError> {
    system::unmount(DATA_DIR)?;
    system::mount(DEVICE, c"ext4", DATA_DIR, libc::MS_NODEV, OPTIONS).map_err(|error| {
        let log = kernel_log();
        // Behind the message's priority.
        let lines = log.lines().filter_map(|line| Some(line.split_once('>')?.1));
        let about = |line: &&str| ["EXT4-fs", "JBD2"].iter().any(|name| line.contains(name));
        let about: Vec<&str> = lines.filter(about).collect();
        let why = match &about[about.len().saturating_sub(QUOTED)..] {
            [] => error.why,
            last => format!("{}; the kernel says: {}", error.why, last.join("; ")),
        };
        AgentError::new(error.what, why)
    })
}

/// The kernel's log, each line behind its priority, as in `<6>`; empty if it cannot be read.
fn kernel_log() -> String {
    /// SYSLOG_ACTION_READ_ALL of syslog(2).
    const READ_ALL: libc::c_int = 3;
    let mut buffer = [0u8; 16 << 10];
    // SAFETY: klogctl(3) writes no more bytes than it is told, which are those of `buffer`,
    // exclusively borrowed for the call.
    let length = unsafe {
        libc::klogctl(
            READ_ALL,
            buffer.as_mut_ptr().cast(),
            buffer.len() as libc::c_int,
        )
    };
    let length = usize::try_from(length).unwrap_or(0).min(buffer.len());
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}
