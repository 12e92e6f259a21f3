//! Network interfaces, by the old ioctls: a handful of system calls and no netlink.

use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use libc::{c_char, c_int, c_short, ifreq};

use super::{AgentError, check};
use crate::protocol::Identity;

/// Brings the loopback interface up.
pub fn loopback_up() -> Result<(), AgentError> {
    Interface::open("lo")?.up()
}

/// Gives eth0 this VM's addresses and brings it up.
pub fn join(identity: &Identity<'_>) -> Result<(), AgentError> {
    let eth0 = Interface::open("eth0")?;
    eth0.set_mac(identity.mac)?;
    let own = identity.peers.as_slice()[identity.index as usize];
    eth0.set_address(libc::SIOCSIFADDR, own, "address")?;
    eth0.set_address(libc::SIOCSIFNETMASK, netmask(identity.prefix), "netmask")?;
    eth0.up()
}

/// The mask of a prefix of 0..=32 bits.
fn netmask(prefix: u8) -> [u8; 4] {
    u32::MAX
        .checked_shl(32 - u32::from(prefix))
        .unwrap_or(0)
        .to_be_bytes()
}

struct Interface {
    name: &'static str,
    socket: OwnedFd,
}

impl Interface {
    fn open(name: &'static str) -> Result<Self, AgentError> {
        // SAFETY: socket(2) takes integers only.
        let socket =
            unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
        let socket = check(socket, || format!("cannot open a socket for {name}"))?;
        // SAFETY: the descriptor was opened above and has no other owner.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        Ok(Self { name, socket })
    }

    fn request(&self) -> ifreq {
        // SAFETY: all-zero bytes are a valid `ifreq`, a struct of integers and a union of
        // such.
        let mut request: ifreq = unsafe { mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(self.name.bytes()) {
            *to = from as c_char;
        }
        request
    }

    fn ioctl(
        &self,
        code: libc::c_ulong,
        request: &mut ifreq,
        what: &str,
    ) -> Result<(), AgentError> {
        // SAFETY: the codes used here read and write one `ifreq`, which is exclusively
        // borrowed for the call.
        let answer = unsafe { libc::ioctl(self.socket.as_raw_fd(), code as _, request) };
        check(answer, || format!("cannot set the {what} of {}", self.name)).map(drop)
    }

    fn set_mac(&self, mac: [u8; 6]) -> Result<(), AgentError> {
        let mut request = self.request();
        let mut address = libc::sockaddr {
            sa_family: libc::ARPHRD_ETHER,
            sa_data: [0; 14],
        };
        for (to, from) in address.sa_data.iter_mut().zip(mac) {
            *to = from as c_char;
        }
        request.ifr_ifru.ifru_hwaddr = address;
        self.ioctl(libc::SIOCSIFHWADDR, &mut request, "hardware address")
    }

    fn set_address(
        &self,
        code: libc::c_ulong,
        address: [u8; 4],
        what: &str,
    ) -> Result<(), AgentError> {
        let mut request = self.request();
        // A `sockaddr_in` behind its family: a port of two bytes, then the address.
        let mut socket = libc::sockaddr {
            sa_family: libc::AF_INET as libc::sa_family_t,
            sa_data: [0; 14],
        };
        for (to, from) in socket.sa_data[2..].iter_mut().zip(address) {
            *to = from as c_char;
        }
        request.ifr_ifru.ifru_addr = socket;
        self.ioctl(code, &mut request, what)
    }

    fn up(&self) -> Result<(), AgentError> {
        let mut request = self.request();
        let flags: c_int = libc::IFF_UP | libc::IFF_RUNNING;
        request.ifr_ifru.ifru_flags = flags as c_short;
        self.ioctl(libc::SIOCSIFFLAGS, &mut request, "flags")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_become_masks() {
        assert_eq!(netmask(0), [0; 4]);
        assert_eq!(netmask(24), [255, 255, 255, 0]);
        assert_eq!(netmask(32), [255; 4]);
    }
}
