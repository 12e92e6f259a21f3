//! What a long test shows while it runs: one line that changes on a terminal, a plain line
//! now and then elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use super::count::count;
use crate::explore::{Bug, Progress, RoundStats, ShrinkLimits};

/// The least time between two lines.
const TERMINAL: Duration = Duration::from_millis(100);
const PLAIN: Duration = Duration::from_secs(10);

/// Wipes a terminal's line.
const WIPE: &str = "\r\x1b[2K";

/// Shows an exploration's progress on standard error.
pub struct Meter {
    name: String,
    terminal: bool,
    began: Instant,
    shown: Instant,
    /// Whether the terminal's line has to be wiped.
    dirty: bool,
}

impl Meter {
    /// A meter for the test `name`.
    pub fn new(name: String) -> Meter {
        let now = Instant::now();
        Meter {
            name,
            terminal: io::stderr().is_terminal(),
            began: now,
            shown: now,
            dirty: false,
        }
    }

    /// Tells of a bug that is going to be shrunk, which can take long.
    pub fn found(&mut self, bug: &Bug) {
        let what = bug.failure.describe(bug.start_ns);
        let what = what.lines().next().unwrap_or_default();
        let (round, branch) = (bug.round, bug.branch);
        let wipe = if self.dirty { WIPE } else { "" };
        self.dirty = false;
        let _ = writeln!(
            io::stderr(),
            "{wipe}{}: failed in round {round}, branch {branch}, shrinking: {what}",
            self.name
        );
    }

    fn show(&mut self, line: impl FnOnce(&str, Duration) -> String) {
        let pause = if self.terminal { TERMINAL } else { PLAIN };
        if self.shown.elapsed() < pause {
            return;
        }
        self.shown = Instant::now();
        let line = line(&self.name, self.began.elapsed());
        // Nobody is harmed if standard error is closed.
        let mut stderr = io::stderr().lock();
        let _ = if self.terminal {
            self.dirty = true;
            write!(stderr, "{WIPE}{line}")
        } else {
            writeln!(stderr, "{line}")
        };
        let _ = stderr.flush();
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if self.dirty {
            let _ = write!(io::stderr(), "{WIPE}");
        }
    }
}

impl Progress for Meter {
    fn round(&mut self, stats: &RoundStats) {
        self.show(|name, elapsed| exploring(name, stats, elapsed));
    }

    fn shrinking(&mut self, runs: u64, limits: &ShrinkLimits, faults: usize) {
        self.show(|name, _| {
            format!(
                "{name}: shrinking, {} left after {runs} of at most {}",
                count(faults as u64, "fault"),
                count(limits.runs, "run")
            )
        });
    }
}

fn exploring(name: &str, stats: &RoundStats, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    let rate = stats.branches as f64 / seconds.max(1e-3);
    // A search that something else bounds has no number of rounds.
    let (of, left) = match stats.of {
        u64::MAX => (String::new(), String::new()),
        of => {
            let each = seconds / stats.round.max(1) as f64;
            let left = duration(each * of.saturating_sub(stats.round) as f64);
            (format!(" of {of}"), format!(", {left} left"))
        }
    };
    format!(
        "{name}: round {}{of}, {rate:.1} branches/s, {}, corpus {}, bugs {}{left}",
        stats.round,
        count(stats.edges, "edge"),
        stats.corpus,
        stats.bugs,
    )
}

/// A time for people: `7 s`, `3 min`, `2.5 h`.
fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 100.0 => format!("{s:.0} s"),
        s if s < 6000.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explore::Strategy;

    #[test]
    fn the_line_tells_how_far_and_how_fast() {
        let stats = RoundStats {
            round: 25,
            strategy: Strategy::Guided,
            instructions: 0,
            of: 100,
            branches: 200,
            edges: 1234,
            corpus: 17,
            frontier: 3,
            bugs: 0,
        };
        assert_eq!(
            exploring("leader", &stats, Duration::from_secs(50)),
            "leader: round 25 of 100, 4.0 branches/s, 1234 edges, corpus 17, bugs 0, 2 min left"
        );
        let unbounded = RoundStats {
            of: u64::MAX,
            ..stats
        };
        assert_eq!(
            exploring("leader", &unbounded, Duration::from_secs(50)),
            "leader: round 25, 4.0 branches/s, 1234 edges, corpus 17, bugs 0"
        );
    }

    #[test]
    fn times_are_short() {
        assert_eq!(duration(0.4), "0 s");
        assert_eq!(duration(150.0), "2 min");
        assert_eq!(duration(9000.0), "2.5 h");
    }
}
