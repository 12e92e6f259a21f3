//! How a failure is told.
//!
//! The order is that in which a reader needs it: what broke and where, the few faults it
//! takes, what happened around it, and at the very end the command that shows it again.

use std::fmt::Write;
use std::path::Path;

use super::entry::Package;
use super::regression::Saved;
use super::timeline;
use crate::cpu::Engine;
use crate::explore::Input;
use crate::explore::simulation::Entry;
use crate::fault::FaultSchedule;
use crate::oracle::{Failure, FailureKind};

/// All that a report tells.
#[derive(Debug)]
pub struct Report<'a> {
    /// What broke.
    pub failure: &'a Failure,
    /// Cluster time of schedule time 0, if setup was completed.
    pub start_ns: Option<u64>,
    /// How it was found, in words, and whatever else there is to say of the run.
    pub notes: Vec<String>,
    /// The faults it takes.
    pub schedule: &'a FaultSchedule,
    /// And the answers to calls for random values.
    pub inputs: &'a [Input],
    /// What happened.
    pub timeline: &'a [Entry],
    /// VMs of the cluster.
    pub vms: usize,
    /// What else there is to say, a line each.
    pub remarks: Vec<String>,
    /// A panic's backtrace, a frame a line.
    pub backtrace: Vec<String>,
    /// Hash of the state in which it ended, if a single branch failed.
    pub state: Option<u64>,
    /// Hash of the kernel.
    pub kernel: u128,
    /// Hash of what disks held when they were new.
    pub disk: Option<u128>,
    /// What executed the guests' code.
    pub engine: Engine,
    /// What became of the record, if one was made.
    pub saved: Option<&'a Saved>,
    /// The package's folder, against which paths are shown.
    pub package: &'a Path,
    /// The command that shows it again, if one does.
    pub replay: Option<String>,
}

impl Report<'_> {
    /// The report's text, without a final line break.
    pub fn render(&self) -> String {
        let mut text = self.failure.describe(self.start_ns);
        text.push('\n');
        for (i, frame) in self.backtrace.iter().enumerate() {
            let _ = writeln!(text, "    {i:>3}  {frame}");
        }
        for note in &self.notes {
            let _ = writeln!(text, "  {note}");
        }
        for fault in self.schedule.faults() {
            let _ = writeln!(text, "     {fault}");
        }
        for input in self.inputs {
            let _ = writeln!(text, "     {input}");
        }
        text += &timeline::render(self.failure, self.timeline, self.start_ns, self.vms);
        text += &timeline::consoles(self.failure, self.timeline, self.vms);
        for remark in &self.remarks {
            let _ = writeln!(text, "  {remark}");
        }
        if let Some(state) = self.state {
            let kernel = self.kernel;
            let engine = match self.engine {
                Engine::Soft => String::new(),
                other => format!("  engine {}", other.name()),
            };
            let disk = self.disk.map(|disk| format!("  new disk {disk:032x}"));
            let disk = disk.unwrap_or_default();
            let _ = writeln!(
                text,
                "  state {state:016x}  kernel {kernel:032x}{disk}{engine}"
            );
        }
        if let Some(saved) = self.saved {
            self.saved(&mut text, saved);
        }
        if let Some(replay) = &self.replay {
            let _ = writeln!(text, "  replay  {replay}");
        }
        text.truncate(text.trim_end().len());
        text
    }

    fn saved(&self, text: &mut String, saved: &Saved) {
        let shown = |path: &Path| {
            let path = path.strip_prefix(self.package).unwrap_or(path);
            path.display().to_string()
        };
        let _ = match saved {
            Saved::CheckIn(path) => writeln!(
                text,
                "  saved   {}   (check it in: it runs first next time)",
                shown(path)
            ),
            Saved::Scratch { path, why: None } => writeln!(text, "  saved   {}", shown(path)),
            Saved::Scratch {
                path,
                why: Some(why),
            } => writeln!(text, "  saved   {}   (since {why})", shown(path)),
            Saved::Lost {
                path,
                source,
                text: lost,
            } => writeln!(
                text,
                "  NOT saved: {} cannot be written: {source}; to keep the failure, write this there:\n{lost}",
                path.display()
            ),
        };
    }
}

