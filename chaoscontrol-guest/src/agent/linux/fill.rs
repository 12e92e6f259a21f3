//! A full disk: what a hog of the data directory's space does.
//!
//! The space goes to a file without a name, so no program finds it, and neither does the
//! next boot: a file system drops such files when it recovers from a power cut. A tmpfs
//! would pay with the guest's memory; there the file system is made as small as what it
//! holds, and the file takes what little is left.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::ptr;

use crate::node::DATA_DIR;

/// Blocks that a tmpfs keeps free when it is made smaller, since others go on writing
/// meanwhile. The file takes what is left of them.
const MARGIN: u64 = 64;

/// All free space of a file system; given back when dropped.
pub struct Full {
    _file: File,
    /// The size in bytes that a tmpfs had.
    size: Option<u64>,
}

/// Takes all that is free of [`DATA_DIR`], to the last block.
///
/// # Errors
/// The file system's.
pub fn take() -> io::Result<Full> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_TMPFILE)
        .open(DATA_DIR)?;
    let status = status(&file)?;
    let block = status.f_bsize as u64;
    let mut full = Full {
        _file: file,
        size: None,
    };
    if status.f_type == libc::TMPFS_MAGIC && status.f_bfree > MARGIN {
        let used = status.f_blocks - status.f_bfree;
        resize((used + MARGIN) * block)?;
        full.size = Some(status.f_blocks * block);
    }
    let step = self::status(&full._file)?.f_bfree.saturating_mul(block);
    let file = &full._file;
    let taken = halving(step, block, |offset, length| {
        // SAFETY: fallocate(2) takes integers only; the descriptor is open.
        let answer = unsafe { libc::fallocate(file.as_raw_fd(), 0, offset as i64, length as i64) };
        if answer < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    });
    taken.map(|()| full)
}

impl Drop for Full {
    fn drop(&mut self) {
        if let Some(size) = self.size {
            // Nobody is left to tell of a failure, and growing needs nothing.
            let _ = resize(size);
        }
    }
}

/// Takes pieces of `step` bytes one behind the other, and smaller ones as they stop to fit,
/// until not even a block does.
fn halving(
    mut step: u64,
    block: u64,
    mut take: impl FnMut(u64, u64) -> io::Result<()>,
) -> io::Result<()> {
    let mut offset = 0;
    while step >= block {
        match take(offset, step) {
            Ok(()) => offset += step,
            Err(error) => match error.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::ENOSPC | libc::EFBIG) => step = step / 2 / block * block,
                _ => return Err(error),
            },
        }
    }
    Ok(())
}

fn status(file: &File) -> io::Result<libc::statfs> {
    let mut status = MaybeUninit::uninit();
    // SAFETY: fstatfs(2) fills the struct if it succeeds; the descriptor is open.
    if unsafe { libc::fstatfs(file.as_raw_fd(), status.as_mut_ptr()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: initialized by the successful call above.
    Ok(unsafe { status.assume_init() })
}

/// Changes the size of the tmpfs at [`DATA_DIR`].
fn resize(bytes: u64) -> io::Result<()> {
    let place = CString::new(DATA_DIR)?;
    let options = CString::new(format!("size={bytes}"))?;
    // SAFETY: the strings outlive the call, which only reads them; a remount looks at
    // neither source nor type.
    let answer = unsafe {
        libc::mount(
            ptr::null(),
            place.as_ptr(),
            ptr::null(),
            libc::MS_REMOUNT,
            options.as_ptr().cast(),
        )
    };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_get_smaller_until_the_last_block_is_taken() {
        let mut free = 1000 * 4096u64;
        let mut end = 0;
        halving(free + 4096, 4096, |offset, length| {
            assert_eq!((offset, length % 4096), (end, 0));
            if length > free {
                return Err(io::Error::from_raw_os_error(libc::ENOSPC));
            }
            (free, end) = (free - length, end + length);
            Ok(())
        })
        .unwrap();
        assert_eq!((free, end), (0, 1000 * 4096));
        let broken = |_, _| Err(io::Error::from_raw_os_error(libc::EIO));
        assert!(halving(4096, 4096, broken).is_err());
        assert!(halving(0, 4096, broken).is_ok(), "nothing is free");
    }
}
