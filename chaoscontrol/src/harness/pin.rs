//! Keeps worker threads on cores of their own.
//!
//! The host's scheduler moves threads about, and with each move a worker leaves its caches
//! behind. No result depends on where a worker runs, so this is for speed and for even
//! measurements alone.

use std::io;
use std::thread::JoinHandle;

use super::count::count;

/// Why workers cannot be pinned.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// More workers than cores.
    #[error(
        "pin = true wants a core for each worker, and {} may run on {} only: lower `workers` or leave it out, or unset `pin`",
        count(*workers as u64, "worker"), count(*cores as u64, "core")
    )]
    TooFew {
        /// Workers.
        workers: usize,
        /// Cores that this process may use.
        cores: usize,
    },
    /// The host refused.
    #[error("pin = true: {what}: {source}; unset `pin`")]
    Refused {
        /// What failed.
        what: String,
        /// What the host said.
        source: io::Error,
    },
}

/// The cores that this thread may run on, in ascending order.
///
/// # Errors
/// The host does not tell.
#[cfg(target_os = "linux")]
pub fn allowed() -> Result<Vec<usize>, PinError> {
    // SAFETY: pthread_self(3) has no conditions, and a thread's own handle is valid.
    unsafe { linux::affinity(libc::pthread_self()) }.map_err(untold)
}

/// The cores that `thread` may run on, in ascending order.
///
/// # Errors
/// The host does not tell.
#[cfg(all(test, target_os = "linux"))]
pub fn allowed_to(thread: &JoinHandle<()>) -> Result<Vec<usize>, PinError> {
    use std::os::unix::thread::JoinHandleExt;
    // SAFETY: as long as the `JoinHandle` is there, the thread's handle is valid.
    unsafe { linux::affinity(thread.as_pthread_t()) }.map_err(untold)
}

/// Has `thread` run on `core` and nowhere else.
///
/// # Errors
/// The host refuses it.
#[cfg(target_os = "linux")]
pub fn pin(thread: &JoinHandle<()>, core: usize) -> Result<(), PinError> {
    use std::os::unix::thread::JoinHandleExt;
    // SAFETY: as long as the `JoinHandle` is there, the thread's handle is valid.
    let pinned = unsafe { linux::set_affinity(thread.as_pthread_t(), core) };
    pinned.map_err(|source| PinError::Refused {
        what: format!("a worker cannot be kept on core {core}"),
        source,
    })
}

/// Cores are counted on Linux only.
#[cfg(not(target_os = "linux"))]
pub fn allowed() -> Result<Vec<usize>, PinError> {
    Err(untold(io::ErrorKind::Unsupported.into()))
}

/// Threads are pinned on Linux only.
#[cfg(not(target_os = "linux"))]
pub fn pin(_: &JoinHandle<()>, _: usize) -> Result<(), PinError> {
    Err(untold(io::ErrorKind::Unsupported.into()))
}

fn untold(source: io::Error) -> PinError {
    PinError::Refused {
        what: "the cores of this process are not known".into(),
        source,
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::mem;

    fn check(errno: libc::c_int) -> io::Result<()> {
        match errno {
            0 => Ok(()),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    /// # Safety
    /// `thread` is a valid handle.
    pub unsafe fn affinity(thread: libc::pthread_t) -> io::Result<Vec<usize>> {
        // SAFETY: `cpu_set_t` is an array of bits, for which zeros are valid; the call writes
        // to it and not beyond its size, and CPU_ISSET reads bits below CPU_SETSIZE.
        unsafe {
            let mut set: libc::cpu_set_t = mem::zeroed();
            check(libc::pthread_getaffinity_np(
                thread,
                size_of_val(&set),
                &mut set,
            ))?;
            let all = 0..libc::CPU_SETSIZE as usize;
            Ok(all.filter(|core| libc::CPU_ISSET(*core, &set)).collect())
        }
    }

    /// # Safety
    /// `thread` is a valid handle.
    pub unsafe fn set_affinity(thread: libc::pthread_t, core: usize) -> io::Result<()> {
        if core >= libc::CPU_SETSIZE as usize {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: as above; `core` is below CPU_SETSIZE, and the call only reads the set.
        unsafe {
            let mut set: libc::cpu_set_t = mem::zeroed();
            libc::CPU_SET(core, &mut set);
            check(libc::pthread_setaffinity_np(
                thread,
                size_of_val(&set),
                &set,
            ))
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;

    #[test]
    fn a_thread_stays_where_it_was_put() {
        let (end, ended) = mpsc::channel::<()>();
        let thread = thread::spawn(move || _ = ended.recv());
        let all = allowed().unwrap();
        assert_eq!(allowed_to(&thread).unwrap(), all);
        for core in all {
            pin(&thread, core).unwrap();
            assert_eq!(allowed_to(&thread).unwrap(), [core]);
        }
        let error = pin(&thread, 1 << 20).unwrap_err().to_string();
        assert!(error.starts_with("pin = true: a worker cannot be kept on core 1048576: "));
        drop(end);
        thread.join().unwrap();
    }

    #[test]
    fn too_few_cores_are_counted() {
        let error = PinError::TooFew {
            workers: 4,
            cores: 1,
        };
        let text = error.to_string();
        assert!(
            text.contains("and 4 workers may run on 1 core only"),
            "{text}"
        );
    }
}
