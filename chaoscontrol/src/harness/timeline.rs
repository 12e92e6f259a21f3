//! The part of a branch's timeline that a report shows: the lines before the failure, of
//! all VMs in one order, and what their kernels said last.

use std::fmt::Write;

use super::count::count;
use crate::explore::simulation::{Entry, EntryKind};
use crate::oracle::{Failure, FailureKind};

/// Lines shown in full before the failure.
const LINES: usize = 40;
/// Faults shown of the time before those.
const EARLIER_FAULTS: usize = 20;
/// Console lines shown of a VM.
const TAIL: usize = 10;
/// Characters shown of a line.
const WIDTH: usize = 160;

/// The timeline of a failed branch with `vms` VMs, schedule time 0 at `start`.
pub fn render(failure: &Failure, timeline: &[Entry], start: Option<u64>, vms: usize) -> String {
    let relevant: Vec<&Entry> = timeline.iter().filter(|e| relevant(e, failure)).collect();
    if relevant.is_empty() {
        return String::new();
    }
    let from = relevant.len().saturating_sub(LINES);
    let (earlier, last) = relevant.split_at(from);
    let faults: Vec<&&Entry> = earlier
        .iter()
        .filter(|e| e.kind == EntryKind::Fault)
        .collect();
    let shown = &faults[faults.len().saturating_sub(EARLIER_FAULTS)..];
    let mut text = String::from("  timeline\n");
    for entry in shown {
        line(&mut text, entry, start, vms);
    }
    if earlier.len() > shown.len() {
        let _ = writeln!(
            text,
            "     ... {} left out",
            count((earlier.len() - shown.len()) as u64, "line")
        );
    }
    for entry in last {
        line(&mut text, entry, start, vms);
    }
    text
}

/// The last console lines of the VMs whose kernels may know more.
pub fn consoles(failure: &Failure, timeline: &[Entry], vms: usize) -> String {
    let concerned: Vec<usize> = match &failure.kind {
        FailureKind::Kernel(_) | FailureKind::Shutdown(_) | FailureKind::Agent(_) => {
            failure.at.iter().map(|at| at.vm).collect()
        }
        FailureKind::BodySignal(_) | FailureKind::ProgramSignal { .. } => {
            failure.at.iter().map(|at| at.vm).collect()
        }
        FailureKind::SetupIncomplete { vms, .. } | FailureKind::Unfinished { vms } => vms.clone(),
        FailureKind::Stall { .. } => (0..vms).collect(),
        _ => Vec::new(),
    };
    let mut text = String::new();
    for vm in concerned {
        let lines: Vec<&str> = timeline
            .iter()
            .filter(|e| e.kind == EntryKind::Console && e.at.vm == vm)
            .map(|e| e.text.as_str())
            .collect();
        if !lines.is_empty() {
            let _ = writeln!(text, "  console of vm {vm}, its last lines");
        }
        for line in &lines[lines.len().saturating_sub(TAIL)..] {
            let _ = writeln!(text, "     {}", cut(line));
        }
    }
    text
}

/// Assertions that hold are left out, unless they are what the failure is about.
fn relevant(entry: &Entry, failure: &Failure) -> bool {
    entry.kind != EntryKind::Assertion
        || entry.text.contains(" FAILED")
        || matches!(&failure.kind, FailureKind::Agree { message, key, .. }
            if entry.text.starts_with(&format!("agree \"{message}\": {key} is ")))
}

fn line(text: &mut String, entry: &Entry, start: Option<u64>, vms: usize) {
    let who = if entry.at.vm < vms {
        format!("vm {}", entry.at.vm)
    } else {
        "--".to_owned()
    };
    let mark = match entry.kind {
        EntryKind::Output => "| ",
        EntryKind::Console => "kernel: ",
        EntryKind::Fault | EntryKind::Event | EntryKind::Assertion => "",
    };
    let when = stamp(entry.at.time_ns, start);
    let what = cut(entry.text.trim_end());
    let _ = writeln!(text, "  {when:>12}  {who:<5}  {mark}{what}");
}

/// A time relative to schedule time 0, to the millisecond.
fn stamp(time: u64, start: Option<u64>) -> String {
    let (sign, ns) = match start {
        None => ("", time),
        Some(start) if time >= start => ("+", time - start),
        Some(start) => ("-", start - time),
    };
    let ms = ns / 1_000_000;
    format!("{sign}{}.{:03} s", ms / 1000, ms % 1000)
}

/// `line` without what a terminal could take for orders, and not too long.
fn cut(line: &str) -> String {
    let mut text: String = line
        .chars()
        .take(WIDTH)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if line.chars().nth(WIDTH).is_some() {
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::Moment;

    fn entry(ms: u64, vm: usize, kind: EntryKind, text: &str) -> Entry {
        Entry {
            at: Moment {
                time_ns: ms * 1_000_000,
                vm,
            },
            kind,
            name: None,
            text: text.to_owned(),
        }
    }

    fn stall() -> Failure {
        Failure::new(0, 3, FailureKind::Stall { stall_ns: 1 })
    }

    #[test]
    fn old_lines_give_way_and_faults_stay() {
        let mut all = vec![entry(1100, 3, EntryKind::Fault, "fault: kill vm 1")];
        all.extend((0..50).map(|i| entry(1200 + i, 0, EntryKind::Output, "tick")));
        all.push(entry(
            1300,
            0,
            EntryKind::Assertion,
            "sometimes \"x\" holds",
        ));
        let text = render(&stall(), &all, Some(1_000_000_000), 3);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 1 + 1 + 1 + LINES);
        assert_eq!(lines[1], "      +0.100 s  --     fault: kill vm 1");
        assert_eq!(lines[2], "     ... 10 lines left out");
        assert_eq!(lines[3], "      +0.210 s  vm 0   | tick");
    }

    #[test]
    fn consoles_are_shown_where_they_may_help() {
        let lines = [
            entry(1, 0, EntryKind::Console, "Kernel\u{1b}[31m panic"),
            entry(2, 1, EntryKind::Output, "no console"),
        ];
        let text = consoles(&stall(), &lines, 2);
        assert_eq!(
            text,
            "  console of vm 0, its last lines\n     Kernel [31m panic\n"
        );
        let exit = Failure::new(0, 0, FailureKind::BodyExit(1));
        assert_eq!(consoles(&exit, &lines, 2), "");
    }
}
