//! What is kept of an exploration, and what several amount to together: `report.json`, from
//! which `report.txt` is told.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::super::count::count;
use super::super::summary;
use crate::explore::{Bug, Ended, Findability, RoundStats, Standing, Totals};
use crate::oracle::{FailureId, Verdicts};

/// The file's name.
pub(super) const FILE: &str = "report.json";

/// The version of its form.
const VERSION: u32 = 1;

/// Why a report is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It cannot be read.
    #[error("{path} cannot be read: {source}; `cargo chaos run` makes one")]
    Read {
        /// The file.
        path: String,
        /// What the host said.
        source: io::Error,
    },
    /// It is no report of this version.
    #[error(
        "{path} is no report of this chaoscontrol ({what}): read it with the one that wrote it, or make another with `cargo chaos run`"
    )]
    Contents {
        /// The file.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// There is nothing to read.
    #[error("no folder was named: name one of cargo's target/chaos, or a test")]
    Nothing,
    /// It is of another test than the one before.
    #[error(
        "{path} is of test {found}, and the folders before it are of {wanted}: merge those of one test"
    )]
    Other {
        /// The folder.
        path: String,
        /// Its test.
        found: String,
        /// The test of those before.
        wanted: String,
    },
}

/// A bug as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptBug {
    /// Its short name: that of its file in `bugs`.
    pub id: String,
    /// Which bug it is.
    pub bug: FailureId,
    /// What failed, in words.
    pub what: String,
    /// The round in which it was found, from 1.
    pub round: u64,
    /// The branch in it, from 0.
    pub branch: u64,
    /// Guest instructions executed until then.
    pub instructions: u64,
    /// The faults that show it, as few as are known.
    pub schedule: Vec<String>,
    /// Whether these have been shrunk.
    pub shrunk: bool,
}

impl KeptBug {
    /// A bug as it was found or shrunk.
    pub fn new(bug: &Bug, shrunk: bool) -> KeptBug {
        let id = bug.failure.id();
        KeptBug {
            id: name(&id),
            what: bug.failure.describe(bug.start_ns),
            round: bug.round,
            branch: bug.branch,
            instructions: bug.cost.instructions,
            schedule: bug
                .recipe
                .schedule
                .faults()
                .iter()
                .map(ToString::to_string)
                .collect(),
            bug: id,
            shrunk,
        }
    }

    /// A few lines.
    pub fn render(&self) -> String {
        let mut text = format!(
            "{}\n  {} found in round {}, branch {}, after {} guest instructions{}\n",
            self.what,
            self.id,
            self.round,
            self.branch,
            self.instructions,
            if self.shrunk { "" } else { ", not shrunk" },
        );
        for fault in &self.schedule {
            text += &format!("     {fault}\n");
        }
        text
    }
}

/// A short name of a bug, the same wherever it is found.
pub fn name(id: &FailureId) -> String {
    let text = format!("{}\n{}", id.kind, id.message);
    format!("{:08x}", xxh3_64(text.as_bytes()) as u32)
}

/// What is kept of an exploration, or of several of one test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// The version of the form.
    pub version: u32,
    /// The test: package, target and name.
    pub test: String,
    /// Its seed.
    pub seed: u64,
    /// The shards, as `2/8`; empty if it was not divided.
    pub shards: Vec<String>,
    /// What executed the guests' code.
    pub engine: String,
    /// Why it ended; `running` while it does, or if it was killed.
    pub ended: String,
    /// Branches a round.
    pub round_branches: u64,
    /// How far it came.
    pub stats: RoundStats,
    /// Sums.
    pub totals: Totals,
    /// Properties.
    pub verdicts: Verdicts,
    /// What it says about bugs that were not found.
    pub findability: Findability,
    /// The most that a branch's probability to fail can be, in 95 of 100 cases.
    pub fails_at_most: f64,
    /// Green rounds after which a fix of what was found is credible.
    pub green_rounds: Option<u64>,
    /// Hash of the search's state, in hexadecimal; of several, all of them.
    pub state_hash: String,
    /// Host time it took, in seconds.
    pub elapsed_s: f64,
    /// Different bugs, in order of discovery.
    pub bugs: Vec<KeptBug>,
    /// What only a complete exploration shows to have failed, in words.
    pub judged: Vec<String>,
}

/// The word for why an exploration ended.
pub fn ended(ended: Option<Ended>) -> String {
    let word = match ended {
        None => "running",
        Some(Ended::Complete) => COMPLETE,
        Some(Ended::Failed) => "failed",
        Some(Ended::Spent) => "spent",
        Some(Ended::Stopped) => "stopped",
    };
    word.to_owned()
}

const COMPLETE: &str = "complete";

