//! Memory pressure: what a hog of memory does.

use std::time::Duration;
use std::{fs, io, ptr};

use super::hog::End;

/// Bytes taken at a time, so that others get their turn in between.
const STEP: usize = 1 << 20;

/// Takes `ppm` of a million bytes that are available now, until this process ends, or until
/// it is told to end.
///
/// Available is what the kernel would give without an end of anyone: free pages and page
/// cache that can be dropped. A guest has no swap, so what is written to once stays in
/// memory without being locked. The pages are zeros, which cost the host nothing.
///
/// # Errors
/// EINVAL for more than a million, ENOMEM if there was not as much.
pub fn take(ppm: u32, end: &End) -> io::Result<()> {
    if ppm > 1_000_000 {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let text = fs::read_to_string("/proc/meminfo")?;
    let available = available(&text).ok_or(io::ErrorKind::InvalidData)?;
    let total = (u128::from(available) * u128::from(ppm) / 1_000_000) as usize;
    if total == 0 {
        return Ok(());
    }
    // SAFETY: a new mapping, which replaces none.
    let start = unsafe {
        libc::mmap(
            ptr::null_mut(),
            total,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    for offset in (0..total).step_by(STEP) {
        if end.wait(Some(Duration::ZERO)) {
            // SAFETY: _exit(2) ends the process at once.
            unsafe { libc::_exit(0) };
        }
        let length = STEP.min(total - offset);
        // SAFETY: the range lies in the mapping made above, which stays; nobody has a
        // reference to its content.
        let answer =
            unsafe { libc::madvise(start.byte_add(offset), length, libc::MADV_POPULATE_WRITE) };
        if answer < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Bytes of `MemAvailable` in the text of `/proc/meminfo`.
fn available(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_found_among_the_rest() {
        let text = "MemTotal:         103220 kB\nMemFree:           9 kB\nMemAvailable:      76804 kB\nBuffers: 0 kB\n";
        assert_eq!(available(text), Some(76_804 << 10));
        assert_eq!(available("MemTotal: 5 kB\n"), None);
    }
}
