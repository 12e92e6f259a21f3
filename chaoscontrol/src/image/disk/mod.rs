//! What the disk of a VM holds when it is new: an empty file system that is the same
//! everywhere, or an image of the user's, which nobody writes to.
//!
//! Like kernel and initramfs it is an input of a run, and carries a hash.

mod ext4;
mod read;
mod tools;

use std::io;
use std::path::Path;
use std::process::Command;

use super::fetched::FetchError;
use super::steps::Say;
use crate::devices::disk::ImageError;

pub use read::BaseImage;

/// Why there is no disk.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// What makes file systems is not there.
    #[error(transparent)]
    Tools(#[from] FetchError),
    /// The file system could not be made.
    #[error(
        "an empty file system of {size} bytes could not be made: {why}; its log is {log}\n{tail}ways out: mend that and run again; take another size; name an image, as in `disk = \"path.img\"`"
    )]
    Make {
        /// Bytes of the disk.
        size: u64,
        /// The step, and why it failed.
        why: String,
        /// The log file.
        log: String,
        /// The log's last lines.
        tail: String,
    },
    /// The cache cannot be used.
    #[error(
        "the cache folder {path} cannot be used: {source}; set CHAOS_CACHE to a folder with room for file systems"
    )]
    Cache {
        /// The folder.
        path: String,
        /// What the host said.
        source: io::Error,
    },
    /// The image cannot be read.
    #[error("the disk image {path} cannot be read: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the host said.
        source: io::Error,
    },
    /// The image is no file, but a folder or a device.
    #[error("the disk image {path} is no file; name a file, which the disk begins with")]
    NoFile {
        /// What was named.
        path: String,
    },
    /// The image has a size that no disk has.
    #[error("the disk image {path} cannot be used: {source}")]
    Size {
        /// The file.
        path: String,
        /// What is wrong.
        source: ImageError,
    },
    /// The image is not what it was.
    #[error(
        "the disk image {path} was changed while it was in use: what was found belongs to its old bytes; let nobody write to it, and run again"
    )]
    Changed {
        /// The file.
        path: String,
    },
}

/// An empty ext4 file system of `size` bytes, a multiple of 4096 from 4 MiB on. Its root has
/// mode 0755 and holds nothing. `say` hears of what takes long.
///
/// Equal sizes give equal bytes, unless the versions of mke2fs differ.
///
/// # Errors
/// See [`DiskError`].
pub fn empty(size: u64, say: Say<'_>) -> Result<BaseImage, DiskError> {
    let tools = tools::locate(say)?;
    let path = ext4::provide(size, &tools, say)?;
    Ok(BaseImage::read(&path)?.unwatched())
}

/// What makes the host's file systems, by name and version; nothing if [`empty`] has to fetch
/// it.
pub fn maker() -> Option<String> {
    tools::of_host().map(|tools| tools.version)
}

/// e2fsck, which finds out whether a file system is sound; to be given its arguments.
///
/// # Errors
/// See [`DiskError`].
pub fn checker(say: Say<'_>) -> Result<Command, DiskError> {
    let tools = tools::locate(say)?;
    let mut command = Command::new(tools.mke2fs.with_file_name("e2fsck"));
    command.env("LD_LIBRARY_PATH", tools.libraries);
    Ok(command)
}

/// The image that is the file `path`.
///
/// # Errors
/// See [`DiskError`].
pub fn image(path: &Path) -> Result<BaseImage, DiskError> {
    BaseImage::read(path)
}
