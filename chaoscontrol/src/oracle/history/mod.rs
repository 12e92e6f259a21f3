//! Histories of operations, and whether some order of them explains every result.
//!
//! What clients of a replicated system saw is right if it is what they could have seen of a
//! single copy, on which each operation takes effect at one instant between its call and its
//! return: the history is linearizable (Herlihy and Wing 1990). A [`Checker`] decides that for a
//! [`Model`] of the single copy: a [`Register`], a [`Set`], a [`Queue`], a [`Log`], or one of the
//! test's own. What does not hold it tells with a [`Counterexample`], as small as it finds one.

mod check;
mod interval;
mod log;
mod model;
mod operation;
mod queue;
mod record;
mod register;
mod run;
mod search;
mod sequence;
mod set;
mod show;
mod shrink;

pub use check::{Checker, HistoryError};
pub use interval::Interval;
pub use log::Log;
pub use model::Model;
pub use operation::{Answer, Call, Operation, Outcome, Value};
pub use queue::Queue;
pub use record::{Entry, Record, RecordError, What};
pub use register::Register;
pub use run::{Checked, Event, Line, Run};
pub(crate) use run::{answer, call};
pub use set::Set;
pub use show::Counterexample;

#[cfg(test)]
mod brute_tests;
#[cfg(test)]
mod generate;
