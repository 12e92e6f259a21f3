//! Failures in words, as the first lines of a report tell them.

use super::failure::{Failure, FailureKind, Moment, Place};
use crate::fault::format_time;

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A cluster time relative to `start` (schedule time 0), to the millisecond, as reports show it.
pub fn since(time_ns: u64, start: Option<u64>) -> String {
    let show = |ns: u64| format_time(ns - ns % 1_000_000);
    match start {
        Some(start) if time_ns >= start => show(time_ns - start),
        Some(start) => show(start - time_ns).replacen('+', "-", 1),
        None => format!("{} after boot", show(time_ns).trim_start_matches('+')),
    }
}

fn list(vms: &[usize]) -> String {
    let names: Vec<_> = vms.iter().map(ToString::to_string).collect();
    format!(
        "vm{} {}",
        if vms.len() == 1 { "" } else { "s" },
        names.join(", ")
    )
}

fn seconds(ns: u64) -> String {
    crate::fault::Unit::Time.show(i64::try_from(ns).unwrap_or(i64::MAX))
}

/// `text`, the lines after the first indented.
fn indented(text: &str) -> String {
    text.trim_end().replace('\n', "\n    ")
}

impl Failure {
    /// What went wrong, where and when; times count from `start`, the cluster time at
    /// which setup was complete.
    pub fn describe(&self, start: Option<u64>) -> String {
        use FailureKind as K;
        let moment = |at: Moment| format!("vm {} ({})", at.vm, since(at.time_ns, start));
        let here = self.at.map(moment).unwrap_or_default();
        let when = self
            .at
            .map(|at| format!(" ({})", since(at.time_ns, start)))
            .unwrap_or_default();
        match &self.kind {
            K::Property {
                property,
                place,
                details,
            } => {
                let verb = match property.kind {
                    chaoscontrol_guest::protocol::PropertyKind::Unreachable => "was reached",
                    _ => "was false",
                };
                let mut text = format!(
                    "{} \"{}\" {verb} at {place} in {here}",
                    property.kind.name(),
                    property.message
                );
                for line in details.lines() {
                    text.push_str("\n    ");
                    text.push_str(line);
                }
                text
            }
            K::Agree {
                message,
                place,
                key,
                first,
                second,
            } => format!(
                "agree \"{message}\" broke at {place}: {key} is {} in {}, {} in {}",
                first.value,
                moment(first.at),
                second.value,
                moment(second.at)
            ),
            K::NeverMet {
                message,
                site: None,
                ..
            } => {
                format!("required property \"{message}\" stands nowhere in what ran")
            }
            K::NeverMet {
                message,
                site: Some((kind, place)),
                evaluated,
            } => {
                let how = match evaluated {
                    0 => "was never evaluated".to_owned(),
                    1 => "was never true, in 1 branch that evaluated it".to_owned(),
                    n => format!("was never true, in {n} branches that evaluated it"),
                };
                format!("{} \"{message}\" at {place} {how}", kind.name())
            }
            K::Panic {
                thread,
                message,
                location,
                ..
            } => {
                let place = if location.is_empty() {
                    String::new()
                } else {
                    format!(" at {location}")
                };
                format!(
                    "thread '{thread}' panicked{place} in {here}: {}",
                    indented(message)
                )
            }
            K::BodyError(text) => {
                format!("the test returned an error in {here}: {}", indented(text))
            }
            K::BodyExit(code) => format!("the test's process exited with status {code} in {here}"),
            K::BodySignal(signal) => format!(
                "the test's process was ended by signal {signal}{} in {here}",
                signal_name(*signal)
            ),
            K::ProgramExit { name, code } => format!(
                "program {name} exited with status {code} in {here}; call may_fail() on its command if it may"
            ),
            K::ProgramSignal { name, signal } => format!(
                "program {name} was ended by signal {signal}{} in {here}",
                signal_name(*signal)
            ),
            K::Kernel(line) => format!("the kernel failed in {here}: {line}"),
            K::Stall { stall_ns } => {
                format!("no VM made progress for {}{when}", seconds(*stall_ns))
            }
            K::SetupIncomplete { vms, limit_ns } => format!(
                "setup was not completed within {}: {} never called setup_complete; where a body cannot, set force_setup_complete",
                seconds(*limit_ns),
                list(vms)
            ),
            K::Unfinished { vms } => format!(
                "must_finish: the test still ran in {} at the end{when}",
                list(vms)
            ),
            K::FaultRefused(why) => {
                format!("the body in {here} asked for an impossible fault: {why}")
            }
            K::Agent(text) => format!("the agent failed in {here}: {}", indented(text)),
            K::Shutdown(reason) => format!("the machine went off in {here}: {reason}"),
            K::Flood(what) | K::History(what) => format!("{what}, in {here}"),
            K::Check { check, said } => {
                format!("check {check} failed: {}", indented(said))
            }
        }
    }
}

/// The signal's name in brackets, for those that end programs.
fn signal_name(signal: i32) -> &'static str {
    match signal {
        4 => " (SIGILL)",
        6 => " (SIGABRT)",
        7 => " (SIGBUS)",
        8 => " (SIGFPE)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        13 => " (SIGPIPE)",
        15 => " (SIGTERM)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::super::failure::Observed;
    use super::*;

    #[test]
    fn a_broken_agreement_reads_as_designed() {
        let seen = |value: &str, ms: u64, vm| Observed {
            value: value.to_owned(),
            at: Moment {
                time_ns: (5000 + ms) * 1_000_000,
                vm,
            },
        };
        let kind = FailureKind::Agree {
            message: "one leader per term".to_owned(),
            place: Place {
                file: "tests/chaos.rs".to_owned(),
                line: 16,
                column: 9,
            },
            key: "(\"leader\", 7)".to_owned(),
            first: seen("0", 3102, 0),
            second: seen("2", 3218, 2),
        };
        assert_eq!(
            Failure::new(8_218_000_000, 2, kind).describe(Some(5_000_000_000)),
            "agree \"one leader per term\" broke at tests/chaos.rs:16: \
             (\"leader\", 7) is 0 in vm 0 (+3.102 s), 2 in vm 2 (+3.218 s)"
        );
    }

    #[test]
    fn times_before_setup_and_without_it_say_so() {
        assert_eq!(since(1_500_000_000, Some(2_000_000_000)), "-0.500 s");
        assert_eq!(since(1_500_000_000, None), "1.500 s after boot");
        let f = Failure::new(
            9,
            4,
            FailureKind::SetupIncomplete {
                vms: vec![1, 2],
                limit_ns: 60_000_000_000,
            },
        );
        assert_eq!(
            f.describe(None),
            "setup was not completed within 60 s: vms 1, 2 never called setup_complete; where a body cannot, set force_setup_complete"
        );
    }
}
