//! The two VMs of most of these tests: a server that faults hit, and a client that asks it for
//! what it sees.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Instant, SystemTime};

use chaoscontrol::prelude::*;

const PORT: u16 = 7;
/// How long the server's napping thread sleeps at a time.
pub const NAP: Duration = Duration::from_millis(100);

/// What the server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The number of the question.
    pub number: u64,
    /// Questions that reached the server in this life, this one included.
    pub heard: u64,
    /// How often the VM was restarted.
    pub incarnation: u64,
    /// Its monotonic clock since the server began.
    pub monotonic: Duration,
    /// Its wall clock since 1970.
    pub wall: Duration,
    /// Naps that one of its threads has had.
    pub naps: u64,
}

impl Answer {
    fn to_bytes(self) -> Vec<u8> {
        let numbers = [
            self.number,
            self.heard,
            self.incarnation,
            self.monotonic.as_nanos() as u64,
            self.wall.as_nanos() as u64,
            self.naps,
        ];
        numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Answer> {
        let (numbers, _) = bytes.as_chunks::<8>();
        let numbers: Vec<u64> = numbers.iter().map(|n| u64::from_le_bytes(*n)).collect();
        let &[number, heard, incarnation, monotonic, wall, naps] = &numbers[..] else {
            return None;
        };
        Some(Answer {
            number,
            heard,
            incarnation,
            monotonic: Duration::from_nanos(monotonic),
            wall: Duration::from_nanos(wall),
            naps,
        })
    }
}

/// Answers for ever.
pub fn serve(node: &Node) -> Result {
    static NAPS: AtomicU64 = AtomicU64::new(0);
    let socket = UdpSocket::bind(("0.0.0.0", PORT))?;
    let began = Instant::now();
    thread::spawn(|| {
        loop {
            thread::sleep(NAP);
            NAPS.fetch_add(1, Ordering::Relaxed);
        }
    });
    node.setup_complete();
    let mut question = [0; 2000];
    for heard in 1.. {
        let (length, from) = socket.recv_from(&mut question)?;
        let number = question[..length]
            .first_chunk()
            .map(|n| u64::from_le_bytes(*n));
        let answer = Answer {
            number: number.unwrap_or(u64::MAX),
            heard,
            incarnation: node.incarnation().into(),
            monotonic: began.elapsed(),
            wall: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?,
            naps: NAPS.load(Ordering::Relaxed),
        };
        socket.send_to(&answer.to_bytes(), from)?;
    }
    Ok(())
}

/// The client's end.
pub struct Asker {
    pub socket: UdpSocket,
    server: SocketAddr,
    asked: u64,
}

impl Asker {
    /// Waits for the setup, and until the server's address is known.
    pub fn new(node: &Node) -> Result<Asker> {
        node.wait_setup(Duration::from_secs(30))?;
        let mut asker = Asker {
            socket: UdpSocket::bind(("0.0.0.0", 0))?,
            server: node.servers()[0].socket(PORT),
            asked: 0,
        };
        asker.answer()?;
        Ok(asker)
    }

    /// Asks without waiting, with so many bytes; the question's number.
    pub fn send(&mut self, bytes: usize) -> Result<u64> {
        self.asked += 1;
        let mut question = self.asked.to_le_bytes().to_vec();
        question.resize(bytes.max(8), 0);
        self.socket.send_to(&question, self.server)?;
        Ok(self.asked)
    }

    /// The next answer that comes within `limit`, to whichever question.
    pub fn receive(&mut self, limit: Duration) -> Result<Option<Answer>> {
        self.socket.set_read_timeout(Some(limit))?;
        let mut bytes = [0; 256];
        match self.socket.recv(&mut bytes) {
            Ok(length) => Ok(Answer::from_bytes(&bytes[..length])),
            Err(_) => Ok(None),
        }
    }

    /// Asks, and waits a second for the answer: what it says, and how long it took.
    pub fn ask(&mut self) -> Result<Option<(Answer, Duration)>> {
        let began = Instant::now();
        let number = self.send(8)?;
        let limit = Duration::from_secs(1);
        while let Some(left) = limit.checked_sub(began.elapsed()).filter(|l| !l.is_zero()) {
            match self.receive(left)? {
                Some(answer) if answer.number == number => {
                    return Ok(Some((answer, began.elapsed())));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// Asks until there is an answer, 20 s at most.
    pub fn answer(&mut self) -> Result<Answer> {
        for _ in 0..20 {
            if let Some((answer, _)) = self.ask()? {
                return Ok(answer);
            }
        }
        Err("the server does not answer".into())
    }

    /// Whether the server answers.
    pub fn reaches(&mut self) -> Result<bool> {
        Ok(self.ask()?.is_some())
    }

    /// How long an answer takes that comes.
    pub fn round_trip(&mut self) -> Result<Duration> {
        let (_, took) = self.ask()?.ok_or("the server does not answer")?;
        Ok(took)
    }
}
