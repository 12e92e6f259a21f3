//! Finds the workspace's own test executables, by asking the cargo that runs the tests.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use chaoscontrol::harness::artifacts;

/// A target whose test executable is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The unit tests of the library crate of this name.
    Lib(&'static str),
    /// The test target (second) of the package in the folder of this name (first).
    Test(&'static str, &'static str),
}

/// Why there is no test executable.
#[derive(Debug, thiserror::Error)]
pub enum BuiltError {
    /// Cargo cannot be started.
    #[error("{command} cannot be started: {source}")]
    Start {
        /// The command line.
        command: String,
        /// What the host said.
        source: std::io::Error,
    },
    /// Cargo did not build it.
    #[error("{target:?} was not built: {command} failed; what it said stands above")]
    Failed {
        /// What was wanted.
        target: Target,
        /// The command line.
        command: String,
    },
    /// There is no such target.
    #[error("{target:?} is no test target of the workspace: {command} does not name it")]
    Missing {
        /// What was wanted.
        target: Target,
        /// The command line.
        command: String,
    },
}

/// The executable of `target` in the profile in which this one was built. It is up to date
/// in `cargo test --workspace`; otherwise cargo builds it now.
///
/// # Errors
/// See [`BuiltError`].
pub fn built(target: Target) -> Result<PathBuf, BuiltError> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Features depend on which packages are built together.
    cargo.args(["test", "--workspace", "--no-run"]);
    cargo.arg("--message-format=json-render-diagnostics");
    match target {
        Target::Lib(_) => cargo.arg("--lib"),
        Target::Test(_, name) => cargo.args(["--test", name]),
    };
    let here = env::current_exe().unwrap_or_default();
    let profile = here.parent().and_then(Path::parent);
    if let Some(folder) = profile.and_then(Path::parent) {
        cargo.arg("--target-dir").arg(folder);
    }
    match profile
        .and_then(Path::file_name)
        .and_then(|name| name.to_str())
    {
        None | Some("debug") => {}
        Some(name) => drop(cargo.args(["--profile", name])),
    }
    cargo
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit());
    let command = format!("{cargo:?}");
    let output = cargo.output().map_err(|source| BuiltError::Start {
        command: command.clone(),
        source,
    })?;
    if !output.status.success() {
        return Err(BuiltError::Failed { target, command });
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let is_wanted = |a: &artifacts::Artifact| match target {
        Target::Lib(name) => a.kind == "lib" && a.name == name,
        Target::Test(folder, name) => {
            a.kind == "test" && a.name == name && a.package.ends_with(folder)
        }
    };
    let found = artifacts::test_executables(&messages).find(is_wanted);
    let found = found.map(|artifact| artifact.executable);
    found.ok_or(BuiltError::Missing { target, command })
}
