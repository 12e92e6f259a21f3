//! A package of its own for each run of a test of `cases`.

// Each test target uses a part of it.
#![allow(dead_code)]

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// Settings that make a test as short as can be.
pub const MANIFEST: &str = r#"
[package.metadata.chaos]
vms = 1
rounds = 1
branches = 1
duration = "1s"
quiet = "500ms"
workers = 1
"#;

/// A package of its own for one test of `cases`, so that what is recorded harms nobody.
pub struct Case {
    /// The test's name.
    pub test: &'static str,
    /// The package's folder.
    pub folder: PathBuf,
}

impl Case {
    /// A package for `test`; `purpose` tells it from others for the same test.
    pub fn new(test: &'static str, purpose: &str) -> Case {
        let name = format!("chaoscontrol-{test}-{purpose}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("Cargo.toml"), MANIFEST).unwrap();
        Case { test, folder }
    }

    /// The command that runs it.
    pub fn command(&self) -> Command {
        self.command_of(env!("CARGO_BIN_EXE_cases"), &[])
    }

    /// The command that runs it as `program` with some first arguments.
    pub fn command_of(&self, program: impl AsRef<OsStr>, first: &[&OsStr]) -> Command {
        let mut command = Command::new(program);
        command.args(first);
        command.args(["--ignored", "--exact", self.test]);
        command.env("CARGO_MANIFEST_DIR", &self.folder);
        for name in ["CI", "CHAOS_REPLAY", "NEXTEST", "GITHUB_ACTIONS"] {
            command.env_remove(name);
        }
        command
    }

    /// Runs it; answers its exit status (128 and more: a signal) and all that it printed.
    pub fn run(&self, environment: &[(&str, &str)]) -> (i32, String) {
        let output = self.command().envs(environment.iter().copied()).output();
        let output = output.expect("the executable can be called");
        let text = [output.stderr, output.stdout].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        (output.status.code().unwrap_or(128), text)
    }

    /// Runs it to a failure that says `wanted`.
    pub fn fails_with(&self, environment: &[(&str, &str)], wanted: &str) -> String {
        let (status, text) = self.run(environment);
        assert_eq!(status, 101, "{}:\n{text}", self.test);
        assert!(
            text.contains(wanted),
            "{}: no {wanted:?} in\n{text}",
            self.test
        );
        text
    }

    /// The file of its recorded failures.
    pub fn record(&self) -> PathBuf {
        let folder = self.folder.join("tests/chaos-regressions/cases");
        folder.join(self.test).with_extension("toml")
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
