//! What gives a program the host's time or randomness, and what becomes of it in a guest.
//!
//! The module [`table`] lists every instruction and register known to do so, with what each
//! yields on either engine. The tests here execute all of them, so that the list is what
//! happens and not what manuals promise.

mod guest;
mod table;

use std::arch::x86_64::__cpuid;

use guest::{Met, execute};
use table::{Row, Yields};

use super::testing::or_not_run;
use super::{open, probe};
use crate::cpu::Engine;
use crate::cpu::cpuid::cpuid;

/// Whose virtualization the host's KVM uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Vendor {
    Amd,
    Intel,
    Qemu,
}

fn vendor() -> Vendor {
    // "TCGT" of the hypervisor; "Auth" and "Hygo"; all others have Intel's.
    match (__cpuid(0x4000_0000).ebx, __cpuid(0).ebx) {
        (0x5447_4354, _) => Vendor::Qemu,
        (_, 0x6874_7541 | 0x6F67_7948) => Vendor::Amd,
        _ => Vendor::Intel,
    }
}

/// Whether `met` is what the table says.
fn fits(row: &Row, yields: &Yields, met: &Met) -> bool {
    match (yields, met) {
        (Yields::Fault(vector), Met::Fault(met)) => vector == met,
        (Yields::Caller, Met::Value { asked, rax, rdx }) => {
            *asked == 1 && (*rax, *rdx) == guest::answer()
        }
        (Yields::Value(rax, rdx), met) => *met == Met::value(*rax, *rdx),
        (Yields::Nothing, met) => *met == Met::value(row.rax, row.rdx),
        (Yields::Identity, met) => {
            let [eax, _, _, edx] = cpuid(row.rax as u32, row.rcx as u32);
            *met == Met::value(eax.into(), edx.into())
        }
        // Whatever it is, nobody was asked for it.
        (Yields::Host, Met::Value { asked, .. }) => *asked == 0,
        _ => false,
    }
}

/// Executes `rows`, and answers what is otherwise than `expected`.
fn deviations(engine: Engine, rows: &[Row], expected: fn(&Row) -> &[Yields]) -> Vec<String> {
    let mut found = Vec::new();
    for row in rows {
        let met = execute(engine, row);
        let expected = expected(row);
        if !expected.iter().any(|yields| fits(row, yields, &met)) {
            found.push(format!("{}: {met:x?} instead of {expected:x?}", row.name));
        }
    }
    found
}

/// The column of this host's `kvm`.
fn by_vendor() -> fn(&Row) -> &[Yields] {
    match vendor() {
        Vendor::Amd => |row| row.amd,
        Vendor::Intel => |row| row.intel,
        Vendor::Qemu => |row| row.qemu,
    }
}

#[test]
fn the_software_cpu_gives_nothing_of_the_hosts() {
    let rows = [table::instructions(), table::registers()].concat();
    let deviations = deviations(Engine::Soft, &rows, |row| row.soft);
    assert!(deviations.is_empty(), "\n{}", deviations.join("\n"));
    assert!(rows.iter().all(|row| !row.soft.contains(&Yields::Host)));
}

#[test]
fn kvm_gives_no_register_of_the_hosts() {
    if or_not_run(open()).is_some() {
        let deviations = deviations(Engine::Kvm, &table::registers(), by_vendor());
        assert!(deviations.is_empty(), "\n{}", deviations.join("\n"));
    }
}

#[test]
fn kvm_gives_what_the_table_says() {
    if or_not_run(virtualizes()).is_some() {
        let deviations = deviations(Engine::Kvm, &table::instructions(), by_vendor());
        let vendor = vendor();
        assert!(
            deviations.is_empty(),
            "{vendor:?}\n{}",
            deviations.join("\n")
        );
    }
}

/// Whether the host's KVM has a hold on its guests. Where a hypervisor below emulates ring 0, ring
/// 3 may be the host's own, with its clock.
fn virtualizes() -> Result<(), String> {
    let probe = probe().map_err(|e| e.to_string())?;
    match probe.usable() {
        true => Ok(()),
        false => Err(probe.to_string()),
    }
}

#[test]
fn what_hardware_does_not_withhold_is_known() {
    let rows = [table::instructions(), table::registers()].concat();
    let gives = |row: &&Row| [row.amd, row.intel].concat().contains(&Yields::Host);
    let names: Vec<&str> = rows.iter().filter(gives).map(|row| &*row.name).collect();
    // The scan of packed programs looks for the first two and for XBEGIN; the guest's kernel
    // sets TSD, and executes none of what is left.
    let known = [
        "RDRAND in ring 3",
        "RDSEED in ring 3",
        "RDRAND in ring 0",
        "RDSEED in ring 0",
        "RDTSC in ring 0",
        "RDTSC in ring 3",
        "XBEGIN in ring 3",
        "VMMCALL in ring 0",
        "VMCALL in ring 0",
    ];
    assert_eq!(names, known);
}
