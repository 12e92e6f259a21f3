//! Instructions this CPU does not have, or not all of, as far as a guest tried to execute
//! them: a report names them, so that a program that dies of #UD, or waits for a hardware
//! breakpoint, is no riddle.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::core::Core;
use super::op::Op;

/// How often a missing instruction was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Met {
    /// Times.
    pub count: u64,
    /// Where first.
    pub first_rip: u64,
}

/// The missing instructions by name, or by their bytes if they have none.
pub type Missing = BTreeMap<String, Met>;

/// More different ones than this are not told apart.
const LIMIT: usize = 256;

/// Counts one.
pub(super) fn record(missing: &mut Missing, bytes: &[u8], rip: u64) {
    let options = super::translate::DECODER_OPTIONS;
    let code = iced_x86::Decoder::with_ip(64, bytes, rip, options)
        .decode()
        .code();
    let name = if code == iced_x86::Code::INVALID {
        bytes.iter().fold(String::from("bytes"), |mut text, byte| {
            let _ = write!(text, " {byte:02x}");
            text
        })
    } else {
        format!("{code:?}")
    };
    record_named(missing, name, rip);
}

impl Core {
    /// Counts a use of `op` that this CPU does not have; the use has a name.
    #[cold]
    pub(super) fn lack(&mut self, op: &Op, name: impl Into<String>) {
        let rip = op.next_rip(self).wrapping_sub(u64::from(op.len));
        record_named(&mut self.missing, name.into(), rip);
    }
}

fn record_named(missing: &mut Missing, name: String, rip: u64) {
    if missing.len() >= LIMIT && !missing.contains_key(&name) {
        return;
    }
    let met = missing.entry(name).or_insert(Met {
        count: 0,
        first_rip: rip,
    });
    met.count += 1;
}
