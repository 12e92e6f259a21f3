//! What one branch has shown so far.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chaoscontrol_guest::protocol::{End, Message, PropertyKind};

use super::failure::{Failure, FailureKind, Moment, Observed, Place, Property};
use crate::fault::Fault;

/// Bytes of keys, values and messages that a branch may make the oracle remember.
const MEMORY_LIMIT: usize = 64 << 20;

/// How a property fared in a branch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Seen {
    /// Where it was announced or evaluated.
    pub places: BTreeSet<Place>,
    /// Whether it was evaluated.
    pub evaluated: bool,
    /// Whether it came out as it should.
    pub passed: bool,
    /// Whether it came out as it should not.
    pub failed: bool,
}

/// Watches one branch. A clone goes on as the original would: it belongs into a snapshot
/// of the cluster, and its large parts are shared until they change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PropertyOracle {
    properties: Arc<BTreeMap<Property, Seen>>,
    agreed: Arc<BTreeMap<(String, String), Observed>>,
    guides: Arc<BTreeMap<String, i64>>,
    remembered: usize,
    finished: BTreeSet<usize>,
    failure: Option<Failure>,
    active_ns: u64,
}

impl PropertyOracle {
    /// An oracle that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The earliest failure so far.
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// Properties seen so far, by message.
    pub fn properties(&self) -> &BTreeMap<Property, Seen> {
        &self.properties
    }

    /// The greatest value so far of each number that the search is to raise.
    pub fn guides(&self) -> &BTreeMap<String, i64> {
        &self.guides
    }

    /// VMs whose body has returned, in their present incarnation.
    pub fn finished(&self) -> &BTreeSet<usize> {
        &self.finished
    }

    /// Takes a failure that was found elsewhere; the earliest (time, VM) stays.
    pub fn fail(&mut self, failure: Failure) {
        let when = |f: &Failure| {
            f.at.unwrap_or(Moment {
                time_ns: u64::MAX,
                vm: usize::MAX,
            })
        };
        if self
            .failure
            .as_ref()
            .is_none_or(|old| when(&failure) < when(old))
        {
            self.failure = Some(failure);
        }
    }

    fn failed(&mut self, at: Moment, kind: FailureKind) {
        self.fail(Failure { at: Some(at), kind });
    }

    /// Takes a message that a VM sent.
    pub fn message(&mut self, at: Moment, message: &Message<'_>) {
        self.activity(at.time_ns);
        let place = |file: &str, line, column| Place {
            file: file.to_owned(),
            line,
            column,
        };
        match *message {
            Message::Assert {
                kind,
                condition,
                line,
                column,
                file,
                message,
                details,
            } => {
                let property = Property {
                    message: message.to_owned(),
                    kind,
                };
                self.assert(at, property, place(file, line, column), condition, details);
            }
            Message::Site {
                kind,
                line,
                column,
                file,
                message,
            } => {
                let property = Property {
                    message: message.to_owned(),
                    kind,
                };
                self.see(at, property, place(file, line, column), |_| ());
            }
            Message::Agree {
                line,
                column,
                file,
                message,
                key,
                value,
            } => {
                self.agree(at, place(file, line, column), message, key, value);
            }
            Message::Guide { value, message } => self.guide(at, value, message),
            Message::Panic {
                thread,
                message,
                location,
                backtrace,
            } => {
                let [thread, message, location, backtrace] =
                    [thread, message, location, backtrace].map(str::to_owned);
                self.failed(
                    at,
                    FailureKind::Panic {
                        thread,
                        message,
                        location,
                        backtrace,
                    },
                );
            }
            Message::BodyStarted { .. } => {
                self.finished.remove(&at.vm);
            }
            Message::BodyEnd { end } => self.body_end(at, end),
            Message::ProgramEnd {
                name,
                end,
                allowed: false,
                ..
            } => self.program_end(at, name, end),
            Message::AgentError { text } => self.failed(at, FailureKind::Agent(text.to_owned())),
            _ => {}
        }
    }

