//! Boots the one machine that all VMs of a cluster are forks of.

use crate::machine::boot::BootError;
use crate::machine::{DeterministicVm, OutputKind, Stop, Until, VmConfig, VmSnapshot};

/// Virtual time in ns within which user space must be up.
const LIMIT_NS: u64 = 30_000_000_000;
/// Console lines that an error quotes.
const QUOTED: usize = 20;

/// Why a machine did not come up.
#[derive(Debug, thiserror::Error)]
pub enum BootFailure {
    /// It could not be made.
    #[error(transparent)]
    Load(#[from] BootError),
    /// It stopped, or did nothing of use, before the agent said that it runs.
    #[error("the guest {what} before its agent started; its console's last lines:\n{console}")]
    Guest {
        /// What it did.
        what: String,
        /// The last lines of COM1.
        console: String,
    },
}

/// Boots a machine until its agent says that user space is up.
///
/// # Errors
/// See [`BootFailure`].
pub fn boot(config: VmConfig) -> Result<VmSnapshot, BootFailure> {
    let mut vm = DeterministicVm::new(config)?;
    let stop = vm.run(&Until {
        time: Some(LIMIT_NS),
        boot: true,
        ..Until::default()
    });
    let outputs = vm.take_outputs();
    if stop == Stop::Boot {
        // What only booting takes says nothing of a branch.
        vm.clear_guest_edges();
        return Ok(vm.snapshot());
    }
    let what = match vm.off() {
        Some(off) => format!("went off ({off})"),
        None => format!("ran for {} virtual s", LIMIT_NS / 1_000_000_000),
    };
    let lines: Vec<String> = outputs
        .iter()
        .filter_map(|output| match &output.kind {
            OutputKind::Serial(line) => Some(String::from_utf8_lossy(line).into_owned()),
            _ => None,
        })
        .collect();
    let console = lines[lines.len().saturating_sub(QUOTED)..].join("\n");
    Err(BootFailure::Guest { what, console })
}
