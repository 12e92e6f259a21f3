//! Whether this host has a KVM that the engine can use, and if not, what to do about it.

use kvm_ioctls::Kvm;

/// Why the KVM engine cannot be used, or failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KvmError {
    /// `/dev/kvm` does not open.
    #[error("/dev/kvm cannot be opened: {0}")]
    Open(String),
}

/// Opens `/dev/kvm`.
///
/// # Errors
/// It cannot be opened.
pub fn open() -> Result<Kvm, KvmError> {
    Kvm::new().map_err(|e| KvmError::Open(e.to_string()))
}
