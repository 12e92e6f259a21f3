//! What the client VM does: several sessions add to counters and read them, and know what
//! they have to find.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use chaoscontrol::prelude::*;
use raft::{Client, Operation, PORT, Trouble};

/// The counter that all sessions add to.
const SHARED: &str = "shared";

/// How long after the last fault the cluster may take to answer.
const RECOVERY: Duration = Duration::from_secs(4);

/// How the clients go about it.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Sessions that add and, if there are no readers, read.
    pub sessions: u64,
    /// Sessions that only read.
    pub readers: u64,
    /// Time between two operations of a session, in ms; half of it is random.
    pub pause: u64,
    /// Whether leaders are asked to hand over.
    pub transfers: bool,
}

/// What all sessions know.
#[derive(Debug, Default)]
struct Known {
    /// What each counter has reached at least.
    floor: BTreeMap<String, u64>,
    /// How many additions to each were acknowledged.
    added: BTreeMap<String, u64>,
}

/// One session.
struct Session {
    node: Node,
    client: Client,
    number: u64,
    known: Arc<Mutex<Known>>,
    /// When the last fault was over.
    quiet: Option<Instant>,
}

/// Works until faults are over, then checks what the counters have come to.
pub fn run(node: &Node, load: Load) -> Result {
    node.wait_setup(Duration::from_secs(60))?;
    let known: Arc<Mutex<Known>> = Arc::default();
    let threads: Vec<_> = (0..load.sessions + load.readers)
        .map(|number| {
            let mut session = Session::new(node, number, &known);
            thread::spawn(move || session.work(load))
        })
        .collect();
    for thread in threads {
        thread.join().map_err(|_| "a session panicked")??;
    }
    let mut session = Session::new(node, load.sessions + load.readers, &known);
    let added = session.known().added.clone();
    send_event("acknowledged", format_args!("{added:?}"));
    for (key, added) in added {
        let value = session.read(&key)?;
        assert_always!(
            value == added,
            "an acknowledged addition counts exactly once",
            counter = key,
            value = value,
            acknowledged = added
        );
    }
    Ok(())
}

impl Session {
    fn new(node: &Node, number: u64, known: &Arc<Mutex<Known>>) -> Session {
        let servers = node.servers();
        Session {
            node: node.clone(),
            client: Client::new(servers.iter().map(|peer| peer.socket(PORT)).collect()),
            number,
            known: Arc::clone(known),
            quiet: None,
        }
    }

    fn work(&mut self, load: Load) -> Result {
        let own = format!("own-{}", self.number);
        while !self.node.is_quiet() {
            match random_choice(8) {
                _ if self.number >= load.sessions => {
                    self.read(SHARED)?;
                }
                0 if load.transfers => {
                    let to = random_choice(self.node.servers().len() as u64) as usize;
                    // It may come to nothing.
                    let _ = self.client.transfer(to, Duration::from_millis(300));
                }
                _ if load.readers > 0 => self.add(SHARED)?,
                0..3 => self.add(&own)?,
                3..5 => self.add(SHARED)?,
                _ => {
                    self.read(SHARED)?;
                }
            }
            let pause = load.pause / 2 + random_choice(load.pause / 2 + 1);
            thread::sleep(Duration::from_millis(pause));
        }
        Ok(())
    }

    /// Adds one to a counter, and tries again until that is acknowledged.
    fn add(&mut self, key: &str) -> Result {
        let floor = self.floor(key);
        let operation = Operation::Add {
            key: key.to_owned(),
            amount: 1,
        };
        let value =
            self.until_answered(|client, limit| client.operate(operation.clone(), limit))?;
        assert_always!(
            value > floor,
            "an addition sees what was acknowledged before",
            counter = key,
            value = value,
            acknowledged = floor
        );
        let mut known = self.known();
        let added = known.added.entry(key.to_owned()).or_default();
        *added += 1;
        let which = (self.number, *added);
        known.raise(key, value);
        drop(known);
        assert_agree!((key, value), which, "no two additions give one value");
        Ok(())
    }

    /// Reads a counter, and tries again until there is an answer.
    fn read(&mut self, key: &str) -> Result<u64> {
        let floor = self.floor(key);
        let value = self.until_answered(|client, limit| client.get(key, limit))?;
        assert_always!(
            value >= floor,
            "a read sees what was acknowledged before",
            counter = key,
            value = value,
            acknowledged = floor
        );
        self.known().raise(key, value);
        Ok(value)
    }

    fn until_answered(
        &mut self,
        mut attempt: impl FnMut(&mut Client, Duration) -> Result<u64, Trouble>,
    ) -> Result<u64> {
        loop {
            match attempt(&mut self.client, Duration::from_millis(500)) {
                Ok(value) => return Ok(value),
                Err(Trouble::Expired) => return Err(Trouble::Expired.into()),
                Err(Trouble::Unanswered) => {
                    if self.quiet.is_none() && self.node.is_quiet() {
                        self.quiet = Some(Instant::now());
                    }
                    if self.quiet.is_some_and(|quiet| quiet.elapsed() > RECOVERY) {
                        return Err("no answer 4 s after the last fault".into());
                    }
                }
            }
        }
    }

    fn floor(&self, key: &str) -> u64 {
        self.known().floor.get(key).copied().unwrap_or(0)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn raise(&mut self, key: &str, value: u64) {
        let floor = self.floor.entry(key.to_owned()).or_default();
        *floor = value.max(*floor);
    }
}
