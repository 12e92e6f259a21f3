//! What every Linux program takes for granted: mounted file systems, device links,
//! limits; and the permission to talk with the host.

use std::ffi::{CStr, CString};
use std::os::unix::fs::symlink;

use super::{AgentError, check};
use crate::node::DATA_DIR;
use crate::protocol::PORT;

/// Lets this process, and all that it starts, send messages. The message is a 32-bit port
/// write, which takes four ports of the I/O permission bitmap.
pub fn allow_messages() -> Result<(), AgentError> {
    // SAFETY: ioperm(2) takes integers only.
    let answer = unsafe { libc::ioperm(PORT.into(), 4, 1) };
    if answer == 0 {
        return Ok(());
    }
    // Nobody but the console can hear of this; the kernel's panic at the end of PID 1
    // tells the host.
    let error = AgentError::last("cannot open the port to the host (CONFIG_X86_IOPL_IOPERM?)");
    super::console(&error.to_string());
    std::process::exit(1);
}

/// File systems to mount: type, place, options.
const MOUNTS: [(&CStr, &str, &CStr); 8] = [
    (c"devtmpfs", "/dev", c"mode=0755"),
    (c"proc", "/proc", c""),
    (c"sysfs", "/sys", c""),
    (c"devpts", "/dev/pts", c"mode=0620,ptmxmode=0666"),
    (c"tmpfs", "/dev/shm", c"mode=1777"),
    (c"tmpfs", "/tmp", c"mode=1777"),
    (c"tmpfs", "/run", c"mode=0755"),
    (c"tmpfs", DATA_DIR, c"mode=0755"),
];

/// Links that programs expect in `/dev`.
const LINKS: [(&str, &str); 4] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
];

/// Mounts all of [`MOUNTS`], making their places first.
pub fn mount_all() -> Result<(), AgentError> {
    for (kind, place, options) in MOUNTS {
        mount(kind, kind, place, 0, options)?;
    }
    Ok(())
}

/// Mounts what `source` names, a file system of the given kind, at `place`, making that
/// first.
pub fn mount(
    source: &CStr,
    kind: &CStr,
    place: &str,
    flags: libc::c_ulong,
    options: &CStr,
) -> Result<(), AgentError> {
    let what = || match source == kind {
        true => format!("cannot mount {place}"),
        false => format!("cannot mount {} at {place}", source.to_string_lossy()),
    };
    let target = CString::new(place).map_err(|error| AgentError::new(what(), error))?;
    // SAFETY: `target` is a NUL-terminated string that outlives the call. A failure (it is
    // there already) shows in the mount that follows.
    unsafe { libc::mkdir(target.as_ptr(), 0o755) };
    // SAFETY: all four pointers are NUL-terminated strings that outlive the call, which
    // only reads them.
    let answer = unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            flags,
            options.as_ptr().cast(),
        )
    };
    check(answer, what).map(drop)
}

/// Takes away what is mounted at `place`.
pub fn unmount(place: &str) -> Result<(), AgentError> {
    let what = || format!("cannot unmount {place}");
    let target = CString::new(place).map_err(|error| AgentError::new(what(), error))?;
    // SAFETY: umount2(2) reads a NUL-terminated string that outlives the call.
    let answer = unsafe { libc::umount2(target.as_ptr(), 0) };
    check(answer, what).map(drop)
}

/// The rest: device links, file limits, and the agent's own priority.
pub fn prepare() -> Result<(), AgentError> {
    for (target, link) in LINKS {
        symlink(target, link)
            .map_err(|error| AgentError::new(format!("cannot make {link}"), error))?;
    }
    let files = libc::rlimit {
        rlim_cur: 65_536,
        rlim_max: 65_536,
    };
    // SAFETY: setrlimit(2) reads the struct, which lives on this stack.
    let answer = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &files) };
    check(answer, || "cannot raise the limit of open files".into())?;
    first_in_line()
}

/// Runs the agent as soon as it has something to do, before any process of the test; what
/// it starts is scheduled as usual.
fn first_in_line() -> Result<(), AgentError> {
    let priority = libc::sched_param { sched_priority: 50 };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: sched_setscheduler(2) reads the struct, which lives on this stack.
    let answer = unsafe { libc::sched_setscheduler(0, policy, &priority) };
    check(answer, || "cannot raise the agent's priority".into()).map(drop)
}