    fn guide(&mut self, at: Moment, value: i64, message: &str) {
        let fits = match self.guides.get(message) {
            Some(best) => value > *best,
            None => self.remember(at, message.len()),
        };
        if fits {
            Arc::make_mut(&mut self.guides).insert(message.to_owned(), value);
        }
    }

    fn body_end(&mut self, at: Moment, end: End<'_>) {
        match end {
            End::Ok | End::Exit { code: 0 } => {
                self.finished.insert(at.vm);
            }
            // The agent starts it again.
            End::Killed => {
                self.finished.remove(&at.vm);
            }
            End::Err { text } => self.failed(at, FailureKind::BodyError(text.to_owned())),
            End::Exit { code } => self.failed(at, FailureKind::BodyExit(code)),
            End::Signal { signal } => self.failed(at, FailureKind::BodySignal(signal)),
            End::Panicked => {
                let [thread, location, backtrace] = ["main", "", ""].map(str::to_owned);
                let message = "the test panicked".to_owned();
                self.failed(
                    at,
                    FailureKind::Panic {
                        thread,
                        message,
                        location,
                        backtrace,
                    },
                );
            }
        }
    }

    fn program_end(&mut self, at: Moment, name: &str, end: End<'_>) {
        let name = name.to_owned();
        match end {
            End::Exit { code } if code != 0 => {
                self.failed(at, FailureKind::ProgramExit { name, code });
            }
            End::Signal { signal } => {
                self.failed(at, FailureKind::ProgramSignal { name, signal });
            }
            _ => {}
        }
    }

    fn assert(
        &mut self,
        at: Moment,
        property: Property,
        place: Place,
        condition: bool,
        details: &str,
    ) {
        use PropertyKind as K;
        let good = condition != (property.kind == K::Unreachable);
        let must = matches!(
            property.kind,
            K::Always | K::AlwaysOrUnreachable | K::Unreachable
        );
        self.see(at, property.clone(), place.clone(), |seen| {
            seen.evaluated = true;
            seen.passed |= good;
            seen.failed |= !good;
        });
        if must && !good {
            self.failed(
                at,
                FailureKind::Property {
                    property,
                    place,
                    details: details.to_owned(),
                },
            );
        }
    }

    fn agree(&mut self, at: Moment, place: Place, message: &str, key: &str, value: &str) {
        let property = Property {
            message: message.to_owned(),
            kind: PropertyKind::Agree,
        };
        let id = (message.to_owned(), key.to_owned());
        let good = match self.agreed.get(&id) {
            Some(first) if first.value != value => {
                let second = Observed {
                    value: value.to_owned(),
                    at,
                };
                let (first, key) = (first.clone(), id.1);
                let message = message.to_owned();
                let place = place.clone();
                self.failed(
                    at,
                    FailureKind::Agree {
                        message,
                        place,
                        key,
                        first,
                        second,
                    },
                );
                false
            }
            Some(_) => true,
            None => {
                if self.remember(at, message.len() + key.len() + value.len()) {
                    let observed = Observed {
                        value: value.to_owned(),
                        at,
                    };
                    Arc::make_mut(&mut self.agreed).insert(id, observed);
                }
                true
            }
        };
        self.see(at, property, place, |seen| {
            seen.evaluated = true;
            seen.passed |= good;
            seen.failed |= !good;
        });
    }

    /// Notes something about a property; what is known already costs no copy.
    fn see(&mut self, at: Moment, property: Property, place: Place, note: impl FnOnce(&mut Seen)) {
        let old = self.properties.get(&property);
        let mut new = old.cloned().unwrap_or_default();
        note(&mut new);
        let known_place = new.places.contains(&place);
        if known_place && old == Some(&new) {
            return;
        }
        let added = if old.is_none() {
            property.message.len()
        } else {
            0
        };
        let place_bytes = if known_place { 0 } else { place.file.len() };
        if self.remember(at, added + place_bytes) {
            new.places.insert(place);
            Arc::make_mut(&mut self.properties).insert(property, new);
        }
    }

