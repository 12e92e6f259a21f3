//! The assertions that stand in an executable, evaluated or not: a report can only list
//! what was never exercised if it knows what there is.

use core::sync::atomic::{AtomicU8, Ordering};

use linkme::distributed_slice;

use crate::protocol::{Message, PropertyKind};
use crate::transport;

/// A place in the source that states a property.
#[derive(Debug)]
pub struct Site {
    /// What it states.
    pub kind: PropertyKind,
    /// The property's identity.
    pub message: &'static str,
    /// The source file, as `file!()` gives it.
    pub file: &'static str,
    /// Line of the source, from 1.
    pub line: u32,
    /// Column of the source, from 1.
    pub column: u32,
    /// Outcomes this process has told the host: bit 0 false, bit 1 true.
    told: AtomicU8,
}

impl Site {
    /// A site no evaluation of which was told yet.
    pub const fn new(
        kind: PropertyKind,
        message: &'static str,
        file: &'static str,
        line: u32,
        column: u32,
    ) -> Self {
        Self {
            kind,
            message,
            file,
            line,
            column,
            told: AtomicU8::new(0),
        }
    }

    /// Whether the host learns something from this evaluation: each breach, otherwise each
    /// outcome once in a process (whose memory a snapshot holds together with the oracle).
    pub(crate) fn is_news(&self, condition: bool) -> bool {
        let breach = match self.kind {
            PropertyKind::Always | PropertyKind::AlwaysOrUnreachable => !condition,
            PropertyKind::Unreachable | PropertyKind::Agree => true,
            PropertyKind::Sometimes | PropertyKind::Reachable => false,
        };
        let bit = 1 << u8::from(condition);
        breach || self.told.fetch_or(bit, Ordering::Relaxed) & bit == 0
    }
}

/// Every site linked into this executable, in the linker's order.
#[distributed_slice]
pub static SITES: [Site];

/// Tells the host all sites of this executable. The host knows those of the test
/// executable; another program that wants its own listed calls this once.
pub fn announce() {
    for site in SITES {
        transport::send(&Message::Site {
            kind: site.kind,
            line: site.line,
            column: site.column,
            file: site.file,
            message: site.message,
        });
    }
}
