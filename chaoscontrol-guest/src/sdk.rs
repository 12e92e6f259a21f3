//! The calls that need no allocator: what the assertion macros expand to, and the rest
//! of the bare SDK.

use core::fmt::{Debug, Display, Write};

use crate::catalog::Site;
use crate::protocol::Message;
use crate::text::Text;
use crate::transport::{inside, send};

/// Tells the host that this VM's part of the setup is done. Faults begin when every
/// server has said so.
///
/// All branches of a test share what happened until then, random numbers included. From
/// 2 virtual ms after it on, what processes draw from the kernel differs between branches.
pub fn setup_complete() {
    send(&Message::SetupComplete);
}

/// Puts a line into the timeline: a name, and details of any form (up to 2 KiB).
pub fn send_event(name: &str, details: impl Display) {
    if inside() {
        send(&Message::Event {
            name,
            details: Text::<2048>::of(format_args!("{details}")).as_str(),
        });
    }
}

/// 64 random bits. In a test VM they follow from the run's seed. Outside they come from
/// the standard library's hasher keys; without `std` from a counter, which is not random.
pub fn get_random() -> u64 {
    if inside() {
        send(&Message::GetRandom)
    } else {
        outside::random()
    }
}

/// A number below `n`; 0 if `n` is 0. In a test VM the exploration chooses it.
pub fn random_choice(n: u64) -> u64 {
    if inside() {
        // A host that answers nonsense must not make callers index out of bounds.
        send(&Message::RandomChoice { n }).checked_rem(n)
    } else {
        outside::random().checked_rem(n)
    }
    .unwrap_or(0)
}

/// What an assertion macro expands to.
#[doc(hidden)]
pub fn assert(site: &'static Site, condition: bool, details: &[(&str, &dyn Debug)]) {
    if !inside() || !site.is_news(condition) {
        return;
    }
    let mut text = Text::<2048>::new();
    for (place, (key, value)) in details.iter().enumerate() {
        let newline = if place == 0 { "" } else { "\n" };
        // A `Debug` of the user's that fails leaves what it wrote so far.
        let _ = write!(text, "{newline}{key} = {value:?}");
    }
    text.finish();
    send(&Message::Assert {
        kind: site.kind,
        condition,
        line: site.line,
        column: site.column,
        file: site.file,
        message: site.message,
        details: text.as_str(),
    });
}

/// What `assert_agree!` expands to.
#[doc(hidden)]
pub fn agree(site: &'static Site, key: &dyn Debug, value: &dyn Debug) {
    if inside() {
        send(&Message::Agree {
            line: site.line,
            column: site.column,
            file: site.file,
            message: site.message,
            key: Text::<1024>::of(format_args!("{key:?}")).as_str(),
            value: Text::<1024>::of(format_args!("{value:?}")).as_str(),
        });
    }
}

#[cfg(feature = "std")]
mod outside {
    use std::hash::{BuildHasher, Hasher, RandomState};

    pub fn random() -> u64 {
        RandomState::new().build_hasher().finish()
    }
}

#[cfg(not(feature = "std"))]
mod outside {
    use core::sync::atomic::{AtomicUsize, Ordering};

    pub fn random() -> u64 {
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        let calls = CALLS.fetch_add(1, Ordering::Relaxed) as u64;
        calls.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_stay_below_their_number() {
        assert_eq!(random_choice(0), 0);
        assert_eq!(random_choice(1), 0);
        for _ in 0..100 {
            assert!(random_choice(3) < 3);
        }
        assert_ne!(get_random(), get_random());
    }
}
