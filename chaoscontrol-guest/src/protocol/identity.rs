//! Who a VM is. All VMs are forks of one booted machine; what the host answers to
//! [`Message::Identity`](super::Message::Identity) is all that tells them apart.

use super::wire::{Error, Reader, Wire, Writer};

/// The most VMs a cluster has.
pub const MAX_VMS: usize = 16;

/// What a VM is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Runs the system under test; all faults reach it.
    Server,
    /// Uses the system under test; of all faults only those of the network reach it,
    /// unless a test asks for more.
    Client,
}

/// The IPv4 addresses of a cluster's VMs, in the order of their indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peers {
    addresses: [[u8; 4]; MAX_VMS],
    count: usize,
}

impl Peers {
    /// Takes the addresses of VM 0, VM 1 and so on.
    ///
    /// # Errors
    /// [`Error::Range`] if there are none or more than [`MAX_VMS`].
    pub fn new(addresses: &[[u8; 4]]) -> Result<Self, Error> {
        if addresses.is_empty() || addresses.len() > MAX_VMS {
            return Err(Error::Range);
        }
        let mut all = [[0; 4]; MAX_VMS];
        all[..addresses.len()].copy_from_slice(addresses);
        Ok(Self {
            addresses: all,
            count: addresses.len(),
        })
    }

    /// The addresses; index i is VM i's.
    pub fn as_slice(&self) -> &[[u8; 4]] {
        &self.addresses[..self.count]
    }
}

/// Everything that makes a forked VM itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity<'a> {
    /// This VM's number, below the number of VMs.
    pub index: u32,
    /// How many VMs, from the end, are clients; fewer than there are VMs.
    pub clients: u32,
    /// How often this VM was restarted, or its body's process killed by a fault; 0 at first.
    pub incarnation: u32,
    /// The Ethernet address of eth0.
    pub mac: [u8; 6],
    /// Length of the network's prefix in bits, 0..=32.
    pub prefix: u8,
    /// Every VM's address.
    pub peers: Peers,
    /// Whether this VM has a disk, `/dev/vda`, which is to be its directory for data.
    pub disk: bool,
    /// Wall time, in nanoseconds since 1970.
    pub wall_ns: u64,
    /// What the kernel's random generator is reseeded with.
    pub entropy: [u8; 64],
    /// How long the setup may take, in virtual nanoseconds.
    pub setup_ns: u64,
    /// How long faults are applied after the setup, in virtual nanoseconds.
    pub duration_ns: u64,
    /// How long the quiet period after the faults lasts, in virtual nanoseconds.
    pub quiet_ns: u64,
    /// This VM's host name.
    pub hostname: &'a str,
    /// The name of the test whose body is to run.
    pub test: &'a str,
}

impl<'a> Identity<'a> {
    /// What VM `index` of this cluster is there for.
    pub fn role_of(&self, index: u32) -> Role {
        let servers = self.peers.count as u32 - self.clients;
        if index < servers {
            Role::Server
        } else {
            Role::Client
        }
    }

    /// Writes the identity into `buffer` and returns its length in bytes.
    ///
    /// # Errors
    /// [`Error::Full`] if it does not fit.
    pub fn encode(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        let mut to = Writer::new(buffer);
        self.index.write(&mut to)?;
        self.clients.write(&mut to)?;
        self.incarnation.write(&mut to)?;
        self.mac.write(&mut to)?;
        self.prefix.write(&mut to)?;
        self.peers.as_slice().as_flattened().write(&mut to)?;
        self.disk.write(&mut to)?;
        self.wall_ns.write(&mut to)?;
        self.entropy.write(&mut to)?;
        self.setup_ns.write(&mut to)?;
        self.duration_ns.write(&mut to)?;
        self.quiet_ns.write(&mut to)?;
        self.hostname.write(&mut to)?;
        self.test.write(&mut to)?;
        Ok(to.written())
    }

    /// Reads an identity that fills `bytes`.
    ///
    /// # Errors
    /// Any [`Error`] but `Full`; never panics.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut from = Reader::new(bytes);
        let identity = Self {
            index: Wire::read(&mut from)?,
            clients: Wire::read(&mut from)?,
            incarnation: Wire::read(&mut from)?,
            mac: Wire::read(&mut from)?,
            prefix: Wire::read(&mut from)?,
            peers: read_peers(&mut from)?,
            disk: Wire::read(&mut from)?,
            wall_ns: Wire::read(&mut from)?,
            entropy: Wire::read(&mut from)?,
            setup_ns: Wire::read(&mut from)?,
            duration_ns: Wire::read(&mut from)?,
            quiet_ns: Wire::read(&mut from)?,
            hostname: Wire::read(&mut from)?,
            test: Wire::read(&mut from)?,
        };
        from.finish()?;
        let vms = identity.peers.count as u32;
        if identity.index >= vms || identity.clients >= vms || identity.prefix > 32 {
            return Err(Error::Range);
        }
        Ok(identity)
    }
}

fn read_peers(from: &mut Reader<'_>) -> Result<Peers, Error> {
    let (addresses, rest) = <&[u8]>::read(from)?.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(Error::Range);
    }
    Peers::new(addresses)
}