impl Kept {
    /// That of `test` before its first round.
    pub fn new(test: String, seed: u64, engine: &str, round_branches: u64) -> Kept {
        Kept {
            version: VERSION,
            test,
            seed,
            shards: Vec::new(),
            engine: engine.to_owned(),
            ended: ended(None),
            round_branches,
            stats: RoundStats::default(),
            totals: Totals::default(),
            verdicts: Verdicts::default(),
            findability: Findability::default(),
            fails_at_most: 1.0,
            green_rounds: None,
            state_hash: String::new(),
            elapsed_s: 0.0,
            bugs: Vec::new(),
            judged: Vec::new(),
        }
    }

    /// Takes over where a search stands; what has been shrunk stays so.
    pub fn update(&mut self, standing: &Standing<'_>, elapsed_s: f64) {
        self.stats = standing.stats;
        self.totals = standing.totals.clone();
        self.verdicts = standing.verdicts.clone();
        self.findability = standing.findability;
        self.elapsed_s = elapsed_s;
        for bug in &standing.bugs {
            let new = KeptBug::new(bug, false);
            if self.bugs.iter().all(|known| known.id != new.id) {
                self.bugs.push(new);
            }
        }
        self.derive();
    }

    /// What follows from the rest.
    fn derive(&mut self) {
        self.fails_at_most = self.findability.at_most();
        self.green_rounds = self.findability.green_rounds_for_a_fix(self.round_branches);
        // A shard alone does not know what the others have met.
        let whole = self.ended == COMPLETE && self.shards.len() != 1;
        let judged = match whole {
            true => self.verdicts.judge(),
            false => Vec::new(),
        };
        self.judged = judged.iter().map(|f| f.describe(None)).collect();
    }

    /// Ends it, for `why`.
    pub fn end(&mut self, why: Ended, state_hash: u64) {
        self.ended = ended(Some(why));
        self.state_hash = format!("{state_hash:016x}");
        self.derive();
    }

    /// Whether it has something to fail for.
    pub fn has_failed(&self) -> bool {
        !self.bugs.is_empty() || !self.judged.is_empty()
    }

