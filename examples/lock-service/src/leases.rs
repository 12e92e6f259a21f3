//! What one server knows: who has which lock until when. Time comes from the caller.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{LEASE, SKEW};

/// When a server that has just started begins to grant leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejoin {
    /// When every lease that it may have granted before has ended.
    AfterALease,
    /// At once: the mistake that this example is there to find.
    AtOnce,
}

/// A server's answer to a request for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The lock is leased to who asked.
    Granted,
    /// Somebody else has it.
    Held,
    /// The server has not rejoined yet.
    Joining,
}

impl Answer {
    /// The answer as it is sent.
    pub fn word(self) -> &'static str {
        match self {
            Answer::Granted => "granted",
            Answer::Held => "held",
            Answer::Joining => "joining",
        }
    }
}

/// The leases of one server. All times are counted from the server's start.
#[derive(Debug)]
pub struct Leases {
    open: Duration,
    held: BTreeMap<String, (u64, Duration)>,
}

impl Leases {
    /// A server that has just started.
    pub fn new(rejoin: Rejoin) -> Leases {
        let open = match rejoin {
            Rejoin::AfterALease => LEASE * SKEW,
            Rejoin::AtOnce => Duration::ZERO,
        };
        Leases {
            open,
            held: BTreeMap::new(),
        }
    }

    /// Whether this server may grant leases at `now`.
    pub fn joined(&self, now: Duration) -> bool {
        now >= self.open
    }

    /// Asks for `lock` in the name of `token`, which is new for each attempt of each client.
    pub fn acquire(&mut self, now: Duration, lock: &str, token: u64) -> Answer {
        if !self.joined(now) {
            return Answer::Joining;
        }
        match self.held.get(lock) {
            Some(&(holder, until)) if now < until && holder != token => Answer::Held,
            _ => {
                self.held
                    .insert(lock.to_owned(), (token, now + LEASE * SKEW));
                Answer::Granted
            }
        }
    }

    /// Gives `lock` back if `token` has it.
    pub fn release(&mut self, lock: &str, token: u64) {
        if self
            .held
            .get(lock)
            .is_some_and(|(holder, _)| *holder == token)
        {
            self.held.remove(lock);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(100);

    #[test]
    fn a_lease_keeps_others_out_until_it_ends_or_is_given_back() {
        let mut leases = Leases::new(Rejoin::AfterALease);
        assert_eq!(leases.acquire(START, "a", 1), Answer::Granted);
        assert_eq!(leases.acquire(START, "a", 2), Answer::Held);
        assert_eq!(leases.acquire(START, "b", 2), Answer::Granted);
        assert_eq!(
            leases.acquire(START + LEASE * SKEW, "a", 2),
            Answer::Granted
        );
        leases.release("a", 1);
        assert_eq!(leases.acquire(START + LEASE * SKEW, "a", 1), Answer::Held);
        leases.release("a", 2);
        assert_eq!(
            leases.acquire(START + LEASE * SKEW, "a", 1),
            Answer::Granted
        );
    }

    #[test]
    fn a_restarted_server_waits_for_what_it_forgot() {
        let mut leases = Leases::new(Rejoin::AfterALease);
        assert_eq!(leases.acquire(Duration::ZERO, "a", 1), Answer::Joining);
        assert_eq!(leases.acquire(LEASE * SKEW, "a", 1), Answer::Granted);
    }
}
