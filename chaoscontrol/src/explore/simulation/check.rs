//! The test's own judgement of a branch, which it makes on the host after the branch's end.

use std::any::Any;
use std::cell::RefCell;
use std::sync::Once;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;
use std::{panic, thread};

use super::{Moment, Simulation};
use crate::oracle::history::Run;
use crate::oracle::{Failure, FailureKind};

/// A function that judges a branch.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Its path, as the test names it.
    pub name: &'static str,
    /// Runs it; answers the text of its error.
    pub run: fn(&Run) -> Result<(), String>,
}

/// Host time after which a check is taken for one that never ends.
const PATIENCE: Duration = Duration::from_secs(120);

/// The name of the thread on which a check runs, by which its panics are known.
const THREAD: &str = "chaoscontrol check";

/// Why there is no verdict of a check. This says nothing about the branch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// It goes on and on.
    #[error(
        "`check = {0}` has not ended after {PATIENCE:?} of host time; let it give up by itself, as Checker::steps lets one of histories"
    )]
    Endless(&'static str),
    /// The host has no thread for it.
    #[error("`check = {0}` got no thread: {1}")]
    Thread(&'static str, String),
}

impl Simulation {
    /// Lets the test judge what it has not failed so far.
    pub(super) fn conclude(&mut self) {
        let (Some(check), Some(record)) = (self.scenario.check, &self.record) else {
            return;
        };
        let Some(start_ns) = self.start_ns() else {
            return;
        };
        if self.failure().is_some() || self.trouble.is_some() || self.cut_off || !self.is_over() {
            return;
        }
        let vms = self.scenario.cluster.vms;
        let run = record.run(vms, start_ns, self.now());
        match verdict(check, run, PATIENCE) {
            Ok(Ok(())) => {}
            Ok(Err(said)) => {
                let at = Some(Moment {
                    time_ns: self.now(),
                    vm: vms,
                });
                let kind = FailureKind::Check {
                    check: check.name.to_owned(),
                    said,
                };
                self.oracle.fail(Failure { at, kind });
            }
            Err(error) => self.trouble = Some(error.into()),
        }
    }
}

/// What `check` says about `run`. A panic is an objection like any other.
fn verdict(check: Check, run: Run, patience: Duration) -> Result<Result<(), String>, CheckError> {
    hush();
    let (tell, told) = channel();
    let judge = move || {
        let verdict = panic::catch_unwind(|| (check.run)(&run));
        // Nobody listens any more to one that took too long.
        let _ = tell.send(verdict.unwrap_or_else(|panic| Err(words(&*panic))));
    };
    thread::Builder::new()
        .name(THREAD.to_owned())
        .spawn(judge)
        .map_err(|error| CheckError::Thread(check.name, error.to_string()))?;
    match told.recv_timeout(patience) {
        Ok(verdict) => Ok(verdict),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            Err(CheckError::Endless(check.name))
        }
    }
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    let place = PLACE.take();
    let place = place.map_or(String::new(), |place| format!(" at {place}"));
    format!("it panicked{place}: {}", text.unwrap_or("without a text"))
}

thread_local! {
    /// Where this thread panicked.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From now on panics of checks are told in reports, and not on standard error each time that
/// the branch is run.
fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if thread::current().name() == Some(THREAD) {
                let place = info.location().map(ToString::to_string);
                PLACE.set(place);
            } else {
                others(info);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::history::Record;

    fn run() -> Run {
        Record::default().run(1, 0, 0)
    }

    fn check(run: fn(&Run) -> Result<(), String>) -> Check {
        Check { name: "judge", run }
    }

    #[test]
    fn an_objection_a_panic_and_no_end_are_told_apart() {
        let patience = Duration::from_secs(60);
        assert_eq!(verdict(check(|_| Ok(())), run(), patience), Ok(Ok(())));
        let objects = check(|run| Err(format!("{} entries", run.entries().len())));
        assert_eq!(
            verdict(objects, run(), patience),
            Ok(Err("0 entries".into()))
        );
        let panics = check(|run| panic!("{} vms", run.vms()));
        let said = verdict(panics, run(), patience).unwrap().unwrap_err();
        assert!(
            said.starts_with("it panicked at ") && said.ends_with(": 1 vms"),
            "{said}"
        );
        let endless = check(|_| {
            loop {
                thread::park();
            }
        });
        let error = verdict(endless, run(), Duration::from_millis(10)).unwrap_err();
        assert_eq!(error, CheckError::Endless("judge"));
    }
}
