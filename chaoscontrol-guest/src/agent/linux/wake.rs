//! A fork of the boot snapshot becomes itself: time, randomness, names. Without its own
//! entropy every VM would draw the same random numbers as all the others.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;

use super::{AgentError, check};
use crate::protocol::Identity;

/// Adds entropy to the kernel's pool and credits it: `_IOW('R', 3, int[2])`.
const RNDADDENTROPY: libc::c_ulong = 0x4008_5203;
/// Makes the kernel's generator draw a new key from the pool: `_IO('R', 7)`.
const RNDRESEEDCRNG: libc::c_ulong = 0x5207;

/// The kernel's `struct rand_pool_info`.
#[repr(C)]
struct PoolInfo {
    bits: libc::c_int,
    bytes: libc::c_int,
    entropy: [u8; 64],
}

/// Makes this VM the one that `identity` describes, all but its network.
pub fn wake(identity: &Identity<'_>) -> Result<(), AgentError> {
    set_wall_clock(identity.wall_ns)?;
    reseed(identity.entropy)
        .map_err(|error| AgentError::new("cannot reseed the kernel's random generator", error))?;
    let name = identity.hostname;
    // SAFETY: sethostname(2) reads `name.len()` bytes of `name`, a live string.
    let answer = unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) };
    check(answer, || "cannot set the host name".into())?;
    let write = |path: &str, text: &str| {
        fs::write(path, text)
            .map_err(|error| AgentError::new(format!("cannot write {path}"), error))
    };
    write("/etc/hostname", &format!("{name}\n"))?;
    write("/etc/hosts", &hosts(identity))
}

fn set_wall_clock(ns: u64) -> Result<(), AgentError> {
    let time = libc::timespec {
        tv_sec: (ns / 1_000_000_000) as libc::time_t,
        tv_nsec: (ns % 1_000_000_000) as libc::c_long,
    };
    // SAFETY: clock_settime(2) reads the struct, which lives on this stack.
    let answer = unsafe { libc::clock_settime(libc::CLOCK_REALTIME, &time) };
    check(answer, || "cannot set the wall clock".into()).map(drop)
}

/// Makes all that the kernel's random generator yields from now on depend on `entropy`.
pub fn reseed(entropy: [u8; 64]) -> io::Result<()> {
    let random = OpenOptions::new().write(true).open("/dev/random")?;
    let info = PoolInfo {
        bits: 8 * entropy.len() as libc::c_int,
        bytes: entropy.len() as libc::c_int,
        entropy,
    };
    // SAFETY: this ioctl reads the two integers and as many bytes behind them as the
    // second says; `info` holds them all.
    if unsafe { libc::ioctl(random.as_raw_fd(), RNDADDENTROPY as _, &raw const info) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: this ioctl takes no argument.
    if unsafe { libc::ioctl(random.as_raw_fd(), RNDRESEEDCRNG as _) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn hosts(identity: &Identity<'_>) -> String {
    let mut text = String::from("127.0.0.1 localhost\n");
    for (index, [a, b, c, d]) in identity.peers.as_slice().iter().enumerate() {
        // Writing to a `String` does not fail.
        let _ = writeln!(text, "{a}.{b}.{c}.{d} vm{index}");
    }
    text
}
