//! The test executables that cargo has built, as its JSON messages name them: only cargo
//! knows which of the files in its target folder is the present one.

use std::path::PathBuf;

/// A test executable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// Where it is.
    pub executable: PathBuf,
    /// The folder of its package.
    pub package: PathBuf,
    /// The kind of its target: `lib`, `bin`, `test` and so on.
    pub kind: String,
    /// The name of its target.
    pub name: String,
}

/// The test executables in the output of `cargo test --no-run --message-format=json`.
pub fn test_executables(messages: &str) -> impl Iterator<Item = Artifact> {
    messages.lines().filter_map(|line| {
        let is_test = object(line, "profile")?.contains("\"test\":true");
        let target = object(line, "target")?;
        let manifest = PathBuf::from(string(line, "manifest_path")?);
        let artifact = Artifact {
            executable: string(line, "executable")?.into(),
            package: manifest.parent()?.to_owned(),
            kind: target.split('"').nth(3)?.to_owned(),
            name: string(target, "name")?,
        };
        is_test.then_some(artifact)
    })
}

/// From the object `name` of a line of JSON to its first closing brace.
fn object<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let start = line.find(&format!("\"{name}\":{{"))?;
    let length = line[start..].find('}')?;
    Some(&line[start + name.len() + 3..start + length])
}

/// The string `name` of a line of JSON.
fn string(line: &str, name: &str) -> Option<String> {
    let start = line.find(&format!("\"{name}\":\""))? + name.len() + 4;
    let mut text = String::new();
    let mut characters = line[start..].chars();
    loop {
        match characters.next()? {
            '"' => return Some(text),
            '\\' => text.push(characters.next()?),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_messages_are_read() {
        let line = |test: bool| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"/raft/Cargo.toml","target":{{"kind":["lib"],"name":"raft","test":true}},"profile":{{"opt_level":"0","test":{test}}},"executable":"/t/a \"b\"","fresh":true}}"#
            )
        };
        let text = format!("{}\nnoise\n{}\n", line(false), line(true));
        let found: Vec<Artifact> = test_executables(&text).collect();
        let wanted = Artifact {
            executable: "/t/a \"b\"".into(),
            package: "/raft".into(),
            kind: "lib".into(),
            name: "raft".into(),
        };
        assert_eq!(found, [wanted]);
        let none = line(true).replace(r#""/t/a \"b\"""#, "null");
        assert_eq!(test_executables(&none).count(), 0);
    }
}
