//! Source package and build tools from the distribution, without root: apt works on
//! private state and cache folders, and packages are unpacked, not installed.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::build::{Steps, Stop};
use super::recipe;
use crate::image::cache;

/// Bytes that a build with fetched packages takes. apt may hang for ever on a full disk.
const ROOM: u64 = 5 << 29;

/// Programs that the build calls, and the packages that have them.
const TOOLS: [(&str, &str); 5] = [
    ("make", "make"),
    ("flex", "flex"),
    ("bison", "bison"),
    ("bc", "bc"),
    ("xz", "xz-utils"),
];

/// Where a multiarch package keeps its libraries.
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// apt on private folders below `folder`.
pub struct Apt {
    folder: PathBuf,
    fresh: bool,
}

impl Apt {
    /// Makes the folders.
    pub fn new(folder: PathBuf) -> std::io::Result<Apt> {
        for part in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(part))?;
        }
        Ok(Apt {
            folder,
            fresh: false,
        })
    }

    fn command(&self) -> Command {
        let mut apt = Command::new("apt-get");
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
            if room < ROOM {
                let why = "it was not begun, since packages, source and objects need 2.5 GiB";
                return Err(Stop::no_room(STEP, why));
            }
            steps.run(
                "fetching the package lists (apt-get update)",
                self.command().arg("update"),
            )?;
            self.fresh = true;
        }
        Ok(())
    }

    /// Downloads the kernel's source package; answers the package file.
    pub fn source(&mut self, steps: &Steps<'_>) -> Result<PathBuf, Stop> {
        self.update(steps)?;
        let mut last = None;
        for package in recipe::SOURCES {
            let step = format!("fetching {package} (about 150 MB)");
            match steps.run(&step, self.command().args(["download", package])) {
                Ok(()) => return self.downloaded(package),
                Err(stop) => last = Some(stop),
            }
        }
        Err(last.expect("the recipe names a source"))
    }

    fn downloaded(&self, package: &str) -> Result<PathBuf, Stop> {
        let prefix = format!("{package}_");
        let files = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        files
            .map(|entry| entry.path())
            .find(|path| {
                path.file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with(&prefix))
            })
            .ok_or_else(|| {
                Stop::new(
                    "fetching the kernel source",
                    "the downloaded package is not there",
                )
            })
    }

    /// Unpacks the missing ones of the build tools into `root`; answers the variables
    /// under which they work.
    pub fn tools(
        &mut self,
        root: &Path,
        steps: &Steps<'_>,
    ) -> Result<Vec<(&'static str, OsString)>, Stop> {
        let mut packages: Vec<&str> = TOOLS
            .iter()
            .filter(|(tool, _)| !on_path(tool))
            .map(|&(_, package)| package)
            .collect();
        if !Path::new("/usr/include/gelf.h").exists() && !on_list("CPATH", "gelf.h") {
            packages.push("libelf-dev");
        }
        if !on_path("gcc") {
            return Err(Stop::new(
                "looking for gcc",
                "there is none on PATH; install the package gcc",
            ));
        }
        if packages.is_empty() {
            return Ok(Vec::new());
        }
        self.update(steps)?;
        let mut install = self.command();
        install
            .args([
                "install",
                "--download-only",
                "--no-install-recommends",
                "-y",
            ])
            .args(&packages);
        steps.run(
            &format!("fetching build tools ({})", packages.join(", ")),
            &mut install,
        )?;
        let archives = self.folder.join("cache/archives");
        for entry in fs::read_dir(&archives).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|e| e == "deb") {
                let mut unpack = Command::new("dpkg-deb");
                steps.run(
                    "unpacking build tools",
                    unpack.arg("-x").arg(entry.path()).arg(root),
                )?;
            }
        }
        mend_links(&root.join(LIBRARIES));
        Ok(variables(root))
    }
}

/// Whether `tool` is a file in a folder of PATH.
fn on_path(tool: &str) -> bool {
    on_list("PATH", tool)
}

/// Whether there is a file of this name in a folder that a variable lists.
fn on_list(variable: &str, name: &str) -> bool {
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

/// What makes programs below `root` find each other.
fn variables(root: &Path) -> Vec<(&'static str, OsString)> {
    let under = |part: &str| root.join(part).into_os_string();
    let before = |part: &str, name: &str| {
        let mut list = under(part);
        if let Some(rest) = std::env::var_os(name).filter(|rest| !rest.is_empty()) {
            list.push(":");
            list.push(rest);
        }
        list
    };
    let mut variables = vec![
        ("PATH", before("usr/bin", "PATH")),
        ("LD_LIBRARY_PATH", before(LIBRARIES, "LD_LIBRARY_PATH")),
        ("LIBRARY_PATH", before(LIBRARIES, "LIBRARY_PATH")),
        ("CPATH", before("usr/include", "CPATH")),
    ];
    if root.join("usr/share/bison").exists() {
        variables.push(("BISON_PKGDATADIR", under("usr/share/bison")));
    }
    if root.join("usr/bin/m4").exists() {
        variables.push(("M4", under("usr/bin/m4")));
    }
    variables
}
