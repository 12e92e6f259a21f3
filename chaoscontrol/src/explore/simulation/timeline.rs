//! What happened in a branch, as lines a person can read.

use chaoscontrol_guest::protocol::{End, Message, Outcome, Stream};

use super::{Moment, Simulation};
use crate::oracle::history;

/// What a line of the timeline is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKind {
    /// A fault, or its end.
    Fault,
    /// A line that a process wrote.
    Output,
    /// A line of the kernel's console.
    Console,
    /// An event or a step in a body's life.
    Event,
    /// An assertion.
    Assertion,
}

/// A line of the timeline.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// When and where; a `vm` beyond the last one is the cluster as a whole.
    pub at: Moment,
    /// What it is about.
    pub kind: EntryKind,
    /// What a guest calls this moment: an event's name, an assertion's message.
    pub name: Option<String>,
    /// In words.
    pub text: String,
}

impl Simulation {
    pub(super) fn note(&mut self, at: Moment, kind: EntryKind, text: impl FnOnce() -> String) {
        if let Some(timeline) = &mut self.timeline {
            timeline.push(Entry {
                at,
                kind,
                name: None,
                text: text(),
            });
        }
    }

    /// Adds the orders that have not taken effect, for a timeline that ends here.
    pub fn note_open_orders(&mut self) {
        let time_ns = self.now();
        for report in self.cluster.open_orders() {
            let vm = report.order.vm;
            let at = Moment { time_ns, vm };
            self.note(at, EntryKind::Fault, || report.to_string());
        }
    }

    pub(super) fn note_console(&mut self, at: Moment, line: &[u8]) {
        self.note(at, EntryKind::Console, || {
            String::from_utf8_lossy(line).into_owned()
        });
    }

    pub(super) fn note_message(&mut self, at: Moment, message: &Message<'_>) {
        let Some((kind, text)) = describe(message) else {
            return;
        };
        self.note(at, kind, || text);
        if let Message::Event { name, .. } | Message::Assert { message: name, .. } = message {
            let noted = self.timeline.as_mut().and_then(|lines| lines.last_mut());
            if let Some(entry) = noted {
                entry.name = Some((*name).to_owned());
            }
        }
    }
}

/// A message as a line; `None` for what nobody needs to see.
fn describe(message: &Message<'_>) -> Option<(EntryKind, String)> {
    use EntryKind as K;
    Some(match *message {
        Message::BodyStarted { .. } => (K::Event, "body started".into()),
        Message::SetupComplete => (K::Event, "setup complete".into()),
        Message::Event { name, details: "" } => (K::Event, name.into()),
        Message::Event { name, details } => (K::Event, format!("{name}: {details}")),
        Message::Output {
            name, stream, line, ..
        } => {
            let line = String::from_utf8_lossy(line);
            let mut text = match stream {
                Stream::Stdout => line.into_owned(),
                Stream::Stderr => format!("(stderr) {line}"),
            };
            if !name.is_empty() {
                text = format!("{name}: {text}");
            }
            (K::Output, text)
        }
        Message::Assert {
            kind,
            condition,
            message,
            details,
            ..
        } => {
            let details = details.lines().collect::<Vec<_>>().join(", ");
            let result = if condition { "holds" } else { "FAILED" };
            (
                K::Assertion,
                format!("{} \"{message}\" {result} {details}", kind.name())
                    .trim_end()
                    .into(),
            )
        }
        Message::Agree {
            message,
            key,
            value,
            ..
        } => (
            K::Assertion,
            format!("agree \"{message}\": {key} is {value}"),
        ),
        Message::Panic {
            thread,
            message,
            location,
            ..
        } => (
            K::Event,
            format!("thread {thread} panicked at {location}: {message}"),
        ),
        Message::BodyEnd { end } => (K::Event, ended("body", end)),
        Message::ProgramStarted { pid, name } => {
            (K::Event, format!("program {name} started (pid {pid})"))
        }
        Message::ProgramEnd { pid, name, end, .. } => {
            let who = format!("program {name} (pid {pid})");
            (K::Event, ended(&who, end))
        }
        // Those that somebody waits for are told of as orders.
        Message::ControlDone { id: 0, errno } if errno != 0 => (
            K::Event,
            format!("reseeding of the random generator failed with errno {errno}"),
        ),
        Message::Invoke { id, key, call } => {
            let call = history::call(&call);
            (
                K::Event,
                format!("operation {} on {key}: {call}", short(id)),
            )
        }
        Message::Return { id, outcome } => {
            let what = match outcome {
                Outcome::Ok { answer } => match history::answer(&answer) {
                    Some(answer) => format!("answered {answer}"),
                    None => "answered too much".to_owned(),
                },
                Outcome::Failed => "failed".to_owned(),
                Outcome::Unknown => "is unknown".to_owned(),
            };
            (K::Event, format!("operation {} {what}", short(id)))
        }
        Message::AgentError { text } => (K::Event, format!("agent: {text}")),
        Message::Boot
        | Message::Identity
        | Message::Status
        | Message::GetRandom
        | Message::RandomChoice { .. }
        | Message::Site { .. }
        | Message::Guide { .. }
        | Message::ControlDone { .. }
        | Message::Fault { .. } => return None,
    })
}

/// The number of a call within its VM's life.
fn short(id: u64) -> u32 {
    id as u32
}

/// How a process came to its end.
fn ended(who: &str, end: End<'_>) -> String {
    match end {
        End::Ok => format!("{who} returned"),
        End::Err { text } => format!("{who} returned an error: {text}"),
        End::Exit { code } => format!("{who} exited with status {code}"),
        End::Signal { signal } => format!("{who} was ended by signal {signal}"),
        End::Panicked => format!("{who} panicked"),
        End::Killed => format!("{who} was killed by a fault"),
    }
}
