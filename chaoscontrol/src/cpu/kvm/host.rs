//! Whether this host has a KVM that the engine can use, and if not, what to do about it.
//!
//! There are many reasons why it may not: no such processor, no module, no permission, a
//! kernel that is too old. Each has another remedy, so each is told apart here.

use std::env;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use kvm_bindings as kvm;
use kvm_ioctls::Kvm;

/// The variable that names another device than [`DEVICE`].
pub const VARIABLE: &str = "CHAOS_KVM_DEVICE";
/// The device of all hosts that have one.
const DEVICE: &str = "/dev/kvm";
/// The only version of the interface that was ever released.
const VERSION: i32 = 12;

/// Why the KVM engine cannot be used, or failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum KvmError {
    /// There is no such device.
    #[error("{} does not exist: {remedy}", device.display())]
    Missing {
        /// The device.
        device: PathBuf,
        /// What to do.
        remedy: &'static str,
    },
    /// There is one, for others.
    #[error("{} may not be opened by this user: {remedy}", device.display())]
    Permission {
        /// The device.
        device: PathBuf,
        /// Whose it is, and what to do.
        remedy: String,
    },
    /// It does not open for another reason.
    #[error("{} does not open: {why}; {remedy}", device.display())]
    Open {
        /// The device.
        device: PathBuf,
        /// The system's words.
        why: String,
        /// What to do.
        remedy: &'static str,
    },
    /// It opens, and is something else.
    #[error("{} is no KVM device: it answers {answer} where KVM has version {VERSION}; name the right one in {VARIABLE}", device.display())]
    Version {
        /// The device.
        device: PathBuf,
        /// What KVM_GET_API_VERSION returned.
        answer: i32,
    },
    /// The host's kernel is too old.
    #[error("{} lacks {}: update this host's kernel, or use engine = \"soft\"", device.display(), lacking(missing))]
    Capabilities {
        /// The device.
        device: PathBuf,
        /// What is missing: name, and the first Linux that has it.
        missing: Vec<(&'static str, &'static str)>,
    },
    /// KVM refused a request, or ended the guest.
    #[error("KVM failed to {what}: {why}")]
    Call {
        /// What was asked for, as in "make a VM".
        what: &'static str,
        /// The system's words, or the reason of an exit.
        why: String,
    },
}

