//! The guest kernel: named by the user, found in the cache, or built once per machine
//! from the distribution's kernel source with the project's own configuration.

mod build;
mod fetch;
mod recipe;

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

use super::cache::{self, Lock};

pub use super::steps::Say;
pub use recipe::{Patch, Variant};

/// Why there is no guest kernel.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The named kernel cannot be read.
    #[error("the guest kernel {path} (named by {by}) cannot be read: {source}")]
    Read {
        /// The file.
        path: String,
        /// Who named it.
        by: String,
        /// What the host said.
        source: io::Error,
    },
    /// The named file is no kernel for this machine.
    #[error(
        "{path} (named by {by}) is not a guest kernel: {why}; name an x86-64 ELF vmlinux or bzImage, or none to have one built"
    )]
    Unusable {
        /// The file.
        path: String,
        /// Who named it.
        by: String,
        /// What it is instead.
        why: String,
    },
    /// Building is forbidden and nothing is cached.
    #[error(
        "no guest kernel is cached in {0} and CHAOS_OFFLINE is set; unset it once to have one built, or set CHAOS_KERNEL to a vmlinux"
    )]
    Offline(String),
    /// The cache cannot be written.
    #[error(
        "the cache folder {path} cannot be used: {source}; set CHAOS_CACHE to a folder with 2.5 GiB of room"
    )]
    Cache {
        /// The folder or file.
        path: String,
        /// What the host said.
        source: io::Error,
    },
    /// A step of the build failed for want of room.
    #[error(
        "the disk under {path} has too little room ({room} MiB are left): {step} failed: {why}; make 2.5 GiB of room there, or set CHAOS_CACHE to a folder that has them"
    )]
    Full {
        /// The folder of the kernel.
        path: String,
        /// MiB left.
        room: u64,
        /// What was being done.
        step: String,
        /// What went wrong.
        why: String,
    },
    /// A step of the build failed.
    #[error(
        "the guest kernel could not be built: {step} failed: {why}; its log is {log}\n{tail}\nways out: mend that and run again; set CHAOS_KERNEL to an x86-64 vmlinux; set CHAOS_KERNEL_SOURCE to a Linux 6.12 source tree or tarball"
    )]
    Step {
        /// What was being done.
        step: String,
        /// What went wrong.
        why: String,
        /// The log file.
        log: String,
        /// The log's last lines.
        tail: String,
    },
}

/// Which kernel is wanted.
#[derive(Clone, Debug, Default)]
pub struct KernelRequest {
    /// A vmlinux, a bzImage, or the name of a [`Variant`], and who named it (`CHAOS_KERNEL`
    /// goes before it).
    pub named: Option<(PathBuf, String)>,
}

/// A guest kernel as it will be booted.
#[derive(Clone, Debug)]
pub struct KernelImage {
    /// Where it lies.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: Arc<[u8]>,
    /// XXH3-128 of the bytes.
    pub hash: u128,
}

/// Finds the kernel that `request` asks for, the default one if it names none, building it if
/// it is one of ours and nobody has yet.
///
/// # Errors
/// See [`KernelError`].
pub fn locate(request: &KernelRequest, say: Say<'_>) -> Result<KernelImage, KernelError> {
    let named = env::var_os("CHAOS_KERNEL").filter(|v| !v.is_empty());
    let named = named.map(|path| (PathBuf::from(path), "CHAOS_KERNEL".to_owned()));
    match named.or_else(|| request.named.clone()) {
        None => provide(Variant::default(), say),
        Some((path, by)) => match path.to_str().and_then(Variant::by_name) {
            Some(variant) => provide(variant, say),
            None => load(&path, &by),
        },
    }
}

