//! Tickets for requests: a number for each, by which the reply finds the client that waits.
//! They are drawn before the server's state is locked, by the threads of all connections.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::messages::ClientRequest;
use crate::node::Ticket;

/// Where tickets come from.
#[derive(Debug, Default)]
pub struct Tickets {
    drawn: AtomicU64,
    /// When the latest one was drawn and what for, to be looked at with a debugger.
    latest: Mutex<String>,
}

impl Tickets {
    /// Draws a ticket. With `racing` a thread that loses the CPU here may get the same one as
    /// another.
    pub fn draw(&self, request: &ClientRequest, racing: bool) -> Ticket {
        if racing {
            let ticket = self.drawn.load(Ordering::Relaxed) + 1;
            self.note(ticket, request);
            self.drawn.store(ticket, Ordering::Relaxed);
            ticket
        } else {
            let ticket = self.drawn.fetch_add(1, Ordering::Relaxed) + 1;
            self.note(ticket, request);
            ticket
        }
    }

    fn note(&self, ticket: Ticket, request: &ClientRequest) {
        let time = SystemTime::now().duration_since(UNIX_EPOCH);
        let text = format!("{time:?}, {ticket}: {request:?}");
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_ticket_is_drawn_twice() {
        let tickets = Tickets::default();
        let draw = || tickets.draw(&ClientRequest::Open, false);
        let mut drawn: Vec<Ticket> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..100).map(|_| draw()).collect::<Vec<_>>()))
                .collect();
            threads
                .into_iter()
                .flat_map(|t| t.join().unwrap())
                .collect()
        });
        drawn.sort_unstable();
        assert_eq!(drawn, (1..=400).collect::<Vec<_>>());
    }
}
