//! What tests on KVM do where there is none.

use std::env;
use std::fmt::Display;

/// What a test needs; or `None`, for which it may end, after saying that it has not run.
///
/// # Panics
/// It is not there, and `CHAOS_KVM_REQUIRED` says that it has to be.
pub fn or_not_run<T>(got: Result<T, impl Display>) -> Option<T> {
    match got {
        Ok(got) => Some(got),
        Err(why) => {
            let required = env::var_os("CHAOS_KVM_REQUIRED").is_some();
            assert!(!required, "KVM is required: {why}");
            eprintln!("NOT RUN, since this host has no KVM for it: {why}");
            None
        }
    }
}
