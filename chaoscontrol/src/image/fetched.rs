//! What is fetched from the distribution once for a machine and kept in the cache folder,
//! whole or not at all, whichever processes ask for it at the same time.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use super::apt::Apt;
use super::cache::{self, Lock};
use super::steps::{Say, Steps, Stop, tail};

/// Bytes that one artefact takes, with all packages.
const ROOM: u64 = 1 << 29;
/// Written last into a folder of the cache: the rest is whole.
const WHOLE: &str = "made-from";

/// Why it is not there.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The cache cannot be used.
    #[error(
        "the cache folder {path} cannot be used: {source}; set CHAOS_CACHE to a folder with 1 GiB of room"
    )]
    Cache {
        /// The folder or file.
        path: String,
        /// What the host said.
        source: io::Error,
    },
    /// Fetching is forbidden.
    #[error(
        "{what} is not in the cache, and CHAOS_OFFLINE is set; unset it once to have it fetched, or {way_out}"
    )]
    Offline {
        /// What is missing.
        what: String,
        /// What to do where it cannot be fetched.
        way_out: String,
    },
    /// A step failed.
    #[error(
        "{what} could not be fetched: {why}; the log is {log}\n{tail}ways out: mend that and run again; {way_out}"
    )]
    Step {
        /// What was to be fetched.
        what: String,
        /// The step, and why it failed.
        why: String,
        /// The log file.
        log: String,
        /// The log's last lines.
        tail: String,
        /// What to do where it cannot be fetched.
        way_out: String,
    },
}

/// Something to be fetched once.
pub struct Wanted<'a> {
    /// What it is, in words: "the QEMU for tests of KVM".
    pub what: &'a str,
    /// The folder of the cache that it is to lie in, and the beginning of its own folder's
    /// name there.
    pub place: (&'a str, &'a str),
    /// The package that it comes from, or several.
    pub package: &'a str,
    /// What a user can do where that package is not to be had.
    pub way_out: &'a str,
}

/// The folder of the cache in which `make` has made what is `wanted`; made now if it is not
/// there or not `good`. `make` answers what it was made from.
pub fn made(
    wanted: &Wanted<'_>,
    say: Say<'_>,
    good: impl Fn(&Path) -> bool,
    make: impl FnOnce(&mut Apt, &Path, &Steps<'_>) -> Result<String, Stop>,
) -> Result<PathBuf, FetchError> {
    let Wanted { what, way_out, .. } = *wanted;
    let (part, name) = wanted.place;
    let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let key = xxh3_64(format!("{}\n{system}", wanted.package).as_bytes());
    let home = cache::folder().join(part);
    let folder = home.join(format!("{name}-{key:016x}"));
    let whole = || folder.join(WHOLE).exists() && good(&folder);
    if whole() {
        return Ok(folder);
    }
    if cache::offline() {
        return Err(FetchError::Offline {
            what: what.to_owned(),
            way_out: way_out.to_owned(),
        });
    }
    let failed = |source| FetchError::Cache {
        path: folder.display().to_string(),
        source,
    };
    let lock = home.join(format!("{name}-{key:016x}.lock"));
    let waiting = || say(&format!("waiting for another process that fetches {what}"));
    let _lock = Lock::take(&lock, waiting).map_err(failed)?;
    if whole() {
        return Ok(folder);
    }
    // What an interrupted process left behind.
    let _ = fs::remove_dir_all(&folder);
    let work = folder.join("work");
    fs::create_dir_all(&work).map_err(failed)?;
    let steps = Steps::new(folder.join("log"), say);
    let made = Apt::new(work.join("apt"), ROOM, "the packages")
        .map_err(|e| Stop::new("making folders", e))
        .and_then(|mut apt| make(&mut apt, &folder, &steps));
    let _ = fs::remove_dir_all(&work);
    let stopped = |stop: Stop| FetchError::Step {
        what: what.to_owned(),
        why: stop.to_string(),
        log: steps.log().display().to_string(),
        tail: tail(steps.log()),
        way_out: way_out.to_owned(),
    };
    let from = made.map_err(stopped)?;
    cache::write_whole(&folder.join(WHOLE), from.as_bytes()).map_err(failed)?;
    match whole() {
        true => Ok(folder),
        false => {
            let step = "trying what was fetched";
            Err(stopped(Stop::new(step, "it does not work")))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn it_is_made_once_and_again_if_it_is_no_longer_good() {
        let part = format!("test-{}", std::process::id());
        let wanted = Wanted {
            what: "a test's folder",
            place: (&part, "made"),
            package: "none",
            way_out: "none",
        };
        let times = Cell::new(0);
        let good = |folder: &Path| folder.join("good").exists();
        let get = || {
            made(&wanted, &|_| {}, good, |_, folder, _| {
                times.set(times.get() + 1);
                let name = if times.get() < 3 { "good" } else { "bad" };
                assert!(!folder.join("other").exists(), "nothing old is left");
                let failed = |e| Stop::new("making it", e);
                fs::write(folder.join(name), "").map_err(failed)?;
                fs::write(folder.join("other"), "").map_err(failed)?;
                Ok("nothing".to_owned())
            })
        };
        if cache::offline() {
            assert!(matches!(get(), Err(FetchError::Offline { .. })));
            return;
        }
        let folder = get().unwrap();
        assert_eq!((get().unwrap(), times.get()), (folder.clone(), 1));
        for times_made in [2, 3] {
            fs::remove_file(folder.join("good")).unwrap();
            let again = get().map_err(|e| e.to_string());
            assert_eq!(times.get(), times_made);
            match again {
                Ok(again) => assert_eq!((again, times_made), (folder.clone(), 2)),
                Err(why) => assert!(times_made == 3 && why.contains("it does not work"), "{why}"),
            }
        }
        fs::remove_dir_all(folder.parent().unwrap()).unwrap();
    }
}