    /// Accounts for memory that a guest makes the host use; false when it is too much.
    fn remember(&mut self, at: Moment, bytes: usize) -> bool {
        self.remembered = self.remembered.saturating_add(bytes + 128);
        let fits = self.remembered <= MEMORY_LIMIT;
        if !fits {
            let what = format!(
                "assertions with more than {} MiB of different keys and messages",
                MEMORY_LIMIT >> 20
            );
            self.failed(at, FailureKind::Flood(what));
        }
        fits
    }

    /// Takes a line that a VM's kernel wrote to its console.
    pub fn console(&mut self, at: Moment, line: &[u8]) {
        self.activity(at.time_ns);
        let line = String::from_utf8_lossy(line);
        let text = without_timestamp(&line);
        let fatal = [
            "Kernel panic - not syncing",
            "Oops: ",
            "kernel BUG at ",
            "BUG: unable to handle",
            "BUG: kernel NULL",
        ];
        if fatal.iter().any(|f| text.starts_with(f)) {
            self.failed(at, FailureKind::Kernel(text.to_owned()));
        }
    }

    /// Takes a fault that was applied: who restarts runs its body from the start.
    pub fn fault(&mut self, fault: &Fault) {
        if let Fault::ProcessKill { target } | Fault::ProcessRestart { target } = *fault {
            self.finished.remove(&target);
        }
    }

    /// A VM sent something, be it only a packet.
    pub fn activity(&mut self, time_ns: u64) {
        self.active_ns = self.active_ns.max(time_ns);
    }

    /// Cluster time at which silence becomes a failure, for a limit of `stall_ns`.
    pub fn stalls_at(&self, stall_ns: u64) -> u64 {
        self.active_ns.saturating_add(stall_ns)
    }
}

