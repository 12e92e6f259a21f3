//! The VM a test's body runs in, as the body sees it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::protocol::{Identity, Message, Peers, Role, STATUS_QUIET, STATUS_SETUP};
use crate::transport::{identity, send};
use crate::{Error, Faults, Result};

/// Where [`Node::data_dir`] is mounted.
pub(crate) const DATA_DIR: &str = "/data";

/// How often a waiting thread looks at the cluster's state.
const POLL: Duration = Duration::from_millis(5);

/// Another VM of the cluster, or this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer {
    /// Its number, from 0.
    pub index: usize,
    /// What it is there for.
    pub role: Role,
    /// Its address.
    pub addr: IpAddr,
}

impl Peer {
    /// Its host name, which every VM resolves.
    pub fn name(&self) -> String {
        format!("vm{}", self.index)
    }

    /// A port at its address.
    pub fn socket(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.addr, port)
    }
}

/// The VM this code runs in: a test's body gets one as its argument.
#[derive(Clone, Debug)]
pub struct Node {
    index: usize,
    clients: usize,
    incarnation: u32,
    peers: Peers,
}

impl Node {
    /// This VM. For programs that a body starts; `None` outside a test VM.
    pub fn current() -> Option<Self> {
        identity(&mut [0; 1024]).map(|identity| Self::new(&identity))
    }

    pub(crate) fn new(identity: &Identity<'_>) -> Self {
        Self {
            index: identity.index as usize,
            clients: identity.clients as usize,
            incarnation: identity.incarnation,
            peers: identity.peers,
        }
    }

    /// This VM's number: servers first, from 0, then clients.
    pub fn index(&self) -> usize {
        self.index
    }

    /// What this VM is there for.
    pub fn role(&self) -> Role {
        self.this().role
    }

    /// This VM's host name, which every VM resolves: `vm0`, `vm1`, ...
    pub fn name(&self) -> String {
        self.this().name()
    }

    /// This VM's address on the cluster's network.
    pub fn addr(&self) -> IpAddr {
        self.this().addr
    }

    /// All VMs, this one too, by index.
    pub fn vms(&self) -> Vec<Peer> {
        (0..self.count()).map(|index| self.peer(index)).collect()
    }

    /// The servers, by index; this VM too if it is one.
    pub fn servers(&self) -> Vec<Peer> {
        let servers = self.count() - self.clients;
        (0..servers).map(|index| self.peer(index)).collect()
    }

    /// The clients, by index; this VM too if it is one.
    pub fn clients(&self) -> Vec<Peer> {
        let servers = self.count() - self.clients;
        (servers..self.count())
            .map(|index| self.peer(index))
            .collect()
    }

    /// A directory for what the system under test stores.
    ///
    /// Without the key `disk` it lies in memory: it is empty whenever the body starts, since
    /// a restart of the VM **loses it**, as if the disk had been replaced.
    ///
    /// With `disk = "64M"` it is an ext4 file system on a disk of this VM's own, empty when
    /// the body starts for the first time; with `disk = "path.img"` it is what that image
    /// holds. A restart **keeps** it as the power cut left the disk: what was made durable by
    /// `fsync` (for a new file, also of its directory) is there, of the rest anything may be
    /// missing. ext4 has replayed its journal when the body starts again. If it finds itself
    /// damaged it goes read-only, and writes fail with EROFS.
    pub fn data_dir(&self) -> &'static Path {
        Path::new(DATA_DIR)
    }

    /// How often the body was started anew; 0 at first.
    ///
    /// A restart of the VM is a power cut with all memory lost: the body begins anew, in a new
    /// process, and finds what [`Node::data_dir`] kept. A fault that kills the body's process
    /// counts, too: a new one follows 100 ms later in the same VM, and finds all files as they
    /// were.
    pub fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// Tells the host that this VM's part of the setup is done. Faults begin when every
    /// server has said so.
    ///
    /// All branches of a test share what happened until then, random numbers included. From
    /// 2 virtual ms after it on, what processes draw from the kernel differs between branches.
    pub fn setup_complete(&self) {
        crate::setup_complete();
    }

    /// Whether every server has completed its setup.
    pub fn is_setup_complete(&self) -> bool {
        send(&Message::Status) & STATUS_SETUP != 0
    }

    /// Waits until every server has completed its setup.
    ///
    /// # Errors
    /// If that takes longer than `limit`.
    pub fn wait_setup(&self, limit: Duration) -> Result {
        let start = Instant::now();
        while !self.is_setup_complete() {
            if start.elapsed() >= limit {
                return Err(Error::from(format!(
                    "the servers' setup was not complete after {limit:?}"
                )));
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Whether the quiet period runs: faults are over and healed, killed VMs restarted.
    pub fn is_quiet(&self) -> bool {
        send(&Message::Status) & STATUS_QUIET != 0
    }

    /// Waits for the quiet period: what must hold after recovery is checked behind this.
    pub fn wait_quiet(&self) {
        while !self.is_quiet() {
            std::thread::sleep(POLL);
        }
    }

    /// A program to run in this VM beside the body: by its file name one of those that the
    /// test packs (`binaries`), by its path any file.
    #[cfg(unix)]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> crate::Command {
        crate::Command::new(program.as_ref())
    }

    /// Orders faults from within the body.
    pub fn faults(&self) -> Faults {
        Faults(())
    }

    fn count(&self) -> usize {
        self.peers.as_slice().len()
    }

    fn this(&self) -> Peer {
        self.peer(self.index)
    }

    fn peer(&self, index: usize) -> Peer {
        Peer {
            index,
            role: if index < self.count() - self.clients {
                Role::Server
            } else {
                Role::Client
            },
            addr: IpAddr::V4(Ipv4Addr::from(self.peers.as_slice()[index])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_knows_its_cluster() {
        let addresses = [[10, 0, 0, 1], [10, 0, 0, 2], [10, 0, 0, 3]];
        let node = Node {
            index: 2,
            clients: 1,
            incarnation: 0,
            peers: Peers::new(&addresses).unwrap(),
        };
        assert_eq!(node.role(), Role::Client);
        assert_eq!(node.name(), "vm2");
        assert_eq!(node.addr(), IpAddr::from([10, 0, 0, 3]));
        let indices = |peers: Vec<Peer>| peers.iter().map(|peer| peer.index).collect::<Vec<_>>();
        assert_eq!(indices(node.vms()), [0, 1, 2]);
        assert_eq!(indices(node.servers()), [0, 1]);
        assert_eq!(indices(node.clients()), [2]);
        assert_eq!(node.servers()[1].socket(80).to_string(), "10.0.0.2:80");
    }
}
