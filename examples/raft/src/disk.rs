//! Storage in a directory: the files `log`, `votes` and `snapshot`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use chaoscontrol_guest::{assert_always_or_unreachable, assert_reachable};

use crate::entry::Entry;
use crate::journal;
use crate::log::Log;
use crate::storage::{HardState, Recovered, Snapshot, Storage};
use crate::votes::{Ballot, PLACE};
use crate::{Bug, Config};

/// Storage in a directory.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
    log: File,
    votes: File,
    ballot: Ballot,
    sync_log: bool,
    sync_votes: bool,
}

impl Disk {
    /// Opens the storage of a server, and reads what it has kept. A log whose end is torn
    /// ends before that.
    ///
    /// # Errors
    /// The directory cannot be read or written; a snapshot is damaged, which no power cut does.
    pub fn open(config: &Config) -> io::Result<(Disk, Recovered)> {
        let folder = config.data_dir.clone();
        let votes_path = folder.join("votes");
        if !votes_path.exists() {
            replace(&folder, "votes", &vec![0; 2 * PLACE])?;
        }
        let ballot = Ballot::read(&fs::read(&votes_path)?);
        let snapshot = read_snapshot(&folder)?;
        let log = read_log(&folder, &snapshot)?;
        let disk = Disk {
            log: OpenOptions::new().append(true).open(folder.join("log"))?,
            votes: OpenOptions::new().write(true).open(votes_path)?,
            folder,
            ballot,
            sync_log: !config.has(Bug::LogNotSynced),
            sync_votes: !config.has(Bug::VoteNotSynced),
        };
        let recovered = Recovered {
            hard: ballot.hard,
            snapshot,
            log,
        };
        Ok((disk, recovered))
    }
}

impl Storage for Disk {
    fn save_hard(&mut self, hard: HardState) -> io::Result<()> {
        assert_always_or_unreachable!(
            hard.term >= self.ballot.hard.term,
            "a stored term never falls",
            stored = self.ballot.hard.term,
            term = hard.term
        );
        let ballot = self.ballot.next(hard);
        self.votes.write_all_at(&ballot.written(), ballot.place())?;
        if self.sync_votes {
            self.votes.sync_data()?;
        }
        self.ballot = ballot;
        Ok(())
    }

    fn append(&mut self, entries: &[Entry]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for entry in entries {
            journal::record(entry, &mut bytes);
        }
        self.log.write_all(&bytes)?;
        if self.sync_log {
            self.log.sync_data()?;
        }
        Ok(())
    }

    fn save_snapshot(&mut self, snapshot: &Snapshot, rest: &[Entry]) -> io::Result<()> {
        let mut bytes = Vec::new();
        journal::record(snapshot, &mut bytes);
        // A cut between the two leaves a log that begins before the snapshot ends.
        replace(&self.folder, "snapshot", &bytes)?;
        replace(&self.folder, "log", &journal::written(snapshot.last, rest))?;
        self.log = OpenOptions::new()
            .append(true)
            .open(self.folder.join("log"))?;
        Ok(())
    }
}

/// Puts a file with these bytes in the place of one with this name, or leaves that one.
fn replace(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let new = folder.join(format!("{name}.new"));
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(new, folder.join(name))?;
    File::open(folder)?.sync_all()
}

fn read_snapshot(folder: &Path) -> io::Result<Snapshot> {
    match fs::read(folder.join("snapshot")) {
        Ok(bytes) => journal::next(&mut bytes.as_slice())
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the snapshot is damaged")),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Snapshot::default()),
        Err(e) => Err(e),
    }
}

/// The log behind `snapshot`. The file is made, or made anew, where it is not that.
fn read_log(folder: &Path, snapshot: &Snapshot) -> io::Result<Log> {
    let bytes = match fs::read(folder.join("log")) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
        bytes => bytes?,
    };
    let journal = journal::read(&bytes);
    let whole = journal
        .as_ref()
        .is_some_and(|journal| journal.whole == bytes.len() && journal.log.base() == snapshot.last);
    let mut log = journal.map_or_else(Log::default, |journal| journal.log);
    log.replace(snapshot.last);
    if !whole {
        if !bytes.is_empty() {
            assert_reachable!("a log is repaired after a power cut");
        }
        let entries = log.from(log.base().index + 1);
        replace(folder, "log", &journal::written(log.base(), entries))?;
    }
    Ok(log)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Position;
    use crate::log::tests::entry;

    /// A folder that goes with the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let folder = std::env::temp_dir().join(format!("raft-{}-{name}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            Folder(folder)
        }

        fn open(&self) -> (Disk, Recovered) {
            Disk::open(&Config::new(0, Vec::new(), &self.0)).unwrap()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_was_stored_is_there_when_it_is_opened_again() {
        let folder = Folder::new("stored");
        let (mut disk, recovered) = folder.open();
        assert_eq!(recovered, Recovered::default());
        let hard = HardState {
            term: 3,
            vote: Some(1),
        };
        disk.save_hard(hard).unwrap();
        disk.append(&[entry(1, 1), entry(1, 2), entry(3, 2)])
            .unwrap();
        let (mut disk, recovered) = folder.open();
        assert_eq!(recovered.hard, hard);
        assert_eq!(recovered.log.from(1), [entry(1, 1), entry(3, 2)]);
        let snapshot = Snapshot {
            last: Position { term: 1, index: 1 },
            machine: vec![7],
        };
        disk.save_snapshot(&snapshot, &[entry(3, 2)]).unwrap();
        disk.append(&[entry(3, 3)]).unwrap();
        let (_, recovered) = folder.open();
        assert_eq!(recovered.snapshot, snapshot);
        assert_eq!(recovered.log.from(2), [entry(3, 2), entry(3, 3)]);
    }

    #[test]
    fn a_cut_between_snapshot_and_log_loses_nothing() {
        let folder = Folder::new("between");
        let (mut disk, _) = folder.open();
        disk.append(&[entry(1, 1), entry(1, 2), entry(1, 3)])
            .unwrap();
        for (term, rest) in [(1, 1), (2, 0)] {
            let snapshot = Snapshot {
                last: Position { term, index: 2 },
                machine: Vec::new(),
            };
            let mut bytes = Vec::new();
            journal::record(&snapshot, &mut bytes);
            replace(&folder.0, "snapshot", &bytes).unwrap();
            let (_, recovered) = folder.open();
            assert_eq!(recovered.log.base(), snapshot.last);
            assert_eq!(recovered.log.len(), rest, "snapshot of term {term}");
        }
    }

    #[test]
    fn a_torn_log_goes_on_where_it_was_whole() {
        let folder = Folder::new("torn");
        let (mut disk, _) = folder.open();
        disk.append(&[entry(1, 1), entry(1, 2)]).unwrap();
        let path = folder.0.join("log");
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
        let (mut disk, recovered) = folder.open();
        assert_eq!(recovered.log.len(), 1);
        disk.append(&[entry(2, 2)]).unwrap();
        assert_eq!(folder.open().1.log.from(1), [entry(1, 1), entry(2, 2)]);
    }
}
