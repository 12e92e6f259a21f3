//! A failure that travels: all that decides its run in one file, so that whoever gets it sees
//! the same failure with no source and no build, also after the code was changed.
//!
//! A regression file is small and names kernel and executable by their hashes only, so it is for
//! the source tree; a bundle holds their bytes, so it is for a colleague or a bug report. What it
//! cannot hold is a test's `check`, which is code of the host.

mod format;
mod replay;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::registry::TestCase;
use super::regression::{ReadError, Recorded};
use super::world::Booted;
use crate::devices::disk::DiskImage;
use crate::image::cache;

pub use format::MOST;
pub use replay::{Replayed, replay};

/// How the names of bundles end.
pub const EXTENSION: &str = "chaosbundle";

/// Why there is no bundle, or none that can be used; to be read after the file's name.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Another kind of file.
    #[error("is no bundle of chaoscontrol")]
    NoBundle,
    /// It is of another version.
    #[error(
        "is a bundle of version {of}, and this chaoscontrol reads version {known}: use the chaoscontrol that wrote it"
    )]
    Version {
        /// Its version.
        of: u32,
        /// The one that is known.
        known: u32,
    },
    /// It is not as it was written.
    #[error("is damaged or cut short: it {0}; get it once more")]
    Damaged(&'static str),
    /// It is too large.
    #[error("has more than 2 GiB unpacked, the most that a bundle may have")]
    Oversized,
    /// Its record is wrong.
    #[error("has a record that {0}")]
    Record(ReadError),
    /// It cannot be packed.
    #[error("cannot be packed: {0}")]
    Pack(io::Error),
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Read(io::Error),
    /// The file cannot be written.
    #[error("cannot be written: {0}")]
    Write(io::Error),
}

/// All that decides the run of a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// Recipe, settings and hashes.
    pub record: Recorded,
    /// The test's name, which the guests are told.
    pub test: String,
    /// The failure, in words.
    pub failure: String,
    /// Whether the test has a `check`, which is not in the bundle.
    pub has_check: bool,
    /// The guest kernel.
    pub kernel: Arc<[u8]>,
    /// All that was packed for the guest.
    pub initramfs: Arc<[u8]>,
    /// What disks hold when they are new, if there are any.
    pub disk: Option<DiskImage>,
}

impl Bundle {
    /// The bundle of a failure of `case`, in words `failure`, that was recorded in a world that
    /// was booted so.
    pub fn new(case: &TestCase, record: Recorded, failure: String, booted: &Booted) -> Bundle {
        Bundle {
            record,
            test: case.name(),
            failure,
            has_check: case.attributes.check.is_some(),
            kernel: Arc::clone(&booted.kernel.bytes),
            initramfs: Arc::clone(&booted.initramfs.bytes),
            disk: booted.disk.as_ref().map(|disk| disk.image.clone()),
        }
    }

    /// Reads the file `path`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(path: &Path) -> Result<Bundle, BundleError> {
        let size = fs::metadata(path).map_err(BundleError::Read)?.len();
        if size > MOST {
            return Err(BundleError::Oversized);
        }
        format::read(&fs::read(path).map_err(BundleError::Read)?)
    }

    /// Writes it to a file of `folder` that is named after the record; answers the file and its
    /// size in bytes.
    ///
    /// # Errors
    /// It is too large, or the host has no room for it.
    pub fn write(&self, folder: &Path) -> Result<(PathBuf, u64), BundleError> {
        let path = folder.join(&self.record.id).with_extension(EXTENSION);
        let bytes = format::write(self)?;
        fs::create_dir_all(folder).map_err(BundleError::Write)?;
        cache::write_whole(&path, &bytes).map_err(BundleError::Write)?;
        Ok((path, bytes.len() as u64))
    }
}
