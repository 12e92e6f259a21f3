//! The folder outside of any checkout where expensive artefacts live, shared by all
//! processes of a user.

use std::env;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The user's cache folder for this project: `CHAOS_CACHE`, else `chaoscontrol` in
/// `XDG_CACHE_HOME`, else in `~/.cache`, else in the system's folder for temporary files.
pub fn folder() -> PathBuf {
    let absolute = |name: &str| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|p| p.is_absolute())
    };
    if let Some(folder) = absolute("CHAOS_CACHE") {
        return folder;
    }
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(env::temp_dir)
        .join("chaoscontrol")
}

/// Whether `CHAOS_OFFLINE` forbids to fetch or build what is not in the cache.
pub fn offline() -> bool {
    env::var_os("CHAOS_OFFLINE").is_some_and(|v| !v.is_empty() && v != "0")
}

/// A lock that another process may hold; it ends with this value or with the process.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock `path`, first calling `waiting` if another process holds it.
    ///
    /// # Errors
    /// The lock file or its folder cannot be made.
    pub fn take(path: &Path, waiting: impl FnOnce()) -> io::Result<Lock> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)?;
        if file.try_lock().is_err() {
            waiting();
            file.lock()?;
        }
        Ok(Lock { _file: file })
    }
}

/// What the extension of a file begins with that is being written; the process's number follows.
const PART: &str = "part";

/// Whether `path` is what a process left that was killed while it wrote, or that one writes now.
pub fn is_part(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str());
    let process = extension.and_then(|e| e.strip_prefix(PART));
    process.is_some_and(|number| number.parse::<u32>().is_ok())
}

/// Writes `bytes` to `path` so that readers see the old file, the new one, or none,
/// never a part.
///
/// # Errors
/// What the file system says; the partial file is removed.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let part = path.with_extension(format!("{PART}{}", std::process::id()));
    // Some file systems notice only when they are synchronized that they have no room.
    let whole = || {
        let mut file = File::create(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&part, path)
    };
    let written = whole();
    if written.is_err() {
        let _ = fs::remove_file(&part);
    }
    written
}

/// Bytes that can still be written below `folder`, 0 if no file can be made there.
///
/// # Errors
/// What the file system says.
pub fn room(folder: &Path) -> io::Result<u64> {
    let path = CString::new(folder.as_os_str().as_bytes())?;
    // SAFETY: all-zero bytes are a valid `statvfs`, which is plain data.
    let mut disk: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: `path` is a string with a final zero and `disk` is writable and exclusively
    // borrowed; both outlive the call, which keeps neither.
    if unsafe { libc::statvfs(path.as_ptr(), &mut disk) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // File systems without a fixed number of files say 0 of 0.
    let no_file = disk.f_files > 0 && disk.f_favail == 0;
    Ok(match no_file {
        true => 0,
        false => disk.f_bavail.saturating_mul(disk.f_frsize),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_from_whole_files() {
        let part = |name: &str| is_part(Path::new(name));
        assert!(part("bugs/ff152a57.part7957"));
        assert!(
            !part("bugs/ff152a57.txt") && !part("a.part") && !part("a.parts1") && !part("part1")
        );
    }

    #[test]
    fn there_is_room_in_folders_that_exist() {
        assert!(room(&env::temp_dir()).unwrap() > 0);
        assert!(room(Path::new("/no/such/folder")).is_err());
    }

    #[test]
    fn a_second_holder_waits() {
        let folder = env::temp_dir().join(format!("chaoscontrol-lock-{}", std::process::id()));
        let path = folder.join("lock");
        let first = Lock::take(&path, || panic!("nobody else holds it")).unwrap();
        let (told, hears) = std::sync::mpsc::channel();
        let second = {
            let path = path.clone();
            std::thread::spawn(move || Lock::take(&path, || told.send(()).unwrap()).map(|_| ()))
        };
        hears.recv().unwrap();
        assert!(!second.is_finished());
        drop(first);
        second.join().unwrap().unwrap();
        fs::remove_dir_all(folder).unwrap();
    }
}
