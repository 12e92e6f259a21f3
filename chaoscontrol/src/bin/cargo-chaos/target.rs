//! The test target that a verb concerns: found, built, and called.

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use chaoscontrol::harness::artifacts;

/// A verb's command line, taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Target {
    package: Option<String>,
    test: Option<String>,
    release: bool,
    rest: Vec<String>,
}

/// The example that most verbs mean in this project's own workspace.
pub const EXAMPLE: &str = "lock-service";

impl Target {
    /// Takes `-p`, `--test` and `--release` out of `arguments`; the rest is the verb's.
    pub fn parse(arguments: &[String]) -> Result<Target, String> {
        let mut target = Target::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .cloned()
                    .ok_or_else(|| format!("{argument} wants a value"))
            };
            match argument.as_str() {
                "-p" | "--package" => target.package = Some(value()?),
                "--test" => target.test = Some(value()?),
                "--release" => target.release = true,
                _ => target.rest.push(argument.clone()),
            }
        }
        Ok(target)
    }

    /// Builds the test target and runs it with the verb in its environment. Where no package is
    /// named, this project's own workspace means its `example`.
    pub fn run(mut self, verb: &str, example: &str) -> Result<ExitCode, String> {
        if self.package.is_none() && Path::new("examples").join(example).is_dir() {
            self.package = Some(example.to_owned());
        }
        let (executable, folder, package) = self.build()?;
        let mut command = Command::new(&executable);
        command
            .args(&self.rest)
            .current_dir(&folder)
            .env("CARGO_MANIFEST_DIR", &folder)
            .env("CARGO_PKG_NAME", package)
            .env("CHAOS_VERB", verb);
        turn_into(&mut command)
            .map_err(|e| format!("{} cannot be started: {e}", executable.display()))
    }

    /// The test executable, its package's folder and its package's name.
    fn build(&self) -> Result<(PathBuf, PathBuf, String), String> {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let test = self.test.as_deref().unwrap_or("chaos");
        let mut command = Command::new(cargo);
        command.args([
            "test",
            "--no-run",
            "--message-format=json-render-diagnostics",
            "--test",
            test,
        ]);
        if let Some(package) = &self.package {
            command.args(["-p", package]);
        }
        if self.release {
            command.arg("--release");
        }
        let output = command
            .stderr(Stdio::inherit())
            .output()
            .map_err(|e| format!("cargo cannot be started: {e}"))?;
        if !output.status.success() {
            return Err(format!(
                "test target `{test}` was not built; name another one with -p and --test"
            ));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let artifact = artifacts::test_executables(&text).find(|a| a.kind == "test");
        let artifact = artifact
            .ok_or_else(|| format!("cargo named no executable for test target `{test}`"))?;
        let folder = artifact.package;
        let name = self.package.clone();
        let name = name.or_else(|| Some(folder.file_name()?.to_string_lossy().into_owned()));
        Ok((artifact.executable, folder, name.unwrap_or_default()))
    }
}

/// Runs `command` in this process's place, so that a signal to the one reaches the other.
#[cfg(unix)]
fn turn_into(command: &mut Command) -> io::Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    Err(command.exec())
}

/// Runs `command`, and ends as it does.
#[cfg(not(unix))]
fn turn_into(command: &mut Command) -> io::Result<ExitCode> {
    let code = command.status()?.code();
    let code = code.and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_flags_are_taken_and_the_rest_is_kept() {
        let words = ["-p", "raft", "--runs", "5", "one_leader"].map(str::to_owned);
        let target = Target::parse(&words).unwrap();
        assert_eq!(target.package.as_deref(), Some("raft"));
        assert_eq!(target.rest, ["--runs", "5", "one_leader"]);
        assert!(Target::parse(&["--test".to_owned()]).is_err());
    }

    /// Starts itself once more, to be replaced there by a shell that tells its number.
    #[cfg(unix)]
    #[test]
    fn what_is_turned_into_is_the_same_process() {
        const REPLACED: &str = "CHAOS_TEST_REPLACED";
        if env::var_os(REPLACED).is_some() {
            turn_into(Command::new("sh").args(["-c", "echo number $$"])).unwrap();
        }
        let this = "target::tests::what_is_turned_into_is_the_same_process";
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", this, "--nocapture"])
            .env(REPLACED, "1")
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let number = format!("number {}\n", child.id());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains(&number), "{number} {said}");
    }
}
