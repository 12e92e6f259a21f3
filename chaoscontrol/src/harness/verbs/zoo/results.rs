//! Results that are kept, so that a table of hours can be stopped and gone on with.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::super::super::entry::Package;
use super::run::Run;
use crate::explore::Cost;

/// In place of faults: it was not found.
const MISSED: &str = "-";
/// In place of faults: it was found, and not shrunk.
const FOUND: &str = "+";

/// Results by the key of their run, in a file of cargo's target folder: a line each, the key, then
/// branches, instructions, and faults, `+` if they were not asked for, or `-` if it was not found.
pub struct Results {
    path: PathBuf,
    file: File,
    known: BTreeMap<String, Run>,
}

impl Results {
    /// Those of `package`'s target.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn open(package: &Package) -> Result<Results, String> {
        let folder = package.scratch().join(package.target);
        let path = folder.join("zoo.txt");
        fs::create_dir_all(&folder).map_err(unwritable(&path))?;
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.map_err(unwritable(&path))?;
        let text = fs::read_to_string(&path).map_err(unwritable(&path))?;
        // A line that was cut short was not finished: its run is done again.
        let known = text.split_inclusive('\n').filter_map(read).collect();
        Ok(Results { path, file, known })
    }

    /// What is known of the run `key`.
    pub fn get(&self, key: &str) -> Option<Run> {
        self.known.get(key).cloned()
    }

    /// Keeps the schedule that shows the bug of `run`, in a file of its own; where that is.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn put_schedule(&self, run: &Run, schedule: &str) -> Result<PathBuf, String> {
        let folder = self.path.with_extension("");
        let name = format!("{}-{}-{}.txt", run.bug, run.strategy, run.seed);
        let path = folder.join(name);
        let written = fs::create_dir_all(&folder).and_then(|()| fs::write(&path, schedule));
        written.map_err(unwritable(&path))?;
        Ok(path)
    }

    /// Keeps what came of the run `key`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn put(&mut self, key: &str, run: &Run) -> Result<(), String> {
        let written = self.file.write_all(line(key, run).as_bytes());
        written.map_err(unwritable(&self.path))?;
        self.known.insert(key.to_owned(), run.clone());
        Ok(())
    }
}

fn unwritable(path: &Path) -> impl Fn(io::Error) -> String {
    move |e| format!("{} cannot be written: {e}", path.display())
}

fn line(key: &str, run: &Run) -> String {
    let Cost {
        branches,
        instructions,
    } = run.cost;
    let faults = match (run.found, run.faults) {
        (_, Some(number)) => number.to_string(),
        (true, None) => FOUND.to_owned(),
        (false, None) => MISSED.to_owned(),
    };
    format!("{key} {branches} {instructions} {faults}\n")
}

fn read(line: &str) -> Option<(String, Run)> {
    let words: Vec<&str> = line.strip_suffix('\n')?.split(' ').collect();
    let [
        code,
        bug,
        strategy,
        seed,
        budget,
        branches,
        instructions,
        faults,
    ] = words[..]
    else {
        return None;
    };
    let run = Run {
        bug: bug.to_owned(),
        strategy: strategy.parse().ok()?,
        seed: seed.parse().ok()?,
        found: faults != MISSED,
        faults: match faults {
            MISSED | FOUND => None,
            number => Some(number.parse().ok()?),
        },
        cost: Cost {
            branches: branches.parse().ok()?,
            instructions: instructions.parse().ok()?,
        },
    };
    Some(([code, bug, strategy, seed, budget].join(" "), run))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explore::Strategy;

    #[test]
    fn results_are_read_as_they_were_kept() {
        for (found, faults) in [(false, None), (true, None), (true, Some(2))] {
            let run = Run {
                bug: "fig8_commit".to_owned(),
                strategy: Strategy::Snapshots,
                seed: 7,
                found,
                faults,
                cost: Cost {
                    branches: 41,
                    instructions: 5_000_000_000,
                },
            };
            let key = "00ff fig8_commit snapshots 7 5000000000";
            let line = line(key, &run);
            assert_eq!(read(&line), Some((key.to_owned(), run)));
            assert_eq!(read(line.trim_end()), None, "cut short");
        }
    }
}
