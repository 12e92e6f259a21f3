//! What `cargo chaos doctor` says of a host's KVM.

use std::process::Command;

/// The line of doctor's answer that has `device` in it.
fn line(device: &str) -> String {
    let mut doctor = Command::new(env!("CARGO_BIN_EXE_cargo-chaos"));
    doctor.args(["chaos", "doctor"]);
    let output = doctor.env("CHAOS_KVM_DEVICE", device).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let mut lines = said.lines().filter(|line| line.contains(device));
    let line = lines.next().unwrap_or_else(|| panic!("{said}")).to_owned();
    assert_eq!(lines.next(), None, "{said}");
    line
}

#[test]
fn a_host_without_kvm_is_fit_and_told_what_is_missing() {
    let said = line("/no/such/kvm");
    assert!(
        said.starts_with("ok   /no/such/kvm does not exist: "),
        "{said}"
    );
    assert!(said.ends_with(": using the software CPU"), "{said}");
}

#[test]
fn this_hosts_kvm_is_probed() {
    let said = line("/dev/kvm");
    let ends = [": using it", ": using the software CPU"];
    assert!(ends.iter().any(|end| said.ends_with(end)), "{said}");
}
