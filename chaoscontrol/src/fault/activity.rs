//! Which server has most to do. Faults that hit a server at random mostly hit one that the others can
//! do without; what is interesting is often the one that does the work: a leader, a primary, the
//! holder of a lock.

use std::cmp::Reverse;

/// How long a window is, in virtual ns: long enough for some heartbeats.
const WINDOW_NS: u64 = 200_000_000;

/// What servers sent lately: who does the work tells others of it. (A server that starts executes more
/// than any other, but says little.)
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Activity {
    window: u64,
    servers: Vec<Sent>,
}

/// Bytes that a server had sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Sent {
    /// By now.
    now: u64,
    /// When the window at hand began.
    then: u64,
    /// When the one before that began.
    before: u64,
}

impl Activity {
    /// Server `vm` has sent so many bytes by `at_ns`, virtual ns after setup. Neither ever decreases.
    pub fn add(&mut self, at_ns: u64, vm: usize, bytes: u64) {
        let window = at_ns / WINDOW_NS;
        if window != self.window {
            let next = window == self.window + 1;
            for sent in &mut self.servers {
                sent.before = if next { sent.then } else { sent.now };
                sent.then = sent.now;
            }
            self.window = window;
        }
        if self.servers.len() <= vm {
            self.servers.resize(vm + 1, Sent::default());
        }
        self.servers[vm].now = bytes;
    }

    /// The server that sent most in the last one or two windows, the first of equals; `None` if
    /// nobody sent anything.
    pub fn busiest(&self) -> Option<usize> {
        let sent = self.servers.iter().map(|s| s.now.saturating_sub(s.before));
        let (vm, most) = sent
            .enumerate()
            .max_by_key(|&(vm, sent)| (sent, Reverse(vm)))?;
        (most > 0).then_some(vm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_is_who_sent_most_lately() {
        let mut activity = Activity::default();
        let mut at = |window: u64, sent: [u64; 3]| {
            for (vm, bytes) in sent.into_iter().enumerate() {
                activity.add(window * WINDOW_NS + 10, vm, bytes);
            }
            activity.busiest()
        };
        assert_eq!(at(0, [0, 0, 0]), None);
        assert_eq!(at(0, [5, 6, 0]), Some(1));
        assert_eq!(at(1, [7, 7, 0]), Some(0), "the first of equals");
        assert_eq!(at(2, [7, 7, 1]), Some(0), "the window before counts");
        assert_eq!(at(3, [7, 7, 1]), Some(2), "the one before that does not");
        assert_eq!(at(9, [7, 7, 1]), None);
        assert_eq!(at(9, [7, 8, 1]), Some(1));
    }
}
