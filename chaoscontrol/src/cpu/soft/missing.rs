//! Notes what a guest tried to execute and the software CPU does not have, or not all of.

use std::fmt::Write;

use super::core::Core;
use super::op::Op;
use crate::cpu::missing::{Missing, record_named};

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