/// The kernel of this variant, built if nobody has yet.
///
/// # Errors
/// See [`KernelError`].
pub fn provide(variant: Variant, say: Say<'_>) -> Result<KernelImage, KernelError> {
    if let Some(image) = cached(variant)? {
        return Ok(image);
    }
    let home = home(variant);
    if cache::offline() {
        return Err(KernelError::Offline(home.display().to_string()));
    }
    let lock = home.join("lock");
    let _lock = Lock::take(&lock, || {
        say("waiting for another process that builds the guest kernel")
    })
    .map_err(|source| KernelError::Cache {
        path: lock.display().to_string(),
        source,
    })?;
    if let Some(image) = cached(variant)? {
        return Ok(image);
    }
    build::build(variant, &home, say)?;
    cached(variant)?.ok_or_else(|| KernelError::Cache {
        path: home.display().to_string(),
        source: io::Error::new(io::ErrorKind::NotFound, "the kernel just built is gone"),
    })
}

/// The kernel of this variant if it has been built; never builds.
///
/// # Errors
/// The cached file is there but cannot be read or used.
pub fn cached(variant: Variant) -> Result<Option<KernelImage>, KernelError> {
    let path = home(variant).join("vmlinux");
    if path.exists() {
        load(&path, "the cache").map(Some)
    } else {
        Ok(None)
    }
}

/// The folder of the kernel that the current recipe makes.
pub fn home(variant: Variant) -> PathBuf {
    let name = format!("{}-{:016x}", variant.name(), variant.key());
    cache::folder().join("kernel").join(name)
}

/// Puts the file `path` into the cache as the kernel of the current recipe.
///
/// # Errors
/// It is no kernel, or the cache cannot be written.
pub fn import(variant: Variant, path: &Path) -> Result<KernelImage, KernelError> {
    let image = load(path, "the import")?;
    let home = home(variant);
    let failed = |source| KernelError::Cache {
        path: home.display().to_string(),
        source,
    };
    fs::create_dir_all(&home).map_err(failed)?;
    cache::write_whole(&home.join("vmlinux"), &image.bytes).map_err(failed)?;
    Ok(image)
}

fn load(path: &Path, by: &str) -> Result<KernelImage, KernelError> {
    let display = path.display().to_string();
    let bytes = fs::read(path).map_err(|source| KernelError::Read {
        path: display.clone(),
        by: by.to_owned(),
        source,
    })?;
    if let Some(why) = unusable(&bytes) {
        return Err(KernelError::Unusable {
            path: display,
            by: by.to_owned(),
            why: why.to_owned(),
        });
    }
    Ok(KernelImage {
        path: path.to_owned(),
        hash: xxh3_128(&bytes),
        bytes: bytes.into(),
    })
}

/// What is wrong with `bytes` as a kernel, by their headers.
fn unusable(bytes: &[u8]) -> Option<&'static str> {
    /// `e_machine` of x86-64.
    const X86_64: [u8; 2] = [62, 0];
    if bytes.get(0x202..0x206) == Some(b"HdrS") {
        return None;
    }
    if !bytes.starts_with(b"\x7fELF") {
        return Some("it is neither ELF nor bzImage");
    }
    match (bytes.get(4), bytes.get(18..20)) {
        (Some(2), Some(machine)) if machine == X86_64 => None,
        (Some(1), _) => Some("it is a 32-bit ELF file"),
        _ => Some("it is an ELF file for another processor"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_kernel_is_said() {
        assert_eq!(
            unusable(b"#!/bin/sh"),
            Some("it is neither ELF nor bzImage")
        );
        assert_eq!(unusable(b"\x7fELF\x01"), Some("it is a 32-bit ELF file"));
        let mut arm = b"\x7fELF\x02".to_vec();
        arm.resize(64, 0);
        arm[18] = 183;
        assert_eq!(
            unusable(&arm),
            Some("it is an ELF file for another processor")
        );
        arm[18] = 62;
        assert_eq!(unusable(&arm), None);
    }

    #[test]
    fn a_named_kernel_that_is_missing_says_who_named_it() {
        let error = load(Path::new("/no/such/vmlinux"), "the attribute")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("/no/such/vmlinux") && error.contains("the attribute"),
            "{error}"
        );
    }
}
