//! The file from which an exploration goes on: a line that names its form and its checksum, a
//! line that says what it was made from, and the explorer's state.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

/// The file's name.
pub(super) const FILE: &str = "checkpoint";

/// The version of the form, and how its first line begins.
const VERSION: u32 = 1;
const MAGIC: &str = "chaoscontrol checkpoint";

/// What an exploration was made from, each by its name in words. Two with the same go on alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Identity(pub BTreeMap<String, String>);

/// Why an exploration cannot go on from a checkpoint. The file is left as it is.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// It cannot be read.
    #[error("{path} cannot be read: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the host said.
        source: io::Error,
    },
    /// It is no checkpoint, or not whole.
    #[error(
        "{path} is damaged or cut short ({what}), and nothing can go on from it: `cargo chaos run` begins anew and replaces it"
    )]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// It has another form.
    #[error(
        "{path} has version {found}, and this chaoscontrol reads version {VERSION}: go on with the chaoscontrol that wrote it, or begin anew with `cargo chaos run`, which replaces it"
    )]
    Version {
        /// The file.
        path: String,
        /// Its version.
        found: String,
    },
    /// It was made from something else.
    #[error(
        "{path} is of another exploration: {differs}; go on with what it was made from, or begin anew with `cargo chaos run`, which replaces it"
    )]
    Other {
        /// The file.
        path: String,
        /// In what it differs.
        differs: String,
    },
}

/// The file's text.
pub(super) fn write(identity: &Identity, state: &str) -> String {
    let identity = serde_json::to_string(&identity.0).expect("texts by texts are JSON");
    let body = format!("{identity}\n{state}\n");
    format!(
        "{MAGIC} {VERSION} {:016x}\n{body}",
        xxh3_64(body.as_bytes())
    )
}

/// The state in the file `path`, if there is one.
pub(super) fn read(path: &Path, identity: &Identity) -> Result<Option<String>, CheckpointError> {
    let name = path.display().to_string();
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(CheckpointError::Read { path: name, source }),
    };
    let damaged = |what: &str| CheckpointError::Damaged {
        path: name.clone(),
        what: what.to_owned(),
    };
    let text = String::from_utf8(bytes).map_err(|_| damaged("it is no text"))?;
    let (first, body) = text.split_once('\n').unwrap_or((&text, ""));
    let rest = first.strip_prefix(MAGIC);
    let rest = rest.ok_or_else(|| damaged("its first line is another file's"))?;
    let mut words = rest.split_whitespace();
    match words.next() {
        Some(version) if version == VERSION.to_string() => {}
        other => {
            return Err(CheckpointError::Version {
                path: name,
                found: other.unwrap_or("none").to_owned(),
            });
        }
    }
    if words.next() != Some(&format!("{:016x}", xxh3_64(body.as_bytes()))) {
        return Err(damaged("its checksum is wrong"));
    }
    let (made_from, state) = body
        .split_once('\n')
        .ok_or_else(|| damaged("it has no state"))?;
    let made_from: BTreeMap<String, String> =
        serde_json::from_str(made_from).map_err(|_| damaged("its second line is another's"))?;
    let differs = differs(&made_from, &identity.0);
    if !differs.is_empty() {
        return Err(CheckpointError::Other {
            path: name,
            differs,
        });
    }
    Ok(Some(state.trim_end().to_owned()))
}

/// In what two differ: `rounds was 3 and is 4`.
fn differs(was: &BTreeMap<String, String>, is: &BTreeMap<String, String>) -> String {
    let names: std::collections::BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    let of = |map: &BTreeMap<String, String>, name: &String| {
        map.get(name)
            .cloned()
            .unwrap_or_else(|| "absent".to_owned())
    };
    let lines = names
        .into_iter()
        .filter(|name| was.get(*name) != is.get(*name));
    let lines: Vec<String> = lines
        .map(|name| {
            format!(
                "its {name} was {}, and is {} now",
                of(was, name),
                of(is, name)
            )
        })
        .collect();
    lines.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(code: &str) -> Identity {
        let pairs = [("test", "leader"), ("code", code)];
        Identity(pairs.map(|(a, b)| (a.to_owned(), b.to_owned())).into())
    }

    /// What is read of a file with `text`, and whether the file is as it was.
    fn through(text: &[u8], identity: &Identity) -> Result<Option<String>, String> {
        let path = std::env::temp_dir().join(format!(
            "chaos-checkpoint-{}-{:x}",
            std::process::id(),
            xxh3_64(text)
        ));
        fs::write(&path, text).unwrap();
        let found = read(&path, identity).map_err(|e| e.to_string());
        assert_eq!(fs::read(&path).unwrap(), text, "it is kept");
        fs::remove_file(&path).unwrap();
        found
    }

    #[test]
    fn a_checkpoint_is_read_by_its_own_exploration_only() {
        let text = write(&identity("ab"), "{\"round\":3}");
        let state = through(text.as_bytes(), &identity("ab"));
        assert_eq!(state, Ok(Some("{\"round\":3}".to_owned())));
        let error = through(text.as_bytes(), &identity("cd")).unwrap_err();
        assert!(
            error.contains("its code was ab, and is cd now; "),
            "{error}"
        );
        assert!(error.contains("begin anew"), "{error}");
        let missing = read(Path::new("/nowhere/checkpoint"), &identity("ab"));
        assert!(missing.unwrap().is_none());
    }

    #[test]
    fn what_is_damaged_or_of_another_version_is_refused() {
        let text = write(&identity("ab"), "{\"round\":3,\"corpus\":[1,2,3]}");
        for length in 0..text.len() - 1 {
            let cut = &text.as_bytes()[..length];
            assert!(through(cut, &identity("ab")).is_err(), "{length} bytes");
        }
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 4;
            assert!(through(&bytes, &identity("ab")).is_err(), "byte {at}");
        }
        let newer = text.replacen("checkpoint 1 ", "checkpoint 2 ", 1);
        let error = through(newer.as_bytes(), &identity("ab")).unwrap_err();
        assert!(error.contains("has version 2"), "{error}");
    }
}
