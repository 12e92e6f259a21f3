//! What a build of the guest kernel gets from the distribution: the source package, and
//! those build tools that the machine does not have.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::recipe;
use crate::image::apt::{self, Apt};
use crate::image::steps::{Steps, Stop};

/// Bytes that a build with fetched packages takes.
const ROOM: u64 = 5 << 29;

/// Programs that the build calls, and the packages that have them.
const TOOLS: [(&str, &str); 5] = [
    ("make", "make"),
    ("flex", "flex"),
    ("bison", "bison"),
    ("bc", "bc"),
    ("xz", "xz-utils"),
];

/// apt for a build, on private folders below `folder`.
pub fn packages(folder: PathBuf) -> std::io::Result<Apt> {
    Apt::new(folder, ROOM, "packages, source and objects")
}

/// Downloads the kernel's source package; answers the package file.
pub fn source(apt: &mut Apt, steps: &Steps<'_>) -> Result<PathBuf, Stop> {
    let mut last = None;
    for package in recipe::SOURCES {
        match apt.download(package, "150 MB", steps) {
            Ok(file) => return Ok(file),
            Err(stop) => last = Some(stop),
        }
    }
    Err(last.expect("the recipe names a source"))
}

/// Unpacks the missing ones of the build tools into `root`; answers the variables
/// under which they work.
pub fn tools(
    apt: &mut Apt,
    root: &Path,
    steps: &Steps<'_>,
) -> Result<Vec<(&'static str, OsString)>, Stop> {
    let mut packages: Vec<&str> = TOOLS
        .iter()
        .filter(|(tool, _)| !apt::on_path(tool))
        .map(|&(_, package)| package)
        .collect();
    if !Path::new("/usr/include/gelf.h").exists() && !apt::on_list("CPATH", "gelf.h") {
        packages.push("libelf-dev");
    }
    if !apt::on_path("gcc") {
        return Err(Stop::new(
            "looking for gcc",
            "there is none on PATH; install the package gcc",
        ));
    }
    if packages.is_empty() {
        return Ok(Vec::new());
    }
    apt.unpack("build tools", &packages, root, steps)?;
    Ok(variables(root))
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
        ("LD_LIBRARY_PATH", apt::library_path(root)),
        ("LIBRARY_PATH", before(apt::LIBRARIES, "LIBRARY_PATH")),
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
