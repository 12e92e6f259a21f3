//! Which packed programs hold instructions that hardware does not withhold from a guest.
//!
//! The KVM engine hides extensions in CPUID, and most programs ask before they use one. A
//! program that does not gets the host's random numbers, or runs here and dies there. No
//! exit tells of it, so all there is to do is to look at the code beforehand.

mod classes;
mod sweep;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use classes::{Class, KINDS, Kind};
use sweep::Site;

/// Why a file was not scanned.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// It cannot be read.
    #[error("{path} cannot be read for instructions that hardware does not withhold: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the host said.
        source: io::Error,
    },
    /// It is not an ELF file, or a broken one.
    #[error("{path} cannot be scanned for instructions that hardware does not withhold: {why}")]
    Broken {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
}

/// A program to scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Where it is on the host, with its symbols.
    pub host: PathBuf,
    /// What findings call it: its path in the guest.
    pub guest: String,
}

/// Instructions of one kind in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file's path in the guest.
    pub file: String,
    /// Which instructions.
    pub kind: &'static Kind,
    /// How many.
    pub count: u64,
    /// The first of each function, of the first functions, by address.
    pub places: Vec<Place>,
    /// Whether the code is known to ask CPUID before it executes any of them.
    pub asks: bool,
}

/// Where an instruction is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The function, as the linker knows it, if a symbol covers it.
    pub symbol: Option<String>,
    /// Bytes from the start of the function, else the address in the file.
    pub offset: u64,
}

impl Place {
    fn of(site: &Site) -> Place {
        let start = site.function.as_ref().map_or(0, |(_, start)| *start);
        Place {
            symbol: site.function.as_ref().map(|(name, _)| name.clone()),
            offset: site.address - start,
        }
    }
}

/// Functions kept of a finding.
const PLACES: usize = 16;

/// Code that was read, and asks CPUID first: the start of the file's name, a part of the
/// symbol's, the kind.
const ASKS: [(&str, &str, &str); 10] = [
    // Lock elision, behind CPUID and a tunable.
    ("libc.so.", "", "XBEGIN"),
    ("libpthread", "", "XBEGIN"),
    // The default source of `std::random_device`.
    ("libstdc++.so.", "", "RDRAND"),
    ("libstdc++.so.", "", "RDSEED"),
    // OpenSSL and what descends from it: hidden in its library, named where linked in.
    ("libcrypto.so.", "", "RDRAND"),
    ("libcrypto.so.", "", "RDSEED"),
    ("", "OPENSSL_ia32_rdrand", "RDRAND"),
    ("", "OPENSSL_ia32_rdseed", "RDSEED"),
    ("", "CRYPTO_rdrand", "RDRAND"),
    ("", "CRYPTO_rdseed", "RDSEED"),
];

/// Scans `programs` in their order; what is found in a file is in the order of [`KINDS`].
/// A file that cannot be scanned does not keep the others from it.
pub fn scan(programs: &[Program]) -> (Vec<Finding>, Vec<ScanError>) {
    let mut findings = Vec::new();
    let mut errors = Vec::new();
    for program in programs {
        match scan_one(program) {
            Ok(found) => findings.extend(found),
            Err(error) => errors.push(error),
        }
    }
    (findings, errors)
}

fn scan_one(program: &Program) -> Result<Vec<Finding>, ScanError> {
    let path = || program.host.display().to_string();
    let data = fs::read(&program.host).map_err(|source| ScanError::Read {
        path: path(),
        source,
    })?;
    let sites = sweep::sites(&data).map_err(|why| ScanError::Broken { path: path(), why })?;
    Ok(gather(&program.guest, &sites))
}

/// Findings from the instructions of one file, which come by address.
fn gather(file: &str, sites: &[Site]) -> Vec<Finding> {
    let of_kind = |at: usize| {
        let sites: Vec<&Site> = sites.iter().filter(|site| site.kind == at).collect();
        let kind = &KINDS[at];
        let mut places: Vec<Place> = sites.iter().map(|site| Place::of(site)).collect();
        let asks = places.iter().all(|place| asks(file, place, kind.name));
        places.dedup_by(|a, b| a.symbol.is_some() && a.symbol == b.symbol);
        places.truncate(PLACES);
        (!sites.is_empty()).then(|| Finding {
            file: file.to_owned(),
            kind,
            count: sites.len() as u64,
            places,
            asks,
        })
    };
    (0..KINDS.len()).filter_map(of_kind).collect()
}

fn asks(file: &str, place: &Place, kind: &str) -> bool {
    let name = Path::new(file).file_name().unwrap_or_default();
    let name = name.to_string_lossy();
    let symbol = place.symbol.as_deref().unwrap_or_default();
    ASKS.iter()
        .any(|known| name.starts_with(known.0) && symbol.contains(known.1) && kind == known.2)
}

#[cfg(test)]
mod tests;
