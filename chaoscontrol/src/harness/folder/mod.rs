//! The output folder of a test's exploration: what it has shown so far, for people and for
//! programs, and from where it can go on if somebody ends it.
//!
//! It only listens: whether it can be written, and how long that takes, changes nothing of a run.

mod assertions;
mod checkpoint;
mod functions;
mod history;
mod identity;
mod kept;
mod recorder;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use checkpoint::{CheckpointError, Identity};
pub use functions::OwnCode;
pub use kept::{Kept, KeptBug, ReadError, name};
pub use recorder::Recorder;

use super::entry::Package;
use super::shard::Shard;
use crate::image::cache;

/// The folder of one test, of one shard of it if it is explored in shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    path: PathBuf,
}

/// What the explorations of `folders` have shown together; a folder without a report stands for
/// those of its shards.
///
/// # Errors
/// One that cannot be used, or is of another test.
pub fn merged(folders: &[Folder]) -> Result<Kept, ReadError> {
    let spread = |folder: &Folder| match folder.shards() {
        // If there is neither, the error says what is missing.
        shards if shards.is_empty() || folder.is_kept() => vec![folder.clone()],
        shards => shards,
    };
    let mut all: Option<Kept> = None;
    for folder in folders.iter().flat_map(spread) {
        let kept = folder.kept()?;
        match &mut all {
            None => all = Some(kept),
            Some(all) => all.merge(kept, folder.path())?,
        }
    }
    all.ok_or(ReadError::Nothing)
}

impl Folder {
    /// That of the test `name`, in cargo's target folder.
    pub fn of(package: &Package, name: &str, shard: Option<Shard>) -> Folder {
        let mut path = package.scratch().join(package.target);
        path.extend(name.split("::"));
        if let Some(shard) = shard {
            path.push(shard.folder());
        }
        Folder { path }
    }

    /// The folder `path`.
    pub fn at(path: &Path) -> Folder {
        Folder {
            path: path.to_owned(),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folders of shards in it that hold a report, in order.
    pub fn shards(&self) -> Vec<Folder> {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = entries
            .map(|entry| entry.path())
            .filter(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                name.starts_with(Shard::FOLDER) && path.join(kept::FILE).is_file()
            })
            .collect();
        paths.sort();
        paths.iter().map(|path| Folder::at(path)).collect()
    }

    /// Whether an exploration has left its report there.
    pub fn is_kept(&self) -> bool {
        self.path.join(kept::FILE).is_file()
    }

    /// What an exploration has left there.
    ///
    /// # Errors
    /// There is none, or it cannot be used.
    pub fn kept(&self) -> Result<Kept, ReadError> {
        Kept::read(&self.path.join(kept::FILE))
    }

    /// The state that an exploration of `identity` goes on from; none if it has left none.
    ///
    /// # Errors
    /// What is there cannot be used; it is left as it is.
    pub fn state(&self, identity: &Identity) -> Result<Option<String>, CheckpointError> {
        checkpoint::read(&self.path.join(checkpoint::FILE), identity)
    }

    /// Writes `text` to the file `name` in it, as a whole.
    ///
    /// # Errors
    /// What the host says.
    pub fn write(&self, name: &str, text: &str) -> io::Result<()> {
        cache::write_whole(&self.path.join(name), text.as_bytes())
    }
}
