//! What a test says of instructions in its programs that KVM cannot withhold from a guest.
//!
//! A report names those whose outcome is the host's, unless the code is known to ask CPUID
//! first: they can make two runs differ. `cargo chaos doctor` shows all that was found.

use super::count::count;
use super::symbolize::demangle;
use crate::image::opcodes::{Class, Finding, Place, Program, scan};

/// Functions that a line names.
const NAMED: usize = 4;
/// Functions that the doctor names for an extension.
const SAMPLES: usize = 2;

/// What a run on KVM has to be warned of, a phrase each.
pub fn unwithheld(programs: &[Program]) -> Vec<String> {
    let (findings, errors) = scan(programs);
    let warned = findings
        .iter()
        .filter(|finding| finding.kind.class == Class::Host && !finding.asks)
        .map(warning);
    warned
        .chain(errors.iter().map(ToString::to_string))
        .collect()
}

/// All that was found, a line each.
pub fn overview(programs: &[Program]) -> Vec<String> {
    let (findings, errors) = scan(programs);
    let host = findings.iter().filter(|f| f.kind.class == Class::Host);
    let mut lines: Vec<String> = host
        .map(|finding| match finding.asks {
            true => format!("{}, asks CPUID first", found(finding)),
            false => warning(finding),
        })
        .collect();
    let mut extensions = Vec::new();
    for program in programs {
        let beyond = |f: &&Finding| f.kind.class == Class::Beyond && f.file == program.guest;
        let kinds: Vec<String> = findings.iter().filter(beyond).map(extension).collect();
        if !kinds.is_empty() {
            extensions.push(format!("  {} has {}", program.guest, kinds.join("; ")));
        }
    }
    if !extensions.is_empty() {
        lines.push("instructions beyond the guest's CPU execute where the host has them:".into());
        lines.append(&mut extensions);
    }
    lines.extend(errors.iter().map(ToString::to_string));
    lines
}

fn warning(finding: &Finding) -> String {
    format!(
        "{}: {}, which KVM cannot withhold on every host; runs differ if it executes without asking CPUID first",
        found(finding),
        finding.kind.yields
    )
}

fn found(finding: &Finding) -> String {
    let Finding { file, places, .. } = finding;
    let named: Vec<String> = places.iter().take(NAMED).map(place).collect();
    let more = match places.len().saturating_sub(NAMED) {
        0 => "",
        _ => " and more",
    };
    let (name, times) = (finding.kind.name, count(finding.count, "time"));
    format!("{file} has {name} {times}, in {}{more}", named.join(", "))
}

/// An extension with some of the functions that use it, as far as they have names.
fn extension(finding: &Finding) -> String {
    let named = finding.places.iter().filter(|place| place.symbol.is_some());
    // Copies of a generic function have one name.
    let mut samples: Vec<String> = named.map(place).collect();
    samples.dedup();
    samples.truncate(SAMPLES);
    let times = count(finding.count, "time");
    match samples.is_empty() {
        true => format!("{} {times}", finding.kind.name),
        false => format!("{} {times} ({}, ..)", finding.kind.name, samples.join(", ")),
    }
}

fn place(place: &Place) -> String {
    match &place.symbol {
        Some(symbol) => format!("{}+{:#x}", demangle(symbol), place.offset),
        None => format!("{:#x}", place.offset),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::opcodes::KINDS;

    fn finding(kind: &str, asks: bool, places: &[(Option<&str>, u64)]) -> Finding {
        let place = |(symbol, offset): &(Option<&str>, u64)| Place {
            symbol: symbol.map(str::to_owned),
            offset: *offset,
        };
        Finding {
            file: "/init".into(),
            kind: KINDS.iter().find(|k| k.name == kind).unwrap(),
            count: 7,
            places: places.iter().map(place).collect(),
            asks,
        }
    }

    #[test]
    fn a_warning_names_file_and_functions() {
        let places = [
            (Some("_ZN4raft4seed17h0123456789abcdefE"), 0x1F),
            (Some("draw"), 0),
            (None, 0x40_1058),
            (Some("a"), 1),
            (Some("b"), 2),
        ];
        assert_eq!(
            warning(&finding("RDRAND", false, &places)),
            "/init has RDRAND 7 times, in raft::seed+0x1f, draw+0x0, 0x401058, a+0x1 and more: the host's random numbers, \
             which KVM cannot withhold on every host; runs differ if it executes without asking CPUID first"
        );
    }

    #[test]
    fn an_extension_is_counted_with_samples() {
        let places = [
            (None, 1),
            (Some("memchr"), 2),
            (Some("a"), 3),
            (Some("b"), 4),
        ];
        assert_eq!(
            extension(&finding("BMI2", false, &places)),
            "BMI2 7 times (memchr+0x2, a+0x3, ..)"
        );
        assert_eq!(
            extension(&finding("SHA", false, &[(None, 1)])),
            "SHA 7 times"
        );
    }

    #[test]
    fn what_cannot_be_scanned_is_said() {
        let program = Program {
            host: "/no/such/file".into(),
            guest: "/bin/child".into(),
        };
        let said = unwithheld(std::slice::from_ref(&program));
        assert!(said[0].contains("/no/such/file"), "{said:?}");
        assert_eq!(overview(&[program]), said);
    }
}
