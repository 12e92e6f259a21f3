//! The folder outside of any checkout where expensive artefacts live, shared by all
//! processes of a user.

use std::env;
use std::fs::{self, File};
use std::io;
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

/// Writes `bytes` to `path` so that readers see the old file, the new one, or none,
/// never a part.
///
/// # Errors
/// What the file system says; the partial file is removed.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let part = path.with_extension(format!("part{}", std::process::id()));
    let written = fs::write(&part, bytes).and_then(|()| fs::rename(&part, path));
    if written.is_err() {
        let _ = fs::remove_file(&part);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

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
