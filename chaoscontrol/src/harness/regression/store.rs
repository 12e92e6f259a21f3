//! Where recorded failures lie: in the source tree, to be checked in, or beside the build.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::record::Recorded;
use super::text::{self, ReadError};
use crate::harness::entry::Package;
use crate::harness::registry::TestCase;
use crate::image::cache;

/// Why recorded failures are not to be had.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file has wrong contents.
    #[error("{path} {source}")]
    Contents {
        /// The file.
        path: String,
        /// What is wrong.
        source: ReadError,
    },
    /// A file cannot be read.
    #[error("{path} cannot be read: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the host said.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("{path} cannot be written: {source}")]
    Write {
        /// The file.
        path: String,
        /// What the host said.
        source: io::Error,
    },
    /// A failure is asked for that is nowhere.
    #[error(
        "CHAOS_REPLAY={id}: no such failure is recorded in {checked_in} or below {scratch}{known}"
    )]
    Unknown {
        /// Its name.
        id: String,
        /// The test's file in the source tree.
        checked_in: String,
        /// The test's folder beside the build.
        scratch: String,
        /// The names there are, as a phrase.
        known: String,
    },
}

/// What became of a failure that was to be saved.
#[derive(Debug)]
pub enum Saved {
    /// It stands in the source tree.
    CheckIn(PathBuf),
    /// It stands beside the build.
    Scratch {
        /// The file.
        path: PathBuf,
        /// Why not in the source tree, where it belongs.
        why: Option<String>,
    },
    /// It could not be written.
    Lost {
        /// The file.
        path: PathBuf,
        /// What the host said.
        source: io::Error,
        /// What would have been written.
        text: String,
    },
}

/// The recorded failures of one test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// The file in the source tree.
    checked_in: PathBuf,
    /// The folder beside the build.
    scratch: PathBuf,
    /// Whether the source tree may be written.
    writes_source: bool,
}

impl Store {
    /// That of `case`. A test with a schedule of its own runs the same branch again without being
    /// told, and one that has to fail has nothing to remember.
    pub fn of(case: &TestCase, package: &Package) -> Store {
        let keeps = case.should_panic.is_none() && case.attributes.schedule.is_none();
        Store::new(package, &case.name(), keeps)
    }

    /// That of the test `name` of a target. Only with `keeps` is the file in the source
    /// tree written, and only where no CI runs (`CI` is set there).
    pub fn new(package: &Package, name: &str, keeps: bool) -> Store {
        let path = name.split("::").collect::<PathBuf>();
        let regressions = package.folder().join("tests").join("chaos-regressions");
        let mut checked_in = regressions
            .join(package.target)
            .join(&path)
            .into_os_string();
        checked_in.push(".toml");
        let ci = env::var_os("CI").is_some_and(|v| !v.is_empty() && v != "0" && v != "false");
        Store {
            checked_in: checked_in.into(),
            scratch: package.scratch().join(package.target).join(path),
            writes_source: keeps && !ci,
        }
    }

    /// The failures in the source tree, in the order of their discovery; none where there
    /// is no file.
    ///
    /// # Errors
    /// A file that cannot be used; it is left as it is.
    pub fn checked_in(&self) -> Result<Vec<Recorded>, StoreError> {
        load(&self.checked_in)
    }

    /// The folder beside the build, for what belongs to a failure and not to the source.
    pub fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// All failures, those beside the build first, each once; each part in the order of its
    /// discovery, as far as that is known.
    ///
    /// # Errors
    /// A file that cannot be used.
    pub fn all(&self) -> Result<Vec<Recorded>, StoreError> {
        let files = fs::read_dir(&self.scratch).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = files
            .map(|file| file.path())
            .filter(|path| path.extension().is_some_and(|end| end == "toml"))
            .collect();
        let written = |path: &PathBuf| path.metadata().and_then(|data| data.modified()).ok();
        files.sort_by_key(|path| (written(path), path.clone()));
        let checked_in = self.checked_in()?;
        let mut all = Vec::new();
        for path in files {
            all.extend(load(&path)?);
        }
        all.retain(|failure| checked_in.iter().all(|known| known.id != failure.id));
        all.extend(checked_in);
        Ok(all)
    }

    /// Whether `path` is one of its files, and the failure that it stands for if it holds one only.
    pub fn holds(&self, path: &Path) -> Option<Option<String>> {
        let same = |own: &Path| own.canonicalize().is_ok_and(|own| own == path);
        if same(&self.checked_in) {
            return Some(None);
        }
        let beside = path
            .parent()
            .is_some_and(|folder| same_folder(folder, &self.scratch));
        beside.then(|| {
            Some(
                path.file_stem()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned(),
            )
        })
    }

    /// Removes the failure `id` from the source tree, as far as that may be written.
    ///
    /// # Errors
    /// A file that cannot be used or written.
    pub fn forget(&self, id: &str) -> Result<(), StoreError> {
        let mut all = self.checked_in()?;
        let before = all.len();
        all.retain(|known| known.id != id);
        if !self.writes_source || all.len() == before {
            return Ok(());
        }
        put(&self.checked_in, &text::write(&all)).map_err(|source| StoreError::Write {
            path: self.checked_in.display().to_string(),
            source,
        })
    }

