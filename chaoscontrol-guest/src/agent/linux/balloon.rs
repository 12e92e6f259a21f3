//! Memory that the host takes by the balloon. No order says so: the kernel gives it by itself,
//! and kills somebody when it has none left, so the agent looks at what there is in all.

use std::mem;

/// What this machine's memory comes to.
pub struct Total(u64);

impl Total {
    /// What is there now, as long as nothing has been taken.
    pub fn now() -> Self {
        Self(bytes())
    }

    /// Whether some of it is in the balloon, so that what is left may have cost a process its
    /// life.
    pub fn is_short(&self) -> bool {
        bytes() < self.0
    }
}

/// `MemTotal` in bytes: it falls with each page that the balloon holds.
fn bytes() -> u64 {
    // SAFETY: all-zero bytes are a valid value of this plain struct, and sysinfo(2) writes to
    // it, exclusively borrowed.
    let info = unsafe {
        let mut info: libc::sysinfo = mem::zeroed();
        libc::sysinfo(&mut info);
        info
    };
    info.totalram.saturating_mul(info.mem_unit.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_missing_where_nothing_is_taken() {
        assert!(bytes() > 1 << 20);
        assert!(!Total::now().is_short());
        assert!(Total(u64::MAX).is_short());
    }
}
