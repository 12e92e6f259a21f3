//! Packages of the distribution without root: apt works on private state and cache
//! folders, and packages are unpacked, not installed.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::cache;
use super::steps::{Steps, Stop};

/// Where a multiarch package keeps its libraries.
pub const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// apt on private folders below `folder`.
pub struct Apt {
    folder: PathBuf,
    room: u64,
    purpose: &'static str,
    fresh: bool,
}

impl Apt {
    /// Makes the folders. Nothing is fetched unless there are `room` bytes of room for
    /// `purpose` ("packages and source"): apt may hang for ever on a full disk.
    ///
    /// # Errors
    /// The folders cannot be made.
    pub fn new(folder: PathBuf, room: u64, purpose: &'static str) -> std::io::Result<Apt> {
        for part in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(part))?;
        }
        Ok(Apt {
            folder,
            room,
            purpose,
            fresh: false,
        })
    }

    fn command(&self, program: &str) -> Command {
        let mut apt = Command::new(program);
        let folder = self.folder.display();
        for option in [
            format!("Dir::State={folder}/state"),
            format!("Dir::Cache={folder}/cache"),
            "Dir::State::status=/var/lib/dpkg/status".into(),
            "Debug::NoLocking=1".into(),
            "APT::Sandbox::User=".into(),
        ] {
            apt.args(["-o", &option]);
        }
        apt.current_dir(&self.folder);
        apt
    }

    fn update(&mut self, steps: &Steps<'_>) -> Result<(), Stop> {
        if !self.fresh {
            const STEP: &str = "fetching packages";
            let room = cache::room(&self.folder).map_err(|e| Stop::new(STEP, e))?;
            if room < self.room {
                let gib = self.room as f64 / f64::from(1 << 30);
                let why = format!("it was not begun, since {} need {gib} GiB", self.purpose);
                return Err(Stop::no_room(STEP, why));
            }
            steps.run(
                "fetching the package lists (apt-get update)",
                self.command("apt-get").arg("update"),
            )?;
            self.fresh = true;
        }
        Ok(())
    }

    /// The first package whose name begins with `prefix` among those that `package`
    /// depends on: what a meta package stands for at present.
    ///
    /// # Errors
    /// There is no such package, or apt failed.
    pub fn dependency(
        &mut self,
        package: &str,
        prefix: &str,
        steps: &Steps<'_>,
    ) -> Result<String, Stop> {
        self.update(steps)?;
        let step = format!("asking what {package} depends on");
        let mut found = None;
        let mut depends = self.command("apt-cache");
        depends.args(["depends", "--important", package]);
        steps.watch(&step, &mut depends, |line| {
            let name = line.trim().strip_prefix("Depends: ").unwrap_or_default();
            if found.is_none() && name.starts_with(prefix) {
                found = Some(name.to_owned());
            }
        })?;
        found.ok_or_else(|| Stop::new(&step, format!("none of it begins with {prefix}")))
    }

    /// Downloads `package` alone; answers the package file.
    ///
    /// # Errors
    /// There is no such package, or apt failed.
    pub fn download(
        &mut self,
        package: &str,
        size: &str,
        steps: &Steps<'_>,
    ) -> Result<PathBuf, Stop> {
        self.update(steps)?;
        let step = format!("fetching {package} (about {size})");
        steps.run(&step, self.command("apt-get").args(["download", package]))?;
        let prefix = format!("{package}_");
        let files = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        files
            .map(|entry| entry.path())
            .find(|path| {
                path.file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with(&prefix))
            })
            .ok_or_else(|| Stop::new(&step, "the downloaded package is not there"))
    }

    /// Unpacks `packages`, which are `what`, into `root`, with all that they depend on
    /// and that is not installed.
    ///
    /// # Errors
    /// One of them does not exist, or apt or dpkg failed.
    pub fn unpack(
        &mut self,
        what: &str,
        packages: &[&str],
        root: &Path,
        steps: &Steps<'_>,
    ) -> Result<(), Stop> {
        self.update(steps)?;
        let mut install = self.command("apt-get");
        install
            .args([
                "install",
                "--download-only",
                "--no-install-recommends",
                "-y",
            ])
            .args(packages);
        steps.run(
            &format!("fetching {what} ({})", packages.join(", ")),
            &mut install,
        )?;
        let archives = self.folder.join("cache/archives");
        for entry in fs::read_dir(&archives).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|e| e == "deb") {
                extract(&format!("unpacking {what}"), &entry.path(), root, steps)?;
            }
        }
        mend_links(&root.join(LIBRARIES));
        Ok(())
    }
}

/// Extracts the package file `package` into `root`.
///
/// # Errors
/// dpkg-deb failed.
pub fn extract(step: &str, package: &Path, root: &Path, steps: &Steps<'_>) -> Result<(), Stop> {
    let mut command = Command::new("dpkg-deb");
    steps.run(step, command.arg("-x").arg(package).arg(root))
}

/// The LD_LIBRARY_PATH with which programs unpacked below `root` find their libraries, with
/// the folders of the present one behind.
pub fn library_path(root: &Path) -> OsString {
    let present = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    // Before /lib was merged into /usr/lib, packages had libraries there.
    let own = [LIBRARIES, LIBRARIES.trim_start_matches("usr/")];
    let own = own.into_iter().map(|folder| root.join(folder));
    // An empty part would stand for the working directory.
    let others = std::env::split_paths(&present).filter(|path| !path.as_os_str().is_empty());
    // A folder with a colon in its name cannot be listed at all.
    std::env::join_paths(own.chain(others)).unwrap_or(present.clone())
}

/// Whether `tool` is a file in a folder of PATH.
pub fn on_path(tool: &str) -> bool {
    on_list("PATH", tool)
}

/// Whether there is a file of this name in a folder that a variable lists.
pub fn on_list(variable: &str, name: &str) -> bool {
    let list = std::env::var_os(variable).unwrap_or_default();
    std::env::split_paths(&list).any(|folder| folder.join(name).is_file())
}

/// Points library links whose target is installed on the system, and so was not
/// unpacked, to where the system has it.
fn mend_links(libraries: &Path) {
    for entry in fs::read_dir(libraries).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(target) = fs::read_link(&path) else {
            continue;
        };
        let installed = Path::new("/").join(LIBRARIES).join(&target);
        if !path.exists() && installed.exists() && fs::remove_file(&path).is_ok() {
            let _ = std::os::unix::fs::symlink(installed, &path);
        }
    }
}
