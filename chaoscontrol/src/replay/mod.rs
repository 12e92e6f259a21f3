//! Recording of runs: state hashes a tick, and where two runs first differ.
//!
//! A [`HashRecord`] is what `verify` compares between processes, and what a replay that
//! went astray is told by. It is small, readable text, so that two of them can be
//! compared by any tool as well.

mod compare;
mod record;
mod text;

pub use compare::{Divergence, Part, Subject};
pub use record::{HashRecord, TickRecord, VmHashes};
pub use text::{NoTick, RecordError};
