//! Keeps an exploration's folder up to date while it runs.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use super::checkpoint::{self, Identity};
use super::functions::{self, OwnCode};
use super::history::History;
use super::kept::{self, Kept, KeptBug};
use super::{Folder, assertions};
use crate::explore::{Bug, Outcome, RoundStats, Standing};
use crate::harness::search::Keep;
use crate::image::cache;

/// Of host time, at most this part goes into writing.
const SHARE: u32 = 20;

/// Keeps what an exploration shows. When the folder cannot be written it says so once, and the
/// exploration goes on.
pub struct Recorder {
    folder: Folder,
    identity: Identity,
    own: Option<OwnCode>,
    kept: Kept,
    /// Absent once it could not be written.
    history: Option<History>,
    began: Instant,
    /// Host time of earlier parts of the exploration.
    before_s: f64,
    /// Before this nothing is written but history.
    rest_until: Instant,
    /// What rounds showed since.
    bugs: usize,
}

impl Recorder {
    /// A recorder for an exploration that begins, or, with `resumed`, goes on from a checkpoint.
    /// What another has left is replaced when the first round is done.
    pub fn new(keep: Keep, resumed: Option<u64>) -> Recorder {
        let Keep {
            folder,
            identity,
            own,
            kept,
            ..
        } = keep;
        let before = resumed.and_then(|_| folder.kept().ok());
        let mut recorder = Recorder {
            before_s: before.as_ref().map_or(0.0, |kept| kept.elapsed_s),
            kept: Kept {
                bugs: before.map_or(Vec::new(), |kept| kept.bugs),
                ..kept
            },
            folder,
            identity,
            own,
            history: None,
            began: Instant::now(),
            rest_until: Instant::now(),
            bugs: 0,
        };
        let path = recorder.folder.path();
        let opened = fs::create_dir_all(path.join(BUGS))
            .and_then(|()| sweep(&recorder.folder))
            .and_then(|()| match resumed {
                None => clear(&recorder.folder),
                Some(_) => Ok(()),
            })
            .and_then(|()| History::open(path, resumed.unwrap_or(0)));
        match opened {
            Ok(history) => recorder.history = Some(history),
            Err(error) => recorder.give_up(&error),
        }
        recorder
    }

    fn give_up(&mut self, error: &io::Error) {
        self.history = None;
        eprintln!(
            "chaoscontrol: warning: {} cannot be written: {error}; the exploration goes on, and cannot be resumed if it is ended",
            self.folder.path().display()
        );
    }

    fn attempt(&mut self, write: impl FnOnce(&Recorder, &History) -> io::Result<()>) {
        let Some(history) = &self.history else {
            return;
        };
        if let Err(error) = write(self, history) {
            self.give_up(&error);
        }
    }

    /// A round is done.
    pub fn round(&mut self, stats: &RoundStats) {
        self.attempt(|_, history| history.add(stats));
    }

    /// The search could go on from here.
    pub fn complete(&mut self, standing: &Standing<'_>) {
        let is_last = standing.stats.round == standing.stats.of;
        let found = standing.bugs.len() > self.bugs;
        if Instant::now() < self.rest_until && !is_last && !found {
            return;
        }
        let began = Instant::now();
        self.bugs = standing.bugs.len();
        let elapsed_s = self.before_s + self.began.elapsed().as_secs_f64();
        self.kept.update(standing, elapsed_s);
        let state = (standing.encode)();
        self.attempt(|this, _| {
            let text = checkpoint::write(&this.identity, &state);
            this.folder.write(checkpoint::FILE, &text)?;
            this.write()
        });
        self.rest_until = Instant::now() + began.elapsed().min(Duration::from_secs(5)) * SHARE;
    }

    /// All but checkpoint and history.
    fn write(&self) -> io::Result<()> {
        self.folder.write(kept::FILE, &self.kept.json())?;
        self.folder.write(REPORT, &self.kept.render())?;
        let assertions = assertions::json(&self.kept.verdicts);
        self.folder.write(assertions::FILE, &assertions)?;
        for bug in self.kept.bugs.iter() {
            let name = file(&bug.id);
            if !self.folder.path().join(&name).is_file() {
                self.folder.write(&name, &bug.render())?;
            }
        }
        Ok(())
    }

    /// The exploration has ended.
    pub fn ended(&mut self, outcome: &Outcome, standing: &Standing<'_>) {
        let elapsed_s = self.before_s + self.began.elapsed().as_secs_f64();
        self.kept.update(standing, elapsed_s);
        self.kept.end(outcome.ended, outcome.state_hash);
        self.attempt(|this, _| this.write());
        self.attempt(|this, _| {
            let functions = this
                .own
                .as_ref()
                .map(OwnCode::functions)
                .unwrap_or_default();
            match functions.render(standing.coverage) {
                nothing if nothing.is_empty() => Ok(()),
                text => this.folder.write(functions::FILE, &text),
            }
        });
    }

    /// A bug was shrunk, and `report` tells of it.
    pub fn shrunk(&mut self, bug: &Bug, report: &str) {
        let new = KeptBug::new(bug, true);
        let name = file(&new.id);
        match self.kept.bugs.iter_mut().find(|known| known.id == new.id) {
            Some(known) => *known = new,
            None => self.kept.bugs.push(new),
        }
        self.attempt(|this, _| {
            this.folder.write(&name, &format!("{report}\n"))?;
            this.write()
        });
    }

    /// What is kept.
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Where.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }
}

const REPORT: &str = "report.txt";
const BUGS: &str = "bugs";

/// The file of a bug.
fn file(id: &str) -> String {
    format!("{BUGS}/{id}.txt")
}

/// Takes away what a process was writing when it was killed.
fn sweep(folder: &Folder) -> io::Result<()> {
    for folder in [folder.path().to_owned(), folder.path().join(BUGS)] {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if cache::is_part(&path) {
                fs::remove_file(path)?;
            }
        }
    }
    Ok(())
}

/// Takes away what an earlier exploration has left, that nobody takes it for this one's.
fn clear(folder: &Folder) -> io::Result<()> {
    let files = [
        checkpoint::FILE,
        kept::FILE,
        REPORT,
        assertions::FILE,
        functions::FILE,
    ];
    for name in files {
        match fs::remove_file(folder.path().join(name)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    for entry in fs::read_dir(folder.path().join(BUGS))? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "txt") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}
