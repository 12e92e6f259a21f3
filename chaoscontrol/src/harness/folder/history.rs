//! A line of JSON for each round, so that a search can be watched and drawn.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::explore::RoundStats;

/// The file's name.
pub(super) const FILE: &str = "history.jsonl";

/// The file of an exploration.
#[derive(Debug)]
pub(super) struct History {
    path: PathBuf,
}

impl History {
    /// That of an exploration of which the first `rounds` rounds are kept: what it did after
    /// them is done again.
    pub fn open(folder: &Path, rounds: u64) -> io::Result<History> {
        let path = folder.join(FILE);
        let old = match rounds {
            0 => String::new(),
            _ => fs::read_to_string(&path).unwrap_or_default(),
        };
        let kept = old.split_inclusive('\n').filter(|line| {
            let stats = serde_json::from_str::<RoundStats>(line);
            line.ends_with('\n') && stats.is_ok_and(|stats| stats.round <= rounds)
        });
        fs::write(&path, kept.collect::<String>())?;
        Ok(History { path })
    }

    /// Adds a round.
    pub fn add(&self, stats: &RoundStats) -> io::Result<()> {
        let line = serde_json::to_string(stats).expect("numbers are JSON") + "\n";
        let mut file = OpenOptions::new().append(true).open(&self.path)?;
        file.write_all(line.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explore::Strategy;

    #[test]
    fn rounds_after_a_checkpoint_are_taken_back() {
        let folder = std::env::temp_dir().join(format!("chaos-history-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let stats = |round| RoundStats {
            round,
            of: 10,
            branches: 8 * round,
            instructions: 1000,
            edges: 7,
            corpus: 3,
            frontier: 2,
            bugs: 0,
            strategy: Strategy::Guided,
        };
        let history = History::open(&folder, 0).unwrap();
        for round in 1..=5 {
            history.add(&stats(round)).unwrap();
        }
        let text = || fs::read_to_string(folder.join(FILE)).unwrap();
        let whole = text();
        assert_eq!(whole.lines().count(), 5);
        assert!(whole.contains("\"strategy\":\"guided\""), "{whole}");
        // The fifth line was cut short, and the checkpoint is that of the third round.
        fs::write(folder.join(FILE), &whole[..whole.len() - 4]).unwrap();
        let history = History::open(&folder, 3).unwrap();
        for round in 4..=5 {
            history.add(&stats(round)).unwrap();
        }
        assert_eq!(text(), whole);
        History::open(&folder, 0).unwrap();
        assert_eq!(text(), "");
        fs::remove_dir_all(&folder).unwrap();
    }
}
