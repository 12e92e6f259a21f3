//! The choice of engine, as a user makes it: what is asked for is what runs, or an error, or
//! a fall-back that is told. The tests that are run here stand in `cases`.

mod case;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

use case::Case;
use chaoscontrol::cpu::choice::HostKvm;

const NONE: &str = "/no/such/kvm";

#[test]
fn kvm_that_is_asked_for_and_missing_is_an_error() {
    let case = Case::new("passes", "missing");
    let asked = |device| [("CHAOS_ENGINE", "kvm"), ("CHAOS_KVM_DEVICE", device)];
    let said = case.fails_with(
        &asked(NONE),
        "engine = \"kvm\" cannot run here: /no/such/kvm does not exist",
    );
    assert!(said.contains("engine = \"soft\" runs everywhere"), "{said}");
    case.fails_with(&asked("/dev/null"), "/dev/null is no KVM device");
    let folder = case.folder.display().to_string();
    case.fails_with(&asked(&folder), &format!("{folder} does not open: "));
}

/// Whatever this host has: its KVM, its KVM with a warning, or why it has none.
#[test]
fn kvm_that_is_asked_for_is_what_runs() {
    let case = Case::new("passes", "asked");
    let (status, said) = case.run(&[("CHAOS_ENGINE", "kvm")]);
    match HostKvm::look() {
        HostKvm::Usable(_) => {
            assert_eq!(status, 0, "{said}");
            assert!(said.contains(", engine kvm\n"), "{said}");
            let (status, said) = case.run(&[("CHAOS_ENGINE", "auto")]);
            assert_eq!(status, 0, "{said}");
            assert!(said.contains(" exits/s: using it\n"), "{said}");
            assert!(said.contains(", engine kvm\n"), "{said}");
        }
        HostKvm::Poor(_) => {
            let warned = said.contains("chaoscontrol: warning: ");
            assert!(
                warned && said.contains("as engine = \"kvm\" asks"),
                "{said}"
            );
            assert!(!said.contains("software CPU"), "{said}");
        }
        HostKvm::Absent(why) => {
            let required = std::env::var_os("CHAOS_KVM_REQUIRED").is_some();
            assert!(!required, "KVM is required: {why}");
            assert_eq!(status, 101, "{said}");
            assert!(said.contains(why), "{said}");
        }
    }
}

#[test]
fn kvm_that_found_a_failure_is_named_in_its_record_and_replays_it() {
    if let HostKvm::Poor(why) | HostKvm::Absent(why) = HostKvm::look() {
        let required = std::env::var_os("CHAOS_KVM_REQUIRED").is_some();
        assert!(!required, "KVM is required: {why}");
        eprintln!("NOT RUN, since this host's KVM runs no Linux: {why}");
        return;
    }
    let case = Case::new("returns_an_error", "kvm");
    let said = case.fails_with(&[("CHAOS_ENGINE", "kvm")], "no quorum");
    assert!(said.contains("  engine kvm\n"), "{said}");
    let record = fs::read_to_string(case.record()).unwrap();
    assert!(record.contains("\nengine = \"kvm\"\n"), "{record}");
    // The engine of the record goes before that of the test.
    let said = case.fails_with(&[], "replayed exactly: it ended in the recorded state");
    assert!(said.contains("  engine kvm\n"), "{said}");
}

/// An executable of x86-64, and so a kernel as far as one can tell before it is booted.
#[test]
fn a_kernel_that_lets_rdtsc_through_is_refused_on_kvm_unless_somebody_insists() {
    let case = Case::new("passes", "unpatched");
    let kernel = env!("CARGO_BIN_EXE_guest");
    let asked = [("CHAOS_ENGINE", "kvm"), ("CHAOS_KERNEL", kernel)];
    if let HostKvm::Absent(why) = HostKvm::look() {
        case.fails_with(&asked, why);
        return;
    }
    let lets = "lets programs read the host's time stamp counter";
    let said = case.fails_with(&asked, &format!("the guest kernel {kernel} {lets}"));
    assert!(said.contains("CHAOS_UNPATCHED_KERNEL=1"), "{said}");
    let insists = [asked[0], asked[1], ("CHAOS_UNPATCHED_KERNEL", "1")];
    let said = case.fails_with(&insists, &format!("with the guest kernel {kernel}: "));
    let warning = format!("chaoscontrol: warning: not reproducible: the guest kernel {lets}");
    assert!(said.contains(&warning), "{said}");
}

