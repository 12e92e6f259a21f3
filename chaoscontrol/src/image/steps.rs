//! The steps by which an expensive artefact is made: commands whose output goes into one
//! log, so that a step that fails can be named and looked at.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Lines of the log that an error shows.
const TAIL: usize = 12;

/// Hears one line about what is going on; called from the caller's thread.
pub type Say<'a> = &'a dyn Fn(&str);

/// A step that failed.
#[derive(Debug, thiserror::Error)]
#[error("{step} failed: {why}")]
pub struct Stop {
    /// What was being done.
    pub step: String,
    /// What went wrong.
    pub why: String,
    /// Whether it was for want of room.
    pub full: bool,
}

impl Stop {
    /// `step` failed since `why`.
    pub fn new(step: &str, why: impl ToString) -> Stop {
        Stop {
            step: step.to_owned(),
            why: why.to_string(),
            full: false,
        }
    }

    /// A step that was not begun, as there is too little room for it.
    pub fn no_room(step: &str, why: impl ToString) -> Stop {
        Stop {
            full: true,
            ..Stop::new(step, why)
        }
    }
}

/// Runs steps, each into one log.
pub struct Steps<'a> {
    log: PathBuf,
    say: Say<'a>,
    /// The step that was told last.
    told: RefCell<String>,
}

impl<'a> Steps<'a> {
    /// Steps whose log is the file `log`, begun anew.
    pub fn new(log: PathBuf, say: Say<'a>) -> Steps<'a> {
        let _ = fs::remove_file(&log);
        Steps {
            log,
            say,
            told: RefCell::default(),
        }
    }

    /// The log file.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Tells the user one line.
    pub fn say(&self, line: &str) {
        (self.say)(line);
    }

    /// Runs `command` to its end. A step of several commands is told once.
    ///
    /// # Errors
    /// It cannot be started, fails, or its output cannot be logged.
    pub fn run(&self, step: &str, command: &mut Command) -> Result<(), Stop> {
        self.watch(step, command, |_| {})
    }

    /// The same, showing each line of standard output to `line`.
    ///
    /// # Errors
    /// As [`Steps::run`].
    pub fn watch(
        &self,
        step: &str,
        command: &mut Command,
        mut line: impl FnMut(&str),
    ) -> Result<(), Stop> {
        if self.told.replace(step.to_owned()) != step {
            self.say(step);
        }
        let failed = |e: io::Error| Stop::new(step, e);
        let mut log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .map_err(failed)?;
        writeln!(log, "\n== {step}: {command:?}").map_err(failed)?;
        let errors = log.try_clone().map_err(failed)?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .map_err(|e| {
                Stop::new(
                    step,
                    format!("{} cannot be started: {e}", command.get_program().display()),
                )
            })?;
        let output = child.stdout.take().expect("standard output is piped");
        let mut kept = Ok(());
        for text in BufReader::new(output).lines().map_while(Result::ok) {
            kept = kept.and(writeln!(log, "{text}"));
            line(&text);
        }
        let status = child.wait().map_err(failed)?;
        kept.map_err(failed)?;
        if status.success() {
            Ok(())
        } else {
            Err(Stop::new(step, status))
        }
    }
}

/// The last lines of the file `log`, each behind a bar; empty if it cannot be read.
pub fn tail(log: &Path) -> String {
    let text = fs::read(log)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..]
        .iter()
        .map(|line| format!("  | {line}\n"))
        .collect()
}