impl KvmError {
    /// The error of an ioctl that was to do `what`.
    pub fn call(what: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> KvmError {
        move |error| KvmError::Call {
            what,
            why: io::Error::from(error).to_string(),
        }
    }
}

/// What the engine needs: number, name, and the first Linux that has it on x86-64.
#[rustfmt::skip]
const CAPABILITIES: [(u32, &str, &str); 10] = [
    (kvm::KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY", "2.6"),
    (kvm::KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID", "2.6"),
    (kvm::KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE", "2.6"),
    (kvm::KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS", "2.6"),
    (kvm::KVM_CAP_DEBUGREGS, "KVM_CAP_DEBUGREGS", "2.6"),
    (kvm::KVM_CAP_XCRS, "KVM_CAP_XCRS", "2.6"),
    (kvm::KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT", "4.11"),
    (kvm::KVM_CAP_SYNC_REGS, "KVM_CAP_SYNC_REGS", "4.17"),
    (kvm::KVM_CAP_X86_USER_SPACE_MSR, "KVM_CAP_X86_USER_SPACE_MSR", "5.10"),
    (kvm::KVM_CAP_X86_MSR_FILTER, "KVM_CAP_X86_MSR_FILTER", "5.10"),
];

/// The device that `CHAOS_KVM_DEVICE` names, else `/dev/kvm`.
pub fn device() -> PathBuf {
    match env::var_os(VARIABLE) {
        Some(name) if !name.is_empty() => name.into(),
        _ => DEVICE.into(),
    }
}

/// Opens [`device`] and sees that it can do all that the engine needs.
///
/// # Errors
/// It does not open, or lacks something.
pub fn open() -> Result<Kvm, KvmError> {
    let device = device();
    let name = CString::new(device.as_os_str().as_encoded_bytes()).unwrap_or_default();
    let kvm = Kvm::new_with_path(name).map_err(|error| refused(&device, error.into()))?;
    match kvm.get_api_version() {
        VERSION => {}
        answer => return Err(KvmError::Version { device, answer }),
    }
    let missing = missing(|number| kvm.check_extension_raw(number.into()) > 0);
    if missing.is_empty() {
        Ok(kvm)
    } else {
        Err(KvmError::Capabilities { device, missing })
    }
}

/// What a KVM that `has` some capabilities lacks.
fn missing(has: impl Fn(u32) -> bool) -> Vec<(&'static str, &'static str)> {
    let all = CAPABILITIES.iter();
    all.filter(|(number, ..)| !has(*number))
        .map(|(_, name, since)| (*name, *since))
        .collect()
}

fn lacking(missing: &[(&str, &str)]) -> String {
    let each = missing
        .iter()
        .map(|(name, since)| format!("{name} (in Linux since {since})"));
    each.collect::<Vec<_>>().join(", ")
}

/// Why `device` did not open, with what the host says of itself.
fn refused(device: &Path, error: io::Error) -> KvmError {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) => KvmError::Missing {
            device: device.to_owned(),
            remedy: absent(
                device == Path::new(DEVICE),
                &fs::read_to_string("/proc/cpuinfo").unwrap_or_default(),
            ),
        },
        Some(libc::EACCES) => KvmError::Permission {
            device: device.to_owned(),
            remedy: denied(
                fs::metadata(device).ok().map(|m| (m.gid(), m.mode())),
                &fs::read_to_string("/etc/group").unwrap_or_default(),
            ),
        },
        other => KvmError::Open {
            device: device.to_owned(),
            why: error.to_string(),
            remedy: match other {
                Some(libc::EPERM) => {
                    "a container must be given it, for instance by `docker run --device /dev/kvm`"
                }
                Some(libc::ENODEV | libc::ENXIO) => {
                    "nothing stands behind it: load the module with `sudo modprobe kvm_amd` or \
                     `kvm_intel`"
                }
                _ => "`dmesg` may say more",
            },
        },
    }
}

/// What to do about a device that is not there.
fn absent(usual: bool, cpuinfo: &str) -> &'static str {
    let flags = || cpuinfo.lines().filter(|line| line.starts_with("flags"));
    let has = |flag| flags().any(|line| line.split_whitespace().any(|word| word == flag));
    if !usual {
        "name the right one in CHAOS_KVM_DEVICE, or leave that away for /dev/kvm"
    } else if has("svm") {
        "load the module with `sudo modprobe kvm_amd`; a container must be given the device"
    } else if has("vmx") {
        "load the module with `sudo modprobe kvm_intel`; a container must be given the device"
    } else if has("hypervisor") {
        "this is a virtual machine without svm or vmx in /proc/cpuinfo: switch nested \
         virtualization on at its host, or use engine = \"soft\""
    } else {
        "/proc/cpuinfo has neither svm nor vmx: switch virtualization on in the firmware's \
         settings, or use engine = \"soft\""
    }
}

/// What to do about a device of this group and mode that is for others.
fn denied(owner: Option<(u32, u32)>, groups: &str) -> String {
    const GROUP_MAY: u32 = 0o060;
    let Some((gid, mode)) = owner else {
        return "nor may its folder be read; run as a user who may".to_owned();
    };
    let named = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(gid)).then_some(name)
    });
    let number = gid.to_string();
    let group = named.unwrap_or(&number);
    if mode & GROUP_MAY == GROUP_MAY {
        format!(
            "it belongs to group `{group}`; join it with `sudo usermod -aG {group} $USER`, and log in again"
        )
    } else {
        format!(
            "its mode {:04o} shuts out even its group `{group}`; open it with `sudo chmod 0660`, or for one user with `sudo setfacl -m u:$USER:rw`",
            mode & 0o7777
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_device_has_the_remedy_that_fits_the_host() {
        for (cpuinfo, wanted) in [
            ("flags\t: fpu svm sse\n", "modprobe kvm_amd"),
            ("flags\t: fpu vmx\n", "modprobe kvm_intel"),
            ("flags\t: fpu hypervisor\n", "nested virtualization"),
            ("model name\t: svm\nflags\t: fpu\n", "firmware"),
            ("", "firmware"),
        ] {
            let said = absent(true, cpuinfo);
            assert!(said.contains(wanted), "{cpuinfo:?}: {said}");
        }
        assert!(absent(false, "flags: svm").contains(VARIABLE));
    }

    #[test]
    fn a_device_for_others_names_its_group() {
        let groups = "root:x:0:\nkvm:x:104:ada,bob\n";
        let said = denied(Some((104, 0o20660)), groups);
        assert!(said.contains("group `kvm`") && said.contains("usermod -aG kvm"));
        let said = denied(Some((7, 0o20660)), groups);
        assert!(said.contains("group `7`"), "{said}");
        let said = denied(Some((0, 0o20600)), groups);
        assert!(said.contains("0600") && said.contains("setfacl"), "{said}");
        assert!(denied(None, groups).contains("folder"));
    }

    #[test]
    fn an_old_kernel_is_told_by_what_it_lacks() {
        assert_eq!(missing(|_| true), []);
        let error = KvmError::Capabilities {
            device: DEVICE.into(),
            missing: missing(|number| {
                ![kvm::KVM_CAP_SYNC_REGS, kvm::KVM_CAP_X86_MSR_FILTER].contains(&number)
            }),
        };
        assert_eq!(
            error.to_string(),
            "/dev/kvm lacks KVM_CAP_SYNC_REGS (in Linux since 4.17), KVM_CAP_X86_MSR_FILTER (in Linux since 5.10): \
             update this host's kernel, or use engine = \"soft\""
        );
    }

    #[test]
    fn errors_of_the_system_are_told_apart() {
        let refused = |device: &str, errno| {
            refused(Path::new(device), io::Error::from_raw_os_error(errno)).to_string()
        };
        assert!(refused("/nope", libc::ENOENT).starts_with("/nope does not exist: name the"));
        assert!(refused("/dev/null", libc::EACCES).contains("may not be opened by this user"));
        assert!(refused("/dev/kvm", libc::EPERM).contains("--device /dev/kvm"));
        assert!(refused("/dev/kvm", libc::ENODEV).contains("modprobe"));
        assert!(refused("/dev/kvm", libc::EIO).contains("dmesg"));
    }
}
