//! Clusters in memory, with a network that loses, delays and cuts, and servers that lose all
//! but what they have stored: the protocol has to be right in all of them, and a check that
//! cannot fail shows nothing, so planted mistakes have to be seen.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use crate::role::Role;
use crate::{
    Body, Bug, ClientReply, ClientRequest, Config, Entry, HardState, Index, Message, Operation,
    Raft, Recovered, ServerId, Snapshot, Storage, Term,
};

/// A disk that outlives its server.
#[derive(Clone, Debug, Default)]
struct Memory(Rc<RefCell<Recovered>>);

impl Storage for Memory {
    fn save_hard(&mut self, hard: HardState) -> io::Result<()> {
        self.0.borrow_mut().hard = hard;
        Ok(())
    }

    fn append(&mut self, entries: &[Entry]) -> io::Result<()> {
        let log = &mut self.0.borrow_mut().log;
        entries.iter().for_each(|entry| log.put(entry.clone()));
        Ok(())
    }

    fn save_snapshot(&mut self, snapshot: &Snapshot, rest: &[Entry]) -> io::Result<()> {
        let mut stored = self.0.borrow_mut();
        stored.snapshot = snapshot.clone();
        stored.log = crate::Log::new(snapshot.last);
        rest.iter().for_each(|entry| stored.log.put(entry.clone()));
        Ok(())
    }
}

/// A small generator (splitmix64).
#[derive(Clone, Copy, Debug)]
struct Random(u64);

impl Random {
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.draw() % n
    }
}

thread_local! {
    /// What the next timeout is drawn from: that of this thread's cluster, which began it anew.
    static TIMEOUTS: Cell<Random> = const { Cell::new(Random(0)) };
}

/// Where the servers' timeouts come from.
fn timeout() -> u64 {
    let mut random = TIMEOUTS.get();
    let drawn = random.draw();
    TIMEOUTS.set(random);
    drawn
}

struct Cluster {
    now: Duration,
    random: Random,
    bug: Option<Bug>,
    disks: Vec<Memory>,
    servers: Vec<Option<Raft<Memory>>>,
    started: Vec<Duration>,
    /// Messages on their way, and when they arrive.
    wire: Vec<(Duration, ServerId, Message)>,
    /// Which servers hear each other.
    groups: Vec<u64>,
    leaders: BTreeMap<Term, ServerId>,
    applied: BTreeMap<Index, Entry>,
    seen: Vec<Index>,
    replies: Vec<ClientReply>,
}

impl Cluster {
    fn new(servers: usize, seed: u64, bug: Option<Bug>) -> Cluster {
        TIMEOUTS.set(Random(!seed));
        let mut cluster = Cluster {
            now: Duration::ZERO,
            random: Random(seed),
            bug,
            disks: Vec::new(),
            servers: Vec::new(),
            started: vec![Duration::ZERO; servers],
            wire: Vec::new(),
            groups: vec![0; servers],
            leaders: BTreeMap::new(),
            applied: BTreeMap::new(),
            seen: vec![0; servers],
            replies: Vec::new(),
        };
        for id in 0..servers {
            cluster.disks.push(Memory::default());
            cluster.servers.push(None);
            cluster.start(id);
        }
        cluster
    }

    fn start(&mut self, id: ServerId) {
        let mut config = Config::new(id, vec![([0, 0, 0, 0], 0).into(); self.groups.len()], "");
        config.snapshot_every = 8;
        config.bug = self.bug;
        let disk = self.disks[id].clone();
        let recovered = disk.0.borrow().clone();
        self.seen[id] = recovered.log.base().index;
        self.started[id] = self.now;
        self.servers[id] = Some(Raft::new(config, disk, recovered, timeout).unwrap());
    }

    /// Lets a server do something, and checks what has come of it.
    fn with(
        &mut self,
        id: ServerId,
        step: impl FnOnce(&mut Raft<Memory>, Duration) -> io::Result<()>,
    ) -> Result<(), String> {
        let Some(server) = &mut self.servers[id] else {
            return Ok(());
        };
        step(server, self.now - self.started[id]).unwrap();
        let outputs = server.outputs();
        if matches!(server.role, Role::Leader(_)) {
            let leader = *self.leaders.entry(server.term()).or_insert(id);
            if leader != id {
                return Err(format!("{leader} and {id} lead in term {}", server.term()));
            }
        }
        let applied = server.machine().applied();
        for index in self.seen[id] + 1..=applied {
            // What a snapshot has replaced was seen before, or came from another server.
            let Some(entry) = server.log.get(index) else {
                continue;
            };
            let first = self.applied.entry(index).or_insert_with(|| entry.clone());
            if first != entry {
                return Err(format!("{first:?} and {entry:?} were applied"));
            }
        }
        self.seen[id] = applied;
        self.replies.extend(outputs.replies.iter().map(|(_, r)| *r));
        for (to, message) in outputs.messages {
            let delay = match self.random.below(10) {
                0 => continue,
                1 => self.random.below(120),
                _ => 1 + self.random.below(3),
            };
            if self.groups[to] == self.groups[id] {
                let at = self.now + Duration::from_millis(delay);
                self.wire.push((at, to, message));
            }
        }
        Ok(())
    }

