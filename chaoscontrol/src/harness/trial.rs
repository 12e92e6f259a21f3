//! One test as libtest-mimic runs it.
//!
//! Chaos tests take turns: each uses all the cores it gets, and their reports do not mix.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use super::chaos;
use super::entry::Package;
use super::registry::{HostTest, TestCase};
use crate::cpu::{UnsupportedHost, supported};

static TURN: Mutex<()> = Mutex::new(());

/// The trial of a chaos test.
pub fn chaos(case: &'static TestCase, package: Package, arguments: &Arguments) -> Trial {
    let ignore = case.ignore.map(|reason| reason.unwrap_or_default());
    let ignore = match supported() {
        Ok(()) => ignore,
        Err(_) => Some(UnsupportedHost::REASON),
    };
    // On its own, a test's line begins before the test prints anything.
    let alone = arguments.test_threads == Some(1);
    trial(case.name(), ignore, arguments, move || {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        if alone {
            println!();
        }
        chaos::run(case, package)
    })
}

/// The trial of a test on the host.
pub fn host(test: &'static HostTest, arguments: &Arguments) -> Trial {
    let ignore = test.ignore.map(|reason| reason.unwrap_or_default());
    trial(test.name(), ignore, arguments, move || {
        let outcome = catch_unwind(AssertUnwindSafe(test.run));
        match (outcome, test.should_panic) {
            (Ok(outcome), None) => outcome.map_err(Failed::from),
            (Err(payload), None) => Err(text(&*payload).into()),
            (outcome, Some(expected)) => {
                let failure = match &outcome {
                    Ok(Ok(())) => None,
                    Ok(Err(text)) => Some(text.as_str()),
                    Err(payload) => Some(text(&**payload)),
                };
                should_panic(failure, expected).map_err(Failed::from)
            }
        }
    })
}

/// Judges a test that is to fail: `failure` is what it failed with, if it did.
///
/// # Errors
/// What is wrong with that.
pub fn should_panic(failure: Option<&str>, expected: Option<&str>) -> Result<(), String> {
    match (failure, expected) {
        (None, None) => Err("the test should have failed, and passed".into()),
        (None, Some(expected)) => Err(format!(
            "the test should have failed with {expected:?}, and passed"
        )),
        (Some(failure), Some(expected)) if !failure.contains(expected) => Err(format!(
            "the test should have failed with {expected:?}, and failed otherwise:\n{failure}"
        )),
        (Some(_), _) => Ok(()),
    }
}

/// A trial; `ignore` is why it runs only on demand.
fn trial(
    name: String,
    ignore: Option<&'static str>,
    arguments: &Arguments,
    run: impl FnOnce() -> Result<(), Failed> + Send + 'static,
) -> Trial {
    let Some(reason) = ignore else {
        return Trial::test(name, run);
    };
    let asked = arguments.ignored || arguments.include_ignored;
    if arguments.list || asked {
        return Trial::test(name, run).with_ignored_flag(true);
    }
    // libtest-mimic shows the reason only of tests that decide to be ignored themselves.
    let ignored = move || {
        Ok(match reason {
            "" => Completion::ignored(),
            reason => Completion::ignored_with(reason),
        })
    };
    Trial::ignorable_test(name, ignored).with_ignored_flag(asked)
}

fn text(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "the test panicked with a value that is no text"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_should_fail_must_fail_as_expected() {
        assert!(should_panic(Some("agree \"one holder\" broke"), Some("one holder")).is_ok());
        assert!(should_panic(Some("anything"), None).is_ok());
        let text = should_panic(None, Some("one holder")).unwrap_err();
        assert!(text.contains("should have failed with \"one holder\""));
        let text = should_panic(Some("stall"), Some("one holder")).unwrap_err();
        assert!(text.ends_with("failed otherwise:\nstall"), "{text}");
    }
}
