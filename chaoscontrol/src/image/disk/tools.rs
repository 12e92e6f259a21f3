//! The programs that make file systems: the host's, or those of the distribution's package.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::DiskError;
use crate::image::apt;
use crate::image::fetched::{Wanted, made};
use crate::image::steps::Say;

/// Where programs for administrators lie, which is on nobody else's PATH.
const FOLDERS: [&str; 2] = ["usr/sbin", "sbin"];

const E2FSPROGS: Wanted<'static> = Wanted {
    what: "mke2fs, which makes the file system of `disk = \"64M\"`,",
    place: ("disk", "e2fsprogs"),
    package: "e2fsprogs",
    way_out: "install the package e2fsprogs; name an image, as in `disk = \"path.img\"`",
};

/// mke2fs and what belongs to it.
pub struct Tools {
    /// Makes a file system.
    pub mke2fs: PathBuf,
    /// Removes a directory from it.
    pub debugfs: PathBuf,
    /// LD_LIBRARY_PATH for both.
    pub libraries: OsString,
    /// What mke2fs calls itself: other versions may make other bytes.
    pub version: String,
}

/// The host's tools, if it has them.
pub fn of_host() -> Option<Tools> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(FOLDERS.map(|part| Path::new("/").join(part)));
    in_folders(folders, &env::var_os("LD_LIBRARY_PATH").unwrap_or_default())
}

/// The host's tools, or else fetched ones.
///
/// # Errors
/// It has none, and they cannot be fetched.
pub fn locate(say: Say<'_>) -> Result<Tools, DiskError> {
    if let Some(tools) = of_host() {
        return Ok(tools);
    }
    let below = |folder: &Path| {
        let root = folder.join("root");
        let libraries = apt::library_path(&root);
        in_folders(FOLDERS.iter().map(|part| root.join(part)), &libraries)
    };
    let works = |folder: &Path| below(folder).is_some();
    let folder = made(&E2FSPROGS, say, works, |apt, folder, steps| {
        let root = folder.join("root");
        apt.unpack("mke2fs", &[E2FSPROGS.package], &root, steps)?;
        Ok(E2FSPROGS.package.to_owned())
    })?;
    Ok(below(&folder).expect("it was just tried"))
}

/// The tools of the first of `folders` that has them both, if they work there.
fn in_folders(folders: impl Iterator<Item = PathBuf>, libraries: &OsString) -> Option<Tools> {
    folders
        .map(|folder| (folder.join("mke2fs"), folder.join("debugfs")))
        .filter(|(mke2fs, debugfs)| mke2fs.is_file() && debugfs.is_file())
        .find_map(|(mke2fs, debugfs)| {
            Some(Tools {
                version: version(&mke2fs, libraries)?,
                mke2fs,
                debugfs,
                libraries: libraries.clone(),
            })
        })
}

/// What the mke2fs at `path` calls itself, on one line; nothing if it does not start.
fn version(path: &Path, libraries: &OsString) -> Option<String> {
    let mut command = Command::new(path);
    command.arg("-V").env("LD_LIBRARY_PATH", libraries);
    let output = command.stdin(Stdio::null()).output().ok()?;
    let text = [output.stderr, output.stdout].concat();
    let text = String::from_utf8_lossy(&text);
    output
        .status
        .success()
        .then(|| text.lines().map(str::trim).collect::<Vec<_>>().join("; "))
}
