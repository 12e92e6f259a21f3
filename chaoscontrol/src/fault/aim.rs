//! Which kinds of faults may be drawn, and for whom: what `faults = [...]` lists.

use std::fmt;
use std::ops::Range;

use super::catalogue::FaultKind;
use super::info::{Class, Shape};

/// The VMs that a kind of fault is drawn for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Whom {
    /// Servers and clients.
    Everyone,
    /// Servers only.
    Servers,
    /// Clients only.
    Clients,
}

/// A kind of fault, and whom it is drawn for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Aim {
    /// What.
    pub kind: FaultKind,
    /// At whom.
    pub whom: Whom,
}

/// Kinds that are drawn only where a test names them: hardly any program promises to survive
/// them, so what they break says little about it.
const ON_REQUEST: [FaultKind; 14] = [
    FaultKind::BitFlip,
    FaultKind::MemoryPressure,
    FaultKind::Balloon,
    FaultKind::Irq,
    FaultKind::Nmi,
    FaultKind::SpuriousInterrupt,
    FaultKind::DiskReadError,
    FaultKind::DiskWriteError,
    FaultKind::DiskFlushError,
    FaultKind::DiskTornWrite,
    FaultKind::DiskCorruption,
    FaultKind::DiskLostWrites,
    FaultKind::DiskMisdirectedWrite,
    FaultKind::DiskFull,
];

/// What follows a name that is meant for clients.
const CLIENTS: &str = " clients";

impl Aim {
    /// The kind where nothing else is said: the network's faults reach everyone, all others
    /// leave clients alone.
    pub fn of(kind: FaultKind) -> Aim {
        let whom = if kind.info().class == Class::Network {
            Whom::Everyone
        } else {
            Whom::Servers
        };
        Aim { kind, whom }
    }

    /// Every kind that software is to survive, as [`Aim::of`] has it.
    pub fn usual() -> Vec<Aim> {
        let kinds = FaultKind::all().filter(|kind| !ON_REQUEST.contains(kind));
        kinds.map(Aim::of).collect()
    }

    /// Reads `kill`, or `kill clients`.
    ///
    /// # Errors
    /// A sentence that says what is unknown, or that the fault reaches clients anyway.
    pub fn by_name(name: &str) -> Result<Aim, String> {
        let Some(name) = name.strip_suffix(CLIENTS) else {
            return FaultKind::by_name(name).map(Aim::of);
        };
        let kind = FaultKind::by_name(name)?;
        if kind.info().class == Class::Network {
            return Err(format!(
                "`{name}` reaches clients anyway: leave `clients` out"
            ));
        }
        let whom = Whom::Clients;
        Ok(Aim { kind, whom })
    }

    /// The VMs it may name in a cluster of `vms`, of which the last `clients` are clients: as
    /// one side of a partition needs another, none where there is a lone VM.
    pub(super) fn targets(self, vms: usize, clients: usize) -> Range<usize> {
        let servers = vms.saturating_sub(clients);
        let range = match self.whom {
            Whom::Everyone => 0..vms,
            Whom::Servers => 0..servers,
            Whom::Clients => servers..vms,
        };
        match self.kind.info().shape {
            Shape::Sides(_) if range.len() < 2 => 0..0,
            _ => range,
        }
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())?;
        match self.whom {
            Whom::Clients => f.write_str(CLIENTS),
            Whom::Everyone | Whom::Servers => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_whom_a_fault_is_for() {
        for aim in Aim::usual() {
            assert_eq!(Aim::by_name(&aim.to_string()), Ok(aim));
        }
        let clients = Aim::by_name("kill clients").unwrap();
        assert_eq!(clients.to_string(), "kill clients");
        assert_eq!(clients.targets(5, 2), 3..5);
        assert_eq!(Aim::by_name("kill").unwrap().targets(5, 2), 0..3);
        assert_eq!(Aim::by_name("loss").unwrap().targets(5, 2), 0..5);
        assert_eq!(Aim::by_name("partition").unwrap().targets(1, 0), 0..0);
        let wrong = |name| Aim::by_name(name).unwrap_err();
        assert!(wrong("loss clients").contains("`loss` reaches clients anyway"));
        assert!(wrong("kil clients").contains("did you mean `kill`"));
        assert!(wrong("kill servers").contains("unknown fault"));
    }
}