    /// The failure named `id`, wherever it is.
    ///
    /// # Errors
    /// It is nowhere, or a file that cannot be used.
    pub fn find(&self, id: &str) -> Result<Recorded, StoreError> {
        let mut all = self.checked_in()?;
        let beside = self.scratch.join(format!("{id}.toml"));
        // A name with a separator in it is none of ours.
        if beside.parent() == Some(&self.scratch) {
            all.extend(load(&beside)?);
        }
        let known: Vec<&str> = all.iter().map(|failure| failure.id.as_str()).collect();
        let known = match known.join(", ") {
            none if none.is_empty() => none,
            names => format!("; there is {names}"),
        };
        let found = all.iter().rev().find(|failure| failure.id == id);
        found.cloned().ok_or_else(|| StoreError::Unknown {
            id: id.to_owned(),
            checked_in: self.checked_in.display().to_string(),
            scratch: self.scratch.display().to_string(),
            known,
        })
    }

    /// Writes a failure down, beside the build if the source tree is not to be written or
    /// cannot be. Loses nothing that is there.
    pub fn save(&self, failure: &Recorded) -> Saved {
        let beside = self.scratch.join(format!("{}.toml", failure.id));
        let alone = text::write(std::slice::from_ref(failure));
        let why = match self.check_in(failure) {
            Ok(true) => return Saved::CheckIn(self.checked_in.clone()),
            Ok(false) => None,
            Err(error) => Some(error.to_string()),
        };
        match put(&beside, &alone) {
            Ok(()) => Saved::Scratch { path: beside, why },
            Err(source) => Saved::Lost {
                path: beside,
                source,
                text: alone,
            },
        }
    }

    /// Adds a failure to those in the source tree; false if that is not to be written.
    fn check_in(&self, failure: &Recorded) -> Result<bool, StoreError> {
        if !self.writes_source {
            return Ok(false);
        }
        let mut all = self.checked_in()?;
        all.retain(|known| known.id != failure.id);
        all.push(failure.clone());
        put(&self.checked_in, &text::write(&all)).map_err(|source| StoreError::Write {
            path: self.checked_in.display().to_string(),
            source,
        })?;
        Ok(true)
    }
}

fn same_folder(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

fn load(path: &Path) -> Result<Vec<Recorded>, StoreError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => {
            return Err(StoreError::Read {
                path: path.display().to_string(),
                source,
            });
        }
    };
    text::read(&text).map_err(|source| StoreError::Contents {
        path: path.display().to_string(),
        source,
    })
}

fn put(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    cache::write_whole(path, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::text::tests::example;
    use super::*;

    fn store(name: &str) -> (PathBuf, Store) {
        let folder =
            env::temp_dir().join(format!("chaoscontrol-store-{name}-{}", std::process::id()));
        let store = Store {
            checked_in: folder.join("tests/chaos-regressions/chaos/a/b.toml"),
            scratch: folder.join("target/chaos/chaos/a/b"),
            writes_source: true,
        };
        (folder, store)
    }

    #[test]
    fn failures_are_kept_and_found_by_name() {
        let (folder, store) = store("kept");
        assert!(store.checked_in().unwrap().is_empty());
        let (first, mut second) = (example(), example());
        second.id = "00000002".into();
        for failure in [&first, &second, &first] {
            assert!(matches!(store.save(failure), Saved::CheckIn(_)));
        }
        assert_eq!(store.checked_in().unwrap(), [second.clone(), first.clone()]);
        assert_eq!(store.find(&second.id).unwrap(), second);
        let error = store.find("../00000002").unwrap_err().to_string();
        assert!(error.contains("there is 00000002, 0badcafe"), "{error}");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn without_leave_to_write_the_source_failures_lie_beside_the_build() {
        let (folder, store) = store("beside");
        let store = Store {
            writes_source: false,
            ..store
        };
        assert!(matches!(store.save(&example()), Saved::Scratch { .. }));
        assert!(!store.checked_in.exists());
        assert_eq!(store.find("0badcafe").unwrap(), example());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_that_cannot_be_read_is_left_alone() {
        let (folder, store) = store("damaged");
        put(&store.checked_in, "version = 1\n[[failure]]\nid = \"a").unwrap();
        let error = store.checked_in().unwrap_err().to_string();
        assert!(error.contains("b.toml is damaged or cut short"), "{error}");
        assert!(matches!(store.save(&example()), Saved::Scratch { .. }));
        let text = fs::read_to_string(&store.checked_in).unwrap();
        assert!(text.ends_with("id = \"a"));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_cannot_be_saved_is_handed_back() {
        let (folder, store) = store("lost");
        fs::create_dir_all(&folder).unwrap();
        // A file where folders are needed, as a full disk would be: root ignores permissions.
        for name in ["target", "tests"] {
            fs::write(folder.join(name), "").unwrap();
        }
        match store.save(&example()) {
            Saved::Lost { text, .. } => assert_eq!(text::read(&text).unwrap(), [example()]),
            other => panic!("{other:?}"),
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