#[test]
fn a_device_of_another_group_is_named_with_the_group() {
    let case = Case::new("passes", "permission");
    let device = case.folder.join("kvm");
    fs::write(&device, "").unwrap();
    fs::set_permissions(&device, Permissions::from_mode(0o060)).unwrap();
    // Nothing is forbidden to root, so root becomes somebody else, who may not be able to
    // reach this executable where it is.
    let program = case.folder.join("cases");
    fs::copy(env!("CARGO_BIN_EXE_cases"), &program).unwrap();
    let mut command = case.command_of(&program, &[]);
    // SAFETY: geteuid(2) takes nothing and changes nothing.
    if unsafe { libc::geteuid() } == 0 {
        command.uid(65534).gid(65534);
    }
    command.env("CHAOS_ENGINE", "kvm");
    command.env("CHAOS_KVM_DEVICE", &device);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(101), "{said}");
    for wanted in [
        "kvm may not be opened by this user: it belongs to group `",
        "sudo usermod -aG ",
    ] {
        assert!(said.contains(wanted), "no {wanted:?} in\n{said}");
    }
}

#[test]
fn a_choice_that_is_left_to_the_host_is_told_on_one_line() {
    let case = Case::new("passes", "auto");
    let (status, said) = case.run(&[("CHAOS_ENGINE", "auto"), ("CHAOS_KVM_DEVICE", NONE)]);
    assert_eq!(status, 0, "{said}");
    let line = said.lines().find(|line| line.contains(NONE)).unwrap();
    assert!(
        line.starts_with("chaoscontrol: /no/such/kvm does not exist: "),
        "{said}"
    );
    assert!(line.ends_with(": using the software CPU"), "{said}");
    assert!(said.contains("1 branch in "), "{said}");
    assert_eq!(said.matches(NONE).count(), 1, "{said}");
}

#[test]
fn an_engine_that_does_not_exist_is_named() {
    let case = Case::new("passes", "nonsense");
    case.fails_with(
        &[("CHAOS_ENGINE", "xen")],
        "CHAOS_ENGINE is `xen`, and must be `soft`, `kvm` or `auto`",
    );
    let manifest = case::MANIFEST.to_owned() + "engine = \"xen\"\n";
    fs::write(case.folder.join("Cargo.toml"), manifest).unwrap();
    case.fails_with(
        &[],
        "engine of [package.metadata.chaos] is `xen`, and must be",
    );
}

#[test]
fn a_record_of_an_engine_that_is_missing_is_replayed_by_time_and_says_so() {
    let case = Case::new("returns_an_error", "record");
    case.fails_with(&[], "no quorum");
    let good = fs::read_to_string(case.record()).unwrap();
    let with = |engine: &str, test: &Case| {
        let from = "engine = \"soft\"";
        assert!(good.contains(from), "{good}");
        fs::create_dir_all(test.record().parent().unwrap()).unwrap();
        fs::write(test.record(), good.replace(from, engine)).unwrap();
    };
    let missing = [("CHAOS_KVM_DEVICE", NONE)];
    let wanted =
        "it was recorded on engine \"kvm\", which is missing here: /no/such/kvm does not exist";
    with("engine = \"kvm\"", &case);
    let said = case.fails_with(
        &missing,
        "recorded with another engine: replayed by virtual time",
    );
    assert!(
        said.contains(wanted) && !said.contains("diverged"),
        "{said}"
    );
    // A test that insists on the engine, and one that does not fail on the other.
    case.fails_with(
        &[("CHAOS_ENGINE", "kvm"), missing[0]],
        "engine = \"kvm\" cannot run here",
    );
    let green = Case::new("passes", "record");
    with("engine = \"kvm\"", &green);
    let (status, said) = green.run(&missing);
    assert_eq!(status, 0, "{said}");
    assert!(
        said.contains("does not fail any more; it was recorded on engine \"kvm\""),
        "{said}"
    );
    with("engine = \"xen\"", &case);
    case.fails_with(
        &missing,
        "whose `engine` is \"xen\", an engine that this chaoscontrol",
    );
}