    /// A millisecond passes; with `troubles` something may happen.
    fn step(&mut self, troubles: bool) -> Result<(), String> {
        self.now += Duration::from_millis(1);
        let now = self.now;
        let due = |wire: &Vec<(Duration, _, _)>| wire.iter().position(|(at, _, _)| *at <= now);
        while let Some(place) = due(&self.wire) {
            let (_, to, message) = self.wire.swap_remove(place);
            self.with(to, |server, now| server.receive(now, message))?;
        }
        for id in 0..self.servers.len() {
            self.with(id, |server, now| server.tick(now))?;
        }
        if troubles {
            let id = self.random.below(self.servers.len() as u64) as usize;
            match self.random.below(1500) {
                0 => self.groups.iter_mut().for_each(|group| *group = 0),
                1..3 => self.groups[id] = 1 - self.groups[id],
                3 => self.servers[id] = None,
                4..6 if self.servers[id].is_none() => self.start(id),
                6 => self.request(id, ClientRequest::Transfer { to: (id + 1) % 3 })?,
                7..60 => self.request(id, ClientRequest::Open)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn request(&mut self, id: ServerId, request: ClientRequest) -> Result<(), String> {
        self.with(id, |server, now| server.request(now, 1, request))
    }

    /// A while with troubles, then one without, after which the cluster has to work.
    fn live(&mut self) -> Result<(), String> {
        (0..20_000).try_for_each(|_| self.step(true))?;
        self.groups.fill(0);
        for id in 0..self.servers.len() {
            if self.servers[id].is_none() {
                self.start(id);
            }
        }
        (0..4000).try_for_each(|_| self.step(false))?;
        self.replies.clear();
        for id in 0..self.servers.len() {
            self.request(id, ClientRequest::Open)?;
            self.request(id, ClientRequest::Get { key: String::new() })?;
        }
        (0..1000).try_for_each(|_| self.step(false))?;
        let has = |wanted: fn(&ClientReply) -> bool| self.replies.iter().any(wanted);
        if !has(|r| matches!(r, ClientReply::Opened(_))) || !has(|r| *r == ClientReply::Value(0)) {
            return Err(format!("no answer after the troubles: {:?}", self.replies));
        }
        Ok(())
    }
}

#[test]
fn whatever_happens_servers_agree_and_recover() {
    for seed in 0..24 {
        let mut cluster = Cluster::new([3, 5, 1, 2][seed as usize % 4], seed, None);
        cluster
            .live()
            .unwrap_or_else(|trouble| panic!("seed {seed}: {trouble}"));
    }
}

#[test]
fn planted_mistakes_are_seen() {
    for bug in [
        Bug::DoubleVote,
        Bug::SkipTruncate,
        Bug::AcceptStaleTerm,
        Bug::LeaderNoStepdown,
        Bug::PrematureCommit,
    ] {
        let found = (0..200).any(|seed| Cluster::new(3, seed, Some(bug)).live().is_err());
        assert!(found, "{bug:?}");
    }
}

#[test]
fn a_vote_is_given_once_and_only_to_who_has_all_entries() {
    let mut cluster = Cluster::new(3, 1, None);
    let mut disk = cluster.disks[0].clone();
    disk.append(&[crate::log::tests::entry(2, 1)]).unwrap();
    cluster.disks[0].0.borrow_mut().hard.term = 2;
    cluster.start(0);
    let mut granted = |from, term, index, last| {
        let body = Body::Vote {
            pre: false,
            transfer: true,
            last: crate::Position { term: last, index },
        };
        let message = Message { from, term, body };
        let server = cluster.servers[0].as_mut().unwrap();
        server.receive(Duration::ZERO, message).unwrap();
        let (_, answer) = server.outputs().messages.pop().unwrap();
        matches!(answer.body, Body::Voted { granted: true, .. })
    };
    assert!(!granted(1, 3, 9, 1), "its log ends in an earlier term");
    assert!(!granted(1, 3, 0, 2), "its log is shorter");
    assert!(granted(1, 3, 1, 2));
    assert!(granted(1, 3, 1, 2), "the same vote again");
    assert!(!granted(2, 3, 5, 2), "it has voted");
    assert!(!granted(2, 2, 5, 2), "the term is over");
    assert!(granted(2, 4, 1, 2));
    let stored = cluster.disks[0].0.borrow().hard;
    let expected = HardState {
        term: 4,
        vote: Some(2),
    };
    assert_eq!(stored, expected);
}

#[test]
fn a_lone_server_is_a_majority() {
    let mut cluster = Cluster::new(1, 1, None);
    (0..1000).for_each(|_| cluster.step(false).unwrap());
    cluster.request(0, ClientRequest::Open).unwrap();
    let session = match cluster.replies[..] {
        [ClientReply::Opened(session)] => session,
        ref replies => panic!("{replies:?}"),
    };
    for _ in 0..2 {
        let request = ClientRequest::Operate {
            session,
            sequence: 1,
            operation: Operation::Add {
                key: "a".to_owned(),
                amount: 2,
            },
        };
        cluster.request(0, request).unwrap();
        assert_eq!(cluster.replies.last(), Some(&ClientReply::Value(2)));
    }
}
