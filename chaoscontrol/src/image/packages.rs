//! Programs and files that a test takes from packages of the distribution, which need not be
//! installed: they are unpacked into the cache folder, and lie over the host's file system.

use std::path::{Path, PathBuf};

use super::fetched::{FetchError, Wanted, made};
use super::libraries::below;
use super::steps::Say;

/// The folder into which `packages` were unpacked, with what they depend on and the host does
/// not have; none if the host has all the `paths` that are wanted of them.
///
/// # Errors
/// They cannot be fetched, or do not hold those paths.
pub fn unpacked(
    packages: &[&str],
    paths: &[&Path],
    say: Say<'_>,
) -> Result<Option<PathBuf>, FetchError> {
    if packages.is_empty() || paths.iter().all(|path| path.exists()) {
        return Ok(None);
    }
    let names = packages.join(" ");
    let wanted = Wanted {
        what: &format!("what the test takes from packages ({names})"),
        place: ("packages", "root"),
        package: &names,
        way_out: &format!("install {names}, so that {} is there", list(paths)),
    };
    let root = |folder: &Path| folder.join("root");
    let whole = |folder: &Path| {
        let root = root(folder);
        let found = |path: &&Path| path.exists() || below(&root, path).is_some();
        paths.iter().all(found)
    };
    let folder = made(&wanted, say, whole, |apt, folder, steps| {
        apt.unpack("packages", packages, &root(folder), steps)?;
        Ok(names.clone())
    })?;
    Ok(Some(root(&folder)))
}

fn list(paths: &[&Path]) -> String {
    let names: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    names.join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_fetched_that_is_there() {
        let silent = |line: &str| panic!("{line}");
        let paths = [Path::new("/bin/sh"), Path::new("/etc")];
        let none = unpacked(&["no-such-package"], &paths, &silent).unwrap();
        assert_eq!(none, None);
        let none = unpacked(&[], &[Path::new("/no/such/file")], &silent).unwrap();
        assert_eq!(none, None);
    }
}