/// A console line without the kernel's `[    1.234567] `.
fn without_timestamp(line: &str) -> &str {
    line.strip_prefix('[')
        .and_then(|l| l.split_once("] "))
        .map_or(line, |(_, text)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time_ns: u64, vm: usize) -> Moment {
        Moment { time_ns, vm }
    }

    fn assertion(kind: PropertyKind, condition: bool) -> Message<'static> {
        Message::Assert {
            kind,
            condition,
            line: 1,
            column: 1,
            file: "a.rs",
            message: "m",
            details: "k = 1",
        }
    }

    fn agree<'a>(key: &'a str, value: &'a str) -> Message<'a> {
        Message::Agree {
            line: 16,
            column: 1,
            file: "a.rs",
            message: "one",
            key,
            value,
        }
    }

    #[test]
    fn only_the_properties_that_must_hold_fail_a_branch() {
        use PropertyKind as K;
        let fails = |kind, condition| {
            let mut o = PropertyOracle::new();
            o.message(at(5, 1), &assertion(kind, condition));
            o.failure().is_some()
        };
        assert!(fails(K::Always, false) && !fails(K::Always, true));
        assert!(fails(K::AlwaysOrUnreachable, false));
        assert!(fails(K::Unreachable, true));
        assert!(!fails(K::Sometimes, false) && !fails(K::Reachable, true));
    }

    #[test]
    fn agreement_is_per_key_across_vms_and_restarts() {
        let mut o = PropertyOracle::new();
        o.message(at(1, 0), &agree("1", "a"));
        o.message(at(2, 1), &agree("2", "b"));
        o.message(at(3, 1), &agree("1", "a"));
        o.fault(&Fault::ProcessRestart { target: 0 });
        assert_eq!(o.failure(), None);
        let mut fork = o.clone();
        o.message(at(4, 2), &agree("1", "b"));
        assert!(
            matches!(&o.failure().unwrap().kind, FailureKind::Agree { first, second, .. }
            if first.at == at(1, 0) && second.value == "b")
        );
        fork.message(at(4, 2), &agree("1", "a"));
        assert_eq!(fork.failure(), None, "a fork has its own memory");
    }

    #[test]
    fn the_earliest_failure_wins_whatever_order_it_is_found_in() {
        let mut o = PropertyOracle::new();
        o.message(at(7, 1), &assertion(PropertyKind::Always, false));
        o.message(at(7, 2), &Message::AgentError { text: "later vm" });
        o.message(
            at(5, 2),
            &Message::BodyEnd {
                end: End::Exit { code: 3 },
            },
        );
        o.message(
            at(9, 0),
            &Message::BodyEnd {
                end: End::Signal { signal: 11 },
            },
        );
        assert_eq!(
            o.failure(),
            Some(&Failure::new(5, 2, FailureKind::BodyExit(3)))
        );
    }

    #[test]
    fn bodies_finish_and_start_anew() {
        let mut o = PropertyOracle::new();
        o.message(at(1, 0), &Message::BodyEnd { end: End::Ok });
        o.message(
            at(1, 1),
            &Message::BodyEnd {
                end: End::Exit { code: 0 },
            },
        );
        assert_eq!(o.finished().len(), 2);
        o.fault(&Fault::ProcessKill { target: 1 });
        assert_eq!(o.finished().iter().copied().collect::<Vec<_>>(), [0]);
        o.message(at(2, 0), &Message::BodyEnd { end: End::Killed });
        assert!(o.finished().is_empty(), "it starts again");
        assert_eq!(o.failure(), None);
    }

    #[test]
    fn a_program_fails_a_branch_unless_its_end_is_allowed() {
        let fails = |end, allowed| {
            let (pid, name) = (7, "redis-server");
            let mut o = PropertyOracle::new();
            let message = Message::ProgramEnd {
                pid,
                name,
                end,
                allowed,
            };
            o.message(at(1, 0), &message);
            o.failure().cloned()
        };
        let killed = End::Signal { signal: 9 };
        assert_eq!(fails(killed, true), None);
        assert_eq!(fails(End::Exit { code: 0 }, false), None);
        let text = fails(killed, false).unwrap().describe(None);
        assert!(
            text.starts_with("program redis-server was ended by signal 9 (SIGKILL) in vm 0"),
            "{text}"
        );
        let text = fails(End::Exit { code: 1 }, false).unwrap().describe(None);
        assert!(text.starts_with("program redis-server exited with status 1 in vm 0"));
    }

    #[test]
    fn kernel_trouble_is_told_from_chatter() {
        let fails = |line: &str| {
            let mut o = PropertyOracle::new();
            o.console(at(1, 0), line.as_bytes());
            o.failure().is_some()
        };
        assert!(fails(
            "[    0.512] Kernel panic - not syncing: Attempted to kill init!"
        ));
        assert!(fails("[    1.000] Oops: Oops: 0002 [#1] PREEMPT"));
        assert!(!fails(
            "[    1.000] traps: x[12] general protection fault ip:0"
        ));
        assert!(!fails("[    1.000] random: crng init done"));
    }

    #[test]
    fn a_flood_of_keys_ends_in_a_failure() {
        let mut o = PropertyOracle::new();
        let value = "x".repeat(60_000);
        for i in 0..2000 {
            o.message(at(i, 0), &agree(&i.to_string(), &value));
        }
        assert!(matches!(o.failure().unwrap().kind, FailureKind::Flood(_)));
        assert!(o.remembered < 2 * 2000 * 65_000 && o.agreed.len() < 1200);
    }

    #[test]
    fn silence_is_measured_from_the_last_sign_of_life() {
        let mut o = PropertyOracle::new();
        o.activity(10);
        o.message(at(25, 0), &Message::BodyStarted { pid: 1 });
        o.activity(20);
        assert_eq!(o.stalls_at(100), 125);
    }
}
