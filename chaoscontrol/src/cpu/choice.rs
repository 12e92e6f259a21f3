//! Which engine this host is good for, and in which words that is said.

use std::sync::OnceLock;

use super::Engine;

/// What there is to say of this host's KVM; each a phrase that begins with the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostKvm {
    /// It runs guests as fast as hardware does.
    Usable(String),
    /// It is there, and too slow or not whole.
    Poor(String),
    /// It cannot be used.
    Absent(String),
}

impl HostKvm {
    /// What the probe finds, which runs once in a process, at the first call.
    pub fn look() -> &'static HostKvm {
        static FOUND: OnceLock<HostKvm> = OnceLock::new();
        FOUND.get_or_init(look)
    }

    /// The engine of whoever leaves the choice to this host, and a line that says why.
    pub fn chosen(&self) -> (Engine, String) {
        match self {
            HostKvm::Usable(line) => (Engine::Kvm, format!("{line}: using it")),
            HostKvm::Poor(line) | HostKvm::Absent(line) => {
                (Engine::Soft, format!("{line}: using the software CPU"))
            }
        }
    }
}

#[cfg(supported_host)]
fn look() -> HostKvm {
    match super::kvm::probe() {
        Ok(probe) if probe.usable() => HostKvm::Usable(probe.to_string()),
        Ok(probe) => HostKvm::Poor(probe.to_string()),
        Err(error) => HostKvm::Absent(error.to_string()),
    }
}

#[cfg(not(supported_host))]
fn look() -> HostKvm {
    HostKvm::Absent("KVM is for x86-64 Linux hosts".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_usable_kvm_is_chosen() {
        let line = || "/dev/kvm opens, but runs ring 0 at 2 MIPS".to_owned();
        let wanted = "/dev/kvm opens, but runs ring 0 at 2 MIPS: using the software CPU";
        assert_eq!(
            HostKvm::Poor(line()).chosen(),
            (Engine::Soft, wanted.into())
        );
        assert_eq!(HostKvm::Absent(line()).chosen().0, Engine::Soft);
        assert_eq!(HostKvm::Usable(line()).chosen().0, Engine::Kvm);
    }
}
