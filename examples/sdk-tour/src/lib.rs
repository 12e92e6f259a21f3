//! A register that a server keeps and clients count up, on tokio: as little of a system
//! as the tour in `tests/chaos.rs` needs.
//!
//! The assertions stay in production code: outside of a test VM they do nothing.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use chaoscontrol_guest::{assert_always, assert_always_or_unreachable};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// The port of the service.
pub const PORT: u16 = 4000;

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_millis(300);

/// A server's register. It is kept in memory only.
#[derive(Clone, Debug, Default)]
pub struct Register(Rc<Cell<u64>>);

impl Register {
    /// Adds to it and answers its new value.
    pub fn add(&self, amount: u64) -> u64 {
        let (before, after) = (self.0.get(), self.0.get().saturating_add(amount));
        assert_always!(
            before <= after,
            "the register grows",
            before = before,
            after = after
        );
        self.0.set(after);
        after
    }
}

/// Serves one client at a time with `register`, for ever.
///
/// # Errors
/// If the port cannot be listened on.
pub async fn serve(register: Register) -> io::Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        // A client that goes away, or that is cut off, concerns nobody else.
        let _ = timeout(PATIENCE, answer(&mut stream, &register)).await;
    }
}

async fn answer(stream: &mut TcpStream, register: &Register) -> io::Result<()> {
    let amount = stream.read_u64().await?;
    stream.write_u64(register.add(amount)).await
}

/// Adds `amount` to the register of a server and answers its new value.
///
/// # Errors
/// The server cannot be reached, or took too long.
pub async fn add(server: SocketAddr, amount: u64) -> io::Result<u64> {
    let call = async {
        let mut stream = TcpStream::connect(server).await?;
        stream.write_u64(amount).await?;
        stream.read_u64().await
    };
    let value = timeout(PATIENCE, call).await??;
    assert_always_or_unreachable!(value >= amount, "an answer contains its request");
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_register_adds_up() {
        let register = Register::default();
        assert_eq!([1, 2, 3].map(|amount| register.add(amount)), [1, 3, 6]);
    }
}