/// The place in the source that a failure is about, `(file, line)`, if it has one.
fn place(failure: &Failure) -> Option<(&str, u32)> {
    match &failure.kind {
        FailureKind::Property { place, .. }
        | FailureKind::Agree { place, .. }
        | FailureKind::NeverMet {
            site: Some((_, place)),
            ..
        } => Some((&place.file, place.line)),
        FailureKind::Panic { location, .. } => {
            let (file_and_line, _column) = location.rsplit_once(':')?;
            let (file, line) = file_and_line.rsplit_once(':')?;
            Some((file, line.parse().ok()?))
        }
        _ => None,
    }
}

/// A workflow command of GitHub Actions that shows the failure at its place in the source;
/// `otherwise` is where the test stands.
pub fn annotation(
    name: &str,
    failure: &Failure,
    start_ns: Option<u64>,
    otherwise: (&str, u32),
) -> String {
    let (file, line) = place(failure).unwrap_or(otherwise);
    let data = |text: &str| {
        text.replace('%', "%25")
            .replace('\r', "%0D")
            .replace('\n', "%0A")
    };
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    format!(
        "::error file={},line={line},title={}::{}",
        property(file),
        property(&format!("chaos test {name}")),
        data(&failure.describe(start_ns))
    )
}

/// The command that runs a test again, or only its recorded failure `id`, in the words of
/// the runner in use.
pub fn replay_command(
    id: Option<&str>,
    package: &Package,
    name: &str,
    ignored: bool,
    nextest: bool,
) -> String {
    let Package {
        name: crate_name, ..
    } = package;
    let target = package.target_name();
    let id = id
        .map(|id| format!("CHAOS_REPLAY={id} "))
        .unwrap_or_default();
    if nextest {
        let ignored = if ignored { " --run-ignored all" } else { "" };
        format!("{id}cargo nextest run -p {crate_name} --test {target} -E 'test(={name})'{ignored}")
    } else {
        let ignored = if ignored { " --include-ignored" } else { "" };
        format!("{id}cargo test -p {crate_name} --test {target} -- --exact {name}{ignored}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explore::simulation::EntryKind;
    use crate::oracle::{Moment, Observed, Place};

    const START: u64 = 5_000_000_000;

    fn at(ms: u64, vm: usize) -> Moment {
        Moment {
            time_ns: START + ms * 1_000_000,
            vm,
        }
    }

    fn two_leaders() -> Failure {
        let seen = |value: &str, ms, vm| Observed {
            value: value.into(),
            at: at(ms, vm),
        };
        let kind = FailureKind::Agree {
            message: "one leader per term".into(),
            place: Place {
                file: "tests/chaos.rs".into(),
                line: 16,
                column: 9,
            },
            key: "(\"leader\", 7)".into(),
            first: seen("0", 3102, 0),
            second: seen("2", 3218, 2),
        };
        Failure {
            at: Some(at(3218, 2)),
            kind,
        }
    }

    fn package() -> Package {
        Package {
            manifest_dir: "/nowhere",
            name: "my-raft",
            target: "chaos",
        }
    }

    #[test]
    fn a_report_reads_as_designed() {
        let failure = two_leaders();
        let schedule: FaultSchedule = "+1.204 s partition {0} | {1, 2}\n+2.913 s skew vm 1 by 40 %"
            .parse()
            .unwrap();
        let entry = |at, kind, text: &str| Entry {
            at,
            kind,
            name: None,
            text: text.into(),
        };
        let timeline = [
            entry(
                at(1204, 3),
                EntryKind::Fault,
                "fault: partition {0} | {1, 2}",
            ),
            entry(at(3102, 0), EntryKind::Output, "elected"),
            entry(
                at(3218, 2),
                EntryKind::Assertion,
                "agree \"one leader per term\": (\"leader\", 7) is 2",
            ),
        ];
        let saved = Saved::CheckIn(
            "/src/my-raft/tests/chaos-regressions/chaos/one_leader_per_term.toml".into(),
        );
        let report = Report {
            failure: &failure,
            start_ns: Some(START),
            notes: vec![
                "found in round 17, branch 4; shrunk from 14 faults to 2 in 31 runs".into(),
            ],
            schedule: &schedule,
            inputs: &["vm 1's call 3, random_choice(5), answers 2"
                .parse()
                .unwrap()],
            timeline: &timeline,
            remarks: vec!["2 of 136 branches found it".into()],
            vms: 3,
            backtrace: Vec::new(),
            state: Some(0xABC),
            kernel: 0xDEF,
            disk: None,
            engine: Engine::Kvm,
            saved: Some(&saved),
            package: Path::new("/src/my-raft"),
            replay: Some(replay_command(
                Some("1a2b3c4d"),
                &package(),
                "one_leader_per_term",
                false,
                false,
            )),
        };
        assert_eq!(
            report.render(),
            r#"agree "one leader per term" broke at tests/chaos.rs:16: ("leader", 7) is 0 in vm 0 (+3.102 s), 2 in vm 2 (+3.218 s)
  found in round 17, branch 4; shrunk from 14 faults to 2 in 31 runs
     +1.204 s  partition {0} | {1, 2}
     +2.913 s  clock skew vm 1 by 40 %
     vm 1's call 3, random_choice(5), answers 2
  timeline
      +1.204 s  --     fault: partition {0} | {1, 2}
      +3.102 s  vm 0   | elected
      +3.218 s  vm 2   agree "one leader per term": ("leader", 7) is 2
  2 of 136 branches found it
  state 0000000000000abc  kernel 00000000000000000000000000000def  engine kvm
  saved   tests/chaos-regressions/chaos/one_leader_per_term.toml   (check it in: it runs first next time)
  replay  CHAOS_REPLAY=1a2b3c4d cargo test -p my-raft --test chaos -- --exact one_leader_per_term"#
        );
    }

    #[test]
    fn panics_show_their_frames_and_lost_records_themselves() {
        let failure = Failure::new(
            START,
            1,
            FailureKind::Panic {
                thread: "main".into(),
                message: "boom".into(),
                location: "src/lib.rs:7:3".into(),
                backtrace: String::new(),
            },
        );
        let saved = Saved::Lost {
            path: "/full/1.toml".into(),
            source: std::io::Error::other("no space left on device"),
            text: "version = 1\n".into(),
        };
        let report = Report {
            failure: &failure,
            start_ns: Some(START),
            notes: Vec::new(),
            schedule: &FaultSchedule::default(),
            inputs: &[],
            timeline: &[],
            remarks: Vec::new(),
            vms: 3,
            backtrace: vec!["raft::step at src/lib.rs:7".into()],
            state: None,
            kernel: 0,
            disk: None,
            engine: Engine::Soft,
            saved: Some(&saved),
            package: Path::new("/src"),
            replay: None,
        };
        assert_eq!(
            report.render(),
            "thread 'main' panicked at src/lib.rs:7:3 in vm 1 (+0.000 s): boom\n      \
             0  raft::step at src/lib.rs:7\n  \
             NOT saved: /full/1.toml cannot be written: no space left on device; \
             to keep the failure, write this there:\nversion = 1"
        );
    }

    #[test]
    fn annotations_stand_at_the_property() {
        let text = annotation("a::b", &two_leaders(), Some(START), ("tests/x.rs", 1));
        assert!(
            text.starts_with(
                "::error file=tests/chaos.rs,line=16,title=chaos test a%3A%3Ab::agree"
            ),
            "{text}"
        );
        let exit = Failure::new(0, 0, FailureKind::BodyError("a\n50%".into()));
        let text = annotation("t", &exit, None, ("tests/x.rs", 9));
        assert!(text.contains("file=tests/x.rs,line=9,"), "{text}");
        assert!(text.contains("a%0A    50%25"), "{text}");
    }

    #[test]
    fn the_replay_command_suits_the_runner() {
        assert_eq!(
            replay_command(Some("ab"), &package(), "m::t", true, false),
            "CHAOS_REPLAY=ab cargo test -p my-raft --test chaos -- --exact m::t --include-ignored"
        );
        assert_eq!(
            replay_command(Some("ab"), &package(), "m::t", true, true),
            "CHAOS_REPLAY=ab cargo nextest run -p my-raft --test chaos -E 'test(=m::t)' --run-ignored all"
        );
    }
}
