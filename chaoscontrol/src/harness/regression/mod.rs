//! Failures that outlive the run that found them: what is written down of each, in which
//! form, and where.
//!
//! Whoever fixes a bug wants it to be tried first the next time, and whoever sees a report
//! wants to see it again. So a record holds all that decides the run, apart from the bytes
//! of kernel and executable, of which it holds the hashes.

mod record;
mod store;
mod text;

pub use record::{Decisive, Recorded};
pub use store::{Saved, Store, StoreError};
#[cfg(test)]
pub(super) use text::tests::example;
pub use text::{ReadError, read, write};