    /// The file's text.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("its maps have texts as keys") + "\n"
    }

    /// Its text, for programs or for people.
    pub fn told(&self, json: bool) -> String {
        match json {
            true => self.json(),
            false => self.render(),
        }
    }

    /// What the file `path` holds.
    ///
    /// # Errors
    /// It holds no report, or one of another version.
    pub fn read(path: &Path) -> Result<Kept, ReadError> {
        let name = || path.display().to_string();
        let text = fs::read_to_string(path).map_err(|source| ReadError::Read {
            path: name(),
            source,
        })?;
        let wrong = |what: String| ReadError::Contents { path: name(), what };
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let version: Version = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        if version.version != VERSION {
            return Err(wrong(format!("its version is {}", version.version)));
        }
        serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))
    }

    /// Adds another exploration of the same test, kept in `path`: bugs are united, verdicts and sums
    /// added.
    ///
    /// # Errors
    /// It is of another test.
    pub fn merge(&mut self, other: Kept, path: &Path) -> Result<(), ReadError> {
        if self.test != other.test {
            return Err(ReadError::Other {
                path: path.display().to_string(),
                found: other.test,
                wanted: self.test.clone(),
            });
        }
        self.shards.extend(other.shards);
        if other.ended != COMPLETE {
            self.ended = other.ended;
        }
        let (mine, theirs) = (&mut self.stats, &other.stats);
        mine.round += theirs.round;
        mine.of = mine.of.saturating_add(theirs.of);
        mine.branches += theirs.branches;
        mine.instructions = mine.instructions.saturating_add(theirs.instructions);
        // How many of the edges are the same is not known.
        mine.edges = mine.edges.max(theirs.edges);
        mine.corpus += theirs.corpus;
        mine.frontier += theirs.frontier;
        self.totals.merge(&other.totals);
        self.verdicts.merge(&other.verdicts);
        self.findability.branches += other.findability.branches;
        self.findability.failed += other.findability.failed;
        self.findability.singletons += other.findability.singletons;
        self.state_hash = format!("{} {}", self.state_hash, other.state_hash);
        self.elapsed_s += other.elapsed_s;
        for bug in other.bugs {
            match self.bugs.iter_mut().find(|known| known.id == bug.id) {
                None => self.bugs.push(bug),
                // The smaller one is easier to read.
                Some(known)
                    if bug.shrunk
                        && (!known.shrunk || bug.schedule.len() < known.schedule.len()) =>
                {
                    *known = bug;
                }
                Some(_) => {}
            }
        }
        self.stats.bugs = self.bugs.len();
        self.derive();
        Ok(())
    }

    /// The report for people.
    pub fn render(&self) -> String {
        let shards = match self.shards.len() {
            0 => String::new(),
            1 => format!(", shard {}", self.shards[0]),
            _ => format!(", shards {}", self.shards.join(", ")),
        };
        let mut text = format!(
            "{}: {} after {} of {}, {} in {:.1} s, {} guest instructions, {}, {}, seed {:#x}, engine {}{shards}\n",
            self.test,
            self.ended,
            self.stats.round,
            self.stats.of,
            count(self.stats.branches, "branch"),
            self.elapsed_s,
            self.stats.instructions,
            count(self.stats.edges, "edge"),
            self.stats.strategy,
            self.seed,
            self.engine,
        );
        summary::rows(&mut text, &self.totals, &self.verdicts);
        let line = summary::findability(&self.findability, self.round_branches);
        summary::row(&mut text, "findability", &line);
        if self.shards.len() == 1 {
            let line = "what no branch met is judged over all shards: cargo chaos report FOLDER...";
            summary::row(&mut text, "shard", line);
        }
        for failure in &self.judged {
            text += &format!("\n{failure}\n");
        }
        for bug in &self.bugs {
            text += &format!("\n{}", bug.render());
        }
        let bugs = count(self.bugs.len() as u64, "distinct bug");
        text + &format!("\n{bugs}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::{Failure, FailureKind, Place, PropertyOracle};
    use chaoscontrol_guest::protocol::{Message, PropertyKind};

    /// A shard of 10 branches in which `sometimes` came out so, with a bug that exits with `code`.
    fn shard(name: &str, met: bool, code: Option<i32>) -> Kept {
        let mut kept = Kept::new("p/t/leader".into(), 7, "soft", 8);
        kept.shards.push(name.into());
        kept.stats.branches = 10;
        kept.stats.round = 2;
        kept.stats.of = 2;
        kept.totals.branches = 10;
        kept.findability.branches = 10;
        kept.findability.failed = u64::from(code.is_some());
        let mut oracle = PropertyOracle::new();
        let moment = crate::oracle::Moment { time_ns: 1, vm: 0 };
        let message = Message::Assert {
            kind: PropertyKind::Sometimes,
            condition: met,
            line: 3,
            column: 1,
            file: "tests/chaos.rs",
            message: "commits",
            details: "",
        };
        oracle.message(moment, &message);
        let place = Place {
            file: "tests/chaos.rs".into(),
            line: 3,
            column: 1,
        };
        kept.verdicts
            .site(PropertyKind::Sometimes, "commits", place, true);
        kept.verdicts.add(&oracle);
        if let Some(code) = code {
            let bug = Bug {
                round: 1,
                branch: 2,
                cost: Default::default(),
                failure: Failure::new(5, 0, FailureKind::BodyExit(code)),
                recipe: Default::default(),
                applied: Vec::new(),
                start_ns: Some(0),
                state_hash: 1,
            };
            kept.bugs.push(KeptBug::new(&bug, false));
        }
        kept.end(Ended::Complete, 0xab);
        kept
    }

    #[test]
    fn shards_are_judged_together() {
        let (mut all, second) = (shard("1/3", false, Some(3)), shard("2/3", false, Some(3)));
        assert!(all.judged.is_empty(), "not by one alone");
        all.merge(second, Path::new("b")).unwrap();
        assert_eq!(all.judged.len(), 1);
        assert_eq!(all.bugs.len(), 1, "one cause is one bug");
        all.merge(shard("3/3", true, Some(4)), Path::new("c"))
            .unwrap();
        assert!(all.judged.is_empty(), "{:?}", all.judged);
        assert_eq!(
            (all.bugs.len(), all.stats.branches, all.totals.branches),
            (2, 30, 30)
        );
        assert_eq!((all.findability.branches, all.findability.failed), (30, 3));
        assert_eq!(all.green_rounds, Some(4), "29 branches at 1 of 10");
        let text = all.render();
        assert!(text.contains("shards 1/3, 2/3, 3/3"), "{text}");
        assert!(text.ends_with("\n2 distinct bugs\n"), "{text}");
        let mut other = shard("1/3", true, None);
        other.test = "p/t/other".into();
        let error = all.merge(other, Path::new("d")).unwrap_err().to_string();
        assert!(error.contains("d is of test p/t/other"), "{error}");
    }

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let kept = shard("1/3", false, Some(3));
        let path = std::env::temp_dir().join(format!("chaos-kept-{}.json", std::process::id()));
        fs::write(&path, kept.json()).unwrap();
        assert_eq!(Kept::read(&path).unwrap(), kept);
        fs::write(
            &path,
            kept.json().replacen("\"version\": 1", "\"version\": 9", 1),
        )
        .unwrap();
        let error = Kept::read(&path).unwrap_err().to_string();
        assert!(error.contains("its version is 9"), "{error}");
        fs::write(&path, &kept.json()[..100]).unwrap();
        assert!(Kept::read(&path).is_err());
        fs::remove_file(&path).unwrap();
        assert!(
            Kept::read(&path)
                .unwrap_err()
                .to_string()
                .contains("cargo chaos run")
        );
    }
}
