//! Bad input of every kind, as a user would give it: each ends in a clear message, the
//! right exit status, and nothing lost. The tests that are run here stand in `cases`.

mod case;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use chaoscontrol::image::disk;

use case::{Case, MANIFEST};

/// Ends that are the test's failure, and what the report says of them.
const ENDS: [(&str, &str); 14] = [
    ("panics_on_another_thread", "thread 'worker' panicked at"),
    ("returns_an_error", "the test returned an error in vm 0"),
    ("exits", "the test's process exited with status 3 in vm 0"),
    (
        "aborts",
        "the test's process was ended by signal 6 (SIGABRT) in vm 0",
    ),
    (
        "overflows_its_stack",
        "the test's process was ended by signal 6 (SIGABRT) in vm 0",
    ),
    (
        "never_sets_up",
        "setup was not completed within 60 s: vm 0 never called setup_complete",
    ),
    ("makes_no_progress", "no VM made progress for 500 ms"),
    (
        "never_finishes",
        "must_finish: the test still ran in vm 0 at the end",
    ),
    (
        "fills_its_memory",
        "the test's process was ended by signal 9 (SIGKILL) in vm 0",
    ),
    (
        "fills_its_file_system",
        "the test returned an error in vm 0",
    ),
    (
        "runs_a_program_that_exits",
        "program sh exited with status 3 in vm 0",
    ),
    (
        "runs_a_program_that_crashes",
        "program sh was ended by signal 11 (SIGSEGV) in vm 0",
    ),
    ("breaks_pid_1", "the kernel failed in vm 0"),
    ("triple_faults", "the machine went off in vm 0"),
];

#[test]
fn a_test_that_ends_badly_fails_with_how_it_ended() {
    for (test, wanted) in ENDS {
        let case = Case::new(test, "ends");
        let text = case.fails_with(&[], wanted);
        assert!(
            text.contains("CHAOS_REPLAY="),
            "{test}: no command to replay it in\n{text}"
        );
        assert!(case.record().exists(), "{test}: not recorded");
    }
}

#[test]
fn a_setup_that_nobody_completes_can_be_forced() {
    let case = Case::new("never_sets_up", "forced");
    let (status, text) = case.run(&[("CHAOS_FORCE_SETUP_COMPLETE", "1s")]);
    assert_eq!(status, 0, "{text}");
    case.fails_with(
        &[("CHAOS_FORCE_SETUP_COMPLETE", "60s")],
        "CHAOS_FORCE_SETUP_COMPLETE is `60s`, and must be a time up to 59s",
    );
}

#[test]
fn a_guest_that_does_anything_at_all_ends_in_a_result() {
    for test in [
        "sends_random_messages",
        "writes_to_every_port",
        "prints_without_end",
    ] {
        let (status, text) = Case::new(test, "wild").run(&[]);
        assert!(
            [0, 101].contains(&status),
            "{test}: status {status}\n{text}"
        );
        assert!(text.contains("test result: "), "{test}:\n{text}");
        assert!(
            !text.contains("panicked at chaoscontrol"),
            "{test}:\n{text}"
        );
    }
}

#[test]
fn a_programs_output_is_in_the_timeline() {
    let case = Case::new("runs_a_program_that_exits", "output");
    case.fails_with(&[], "| sh: so be it");
}

#[test]
fn programs_that_may_fail_fail_nothing() {
    let (status, text) = Case::new("runs_programs_that_may_fail", "may").run(&[]);
    assert_eq!(status, 0, "{text}");
}

#[test]
fn packages_that_cannot_be_fetched_are_named_with_the_way_out() {
    let case = Case::new("takes_a_program_from_a_package", "offline");
    let text = case.fails_with(&[("CHAOS_OFFLINE", "1")], "CHAOS_OFFLINE is set");
    for wanted in [
        "no-such-package",
        "so that /bin/sh and /no/such/program is there",
    ] {
        assert!(text.contains(wanted), "no {wanted:?} in\n{text}");
    }
}

#[test]
fn what_cannot_be_packed_is_named() {
    let case = Case::new("packs_a_program", "bad");
    let path = case.folder.join("program");
    let named = path.to_str().unwrap();
    let refused = |wanted: &str| {
        let text = case.fails_with(&[], wanted);
        assert!(text.contains(named), "{text}");
    };
    refused("cannot be packed for the guest: No such file or directory");
    fs::write(&path, "#!/bin/sh\nexit 0\n").unwrap();
    refused("is a script for /bin/sh and no ELF file");
    fs::write(&path, "hello").unwrap();
    refused("is not a usable ELF file");
    let own = fs::read(env!("CARGO_BIN_EXE_program")).unwrap();
    let mut other = own.clone();
    other[18] = 183;
    fs::write(&path, other).unwrap();
    refused("is built for 64-bit Arm, and the guest is x86-64");
    let mut wanting = own;
    let library = b"libc.so.6\0";
    let at = wanting.windows(10).position(|w| w == library).unwrap();
    wanting[at + 3] = b'q';
    fs::write(&path, wanting).unwrap();
    refused("the shared library libq.so.6, which ");
}

#[test]
fn bad_settings_name_the_variable_and_the_value() {
    let case = Case::new("exits", "settings");
    case.fails_with(
        &[("CHAOS_ROUNDS", "abc")],
        "CHAOS_ROUNDS is `abc`, and must be a number",
    );
    case.fails_with(
        &[("CHAOS_VMS", "17")],
        "CHAOS_VMS is `17`, and must be a number from 1 to 16",
    );
    case.fails_with(
        &[("CHAOS_CLIENTS", "1")],
        "clients = 1 leaves no server among vms = 1",
    );
    fs::write(
        case.folder.join("Cargo.toml"),
        MANIFEST.replace("rounds", "rouns"),
    )
    .unwrap();
    case.fails_with(&[], "has no key `rouns`");
}

#[test]
fn bad_kernels_and_caches_are_named_with_the_ways_out() {
    let case = Case::new("exits", "kernel");
    let path = case.folder.join("Cargo.toml");
    let named = path.to_str().unwrap();
    case.fails_with(
        &[("CHAOS_KERNEL", named)],
        "(named by CHAOS_KERNEL) is not a guest kernel: it is neither ELF nor bzImage",
    );
    case.fails_with(
        &[("CHAOS_KERNEL", "/no/such/vmlinux")],
        "/no/such/vmlinux (named by CHAOS_KERNEL) cannot be read",
    );
    // Headers of an x86-64 kernel, and then nothing.
    let mut stump = b"\x7fELF\x02\x01\x01".to_vec();
    stump.resize(64, 0);
    (stump[16], stump[18], stump[20]) = (2, 62, 1);
    let path = case.folder.join("stump");
    fs::write(&path, stump).unwrap();
    let named = path.to_str().unwrap();
    let text = case.fails_with(&[("CHAOS_KERNEL", named)], "ELF file is damaged");
    assert!(text.contains(named), "{text}");
    let empty = case.folder.join("cache");
    let nothing = [
        ("CHAOS_CACHE", empty.to_str().unwrap()),
        ("CHAOS_OFFLINE", "1"),
    ];
    case.fails_with(&nothing, "CHAOS_OFFLINE is set");
    // A disk without room, as far as the lock file can tell.
    case.fails_with(
        &[("CHAOS_CACHE", "/proc/full")],
        "the cache folder /proc/full",
    );
}

#[test]
fn bad_disks_are_named_and_nobody_writes_to_an_image() {
    let case = Case::new("uses_its_disk", "disk");
    let wrong = "is `5`, and must be a size from 4M to 64G in whole pages of 4K";
    case.fails_with(&[("CHAOS_DISK", "5")], &format!("CHAOS_DISK {wrong}"));
    let manifest = format!("{MANIFEST}disk = 5\n");
    fs::write(case.folder.join("Cargo.toml"), manifest).unwrap();
    case.fails_with(&[], &format!("disk of [package.metadata.chaos] {wrong}"));
    fs::write(case.folder.join("Cargo.toml"), MANIFEST).unwrap();

    // A path is relative to the package.
    let image = case.folder.join("disk.img");
    let named = image.to_str().unwrap();
    let fails = |wanted: &str| case.fails_with(&[("CHAOS_DISK", "disk.img")], wanted);
    fails(&format!(
        "the disk image {named} cannot be read: No such file"
    ));
    fs::write(&image, [1; 700]).unwrap();
    fails(&format!(
        "the disk image {named} cannot be used: a disk of 700 bytes"
    ));
    fs::remove_file(&image).unwrap();
    fs::create_dir(&image).unwrap();
    fails(&format!("the disk image {named} is no file"));
    fs::remove_dir(&image).unwrap();

    // No file system at all.
    fs::write(&image, vec![1; 1 << 20]).unwrap();
    fails(
        "cannot mount /dev/vda at /data: Invalid argument (os error 22); the kernel says: EXT4-fs (vda): ",
    );
    fs::remove_file(case.record()).unwrap();

    let new = disk::empty(8 << 20, &|line| eprintln!("{line}")).unwrap_or_else(|e| panic!("{e}"));
    let mut bytes = Vec::new();
    new.image.write_to(&mut bytes).unwrap();
    fs::write(&image, &bytes).unwrap();
    let text = fails("/dev/vda /data ext4 rw,nodev,");
    assert!(text.contains(" of 16384 sectors"), "{text}");
    let hash = format!("new disk {:032x}", new.hash);
    assert!(text.contains(&hash), "no {hash:?} in\n{text}");
    assert!(fs::read(&image).unwrap() == bytes, "somebody wrote to it");
    // As it was recorded, whatever is set now.
    let text = case.fails_with(&[], "replayed exactly");
    assert!(text.contains(" of 16384 sectors"), "{text}");
    let other = [&bytes[..], &[0; 4096]].concat();
    fs::write(&image, other).unwrap();
    let text = case.fails_with(&[], "recorded with another content of the new disk");
    assert!(text.contains(" of 16392 sectors"), "{text}");
}

#[test]
fn an_image_that_is_changed_meanwhile_fails_the_test() {
    // Afterwards nothing has to be fetched or built, so that what follows takes its time only.
    let (status, text) = Case::new("passes", "image").run(&[]);
    assert_eq!(status, 0, "{text}");
    let case = Case::new("explores_for_days", "image");
    let image = case.folder.join("disk.img");
    let new = disk::empty(8 << 20, &|line| eprintln!("{line}")).unwrap_or_else(|e| panic!("{e}"));
    new.image
        .write_to(fs::File::create(&image).unwrap())
        .unwrap();
    let mut command = case.command();
    command
        .env("CHAOS_DISK", &image)
        .env("CHAOS_WALL_LIMIT", "8s");
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    // Into the exploration, as below.
    thread::sleep(Duration::from_secs(5));
    fs::write(&image, [1; 512]).unwrap();
    let output = child.unwrap().wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(101), "{text}");
    let changed = format!(
        "the disk image {} was changed while it was in use",
        image.display()
    );
    assert!(text.contains(&changed), "{text}");
    assert!(
        text.contains("it found this: ran out of time at round "),
        "{text}"
    );
}

#[test]
fn a_damaged_record_is_left_alone_and_a_strange_one_is_replayed_by_time() {
    let case = Case::new("returns_an_error", "record");
    case.fails_with(&[], "no quorum");
    let good = fs::read_to_string(case.record()).unwrap();
    let with = |text: &str, wanted: &str| {
        fs::write(case.record(), text).unwrap();
        let said = case.fails_with(&[], wanted);
        assert_eq!(
            fs::read_to_string(case.record()).unwrap(),
            text,
            "the record changed"
        );
        said
    };
    with(&good, "replayed exactly");
    let said = with(&good[..good.len() / 2], "is damaged or cut short");
    assert!(said.contains(case.record().to_str().unwrap()), "{said}");
    // Between two failures, where the rest is a file of the right form.
    let entry = good.find("[[failure]]").unwrap();
    let second = good[entry..].replacen("id = \"", "id = \"a", 1);
    let two = [
        &good[..entry],
        second.trim_end_matches("[end]\n"),
        &good[entry..],
    ]
    .concat();
    with(&two, "replayed exactly");
    let said = with(
        &two[..two.rfind("[[failure]]").unwrap()],
        "does not end with the line `[end]`: it was cut short after 1 of its failures",
    );
    assert!(said.contains(case.record().to_str().unwrap()), "{said}");
    with(
        &good.replace("version = 1\n", "version = 9\n"),
        "has version 9, and this chaoscontrol reads version 1",
    );
    // A bit of the third recorded instant, and the final state.
    let mut lines: Vec<String> = good.lines().map(str::to_owned).collect();
    let trail = lines
        .iter()
        .position(|line| line.starts_with("trail = "))
        .unwrap();
    let cut = lines[trail + 3].rfind(" .").unwrap() - 1;
    let (head, tail) = lines[trail + 3].split_at(cut);
    let digit = if tail.starts_with('0') { '1' } else { '0' };
    lines[trail + 3] = format!("{head}{digit}{}", &tail[1..]);
    let state = lines.iter().position(|line| line.starts_with("state = "));
    lines[state.unwrap()] = "state = \"0x0000000000000001\"".to_owned();
    let said = with(&(lines.join("\n") + "\n"), "diverged: it ended in state");
    for wanted in [
        "recorded was 0000000000000001",
        "by time after setup, the runs differ at +0.",
        ": vm 0 in memory; they were the same at +0.",
        "run twice more, the runs are the same at each tick compared",
    ] {
        assert!(said.contains(wanted), "no {wanted:?} in\n{said}");
    }
    let other = |line: &str| match line.starts_with("executable = ") {
        true => "executable = \"00\"".to_owned(),
        false => line.to_owned(),
    };
    let strange: Vec<String> = lines.iter().map(|line| other(line)).collect();
    let said = with(
        &(strange.join("\n") + "\n"),
        "recorded with another executable: replayed by virtual time",
    );
    let wanted = "the recorded 0000000000000001 belongs to the other executable";
    assert!(
        said.contains(wanted) && !said.contains("diverged"),
        "{said}"
    );
    with(
        &good.replace("message = \"", "message = \"another "),
        "another failure was recorded: ",
    );
}

#[test]
fn ctrl_c_and_sigterm_end_an_exploration_with_what_was_found() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let case = Case::new("explores_for_days", "signal");
        let mut command = case.command();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut text = String::new();
        while !text.contains("running 1 test") {
            assert_ne!(stdout.read_line(&mut text).unwrap(), 0, "{text}");
        }
        // Into the exploration; at an earlier moment the end is the same.
        thread::sleep(Duration::from_secs(4));
        // SAFETY: kill(2) takes numbers; the child has not been waited for, so its id is
        // still its own.
        assert_eq!(unsafe { libc::kill(child.id() as libc::pid_t, signal) }, 0);
        stdout.read_to_string(&mut text).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(101), "{text}");
        assert!(text.contains("interrupted at round "), "{text}");
        assert!(text.contains(" of 100000; "), "{text}");
    }
}

/// The record of a bug that was being shrunk when the user lost patience, or had just been
/// found.
#[test]
fn ctrl_c_and_sigterm_while_a_bug_is_shrunk_keep_the_smallest_so_far() {
    let moments = [
        (libc::SIGINT, Duration::ZERO, "interrupted"),
        (
            libc::SIGINT,
            Duration::from_secs(2),
            ", then interrupted: it may not be the smallest",
        ),
        (
            libc::SIGTERM,
            Duration::from_secs(2),
            ", then interrupted: it may not be the smallest",
        ),
    ];
    for (signal, wait, wanted) in moments {
        let case = Case::new("fails_once_killed", "shrinking");
        let mut command = case.command();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut text = String::new();
        while !text.contains("shrinking: the test returned an error") {
            assert_ne!(stderr.read_line(&mut text).unwrap(), 0, "{text}");
        }
        thread::sleep(wait);
        // SAFETY: kill(2) takes numbers; the child has not been waited for, so its id is
        // still its own.
        assert_eq!(unsafe { libc::kill(child.id() as libc::pid_t, signal) }, 0);
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_to_string(&mut text).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(101), "{text}");
        assert!(text.contains(wanted), "no {wanted:?} in\n{text}");
        assert!(text.contains("saved   tests/chaos-regressions"), "{text}");
        let record = fs::read_to_string(case.record()).unwrap();
        assert!(record.contains("interrupted"), "{record}");
        case.fails_with(&[], "replayed exactly");
    }
}

#[test]
fn a_summary_counts_properly_and_lists_what_the_test_could_have_reached() {
    let (status, text) = Case::new("passes", "summary").run(&[]);
    assert_eq!(status, 0, "{text}");
    assert!(text.contains("passes: 1 round, 1 branch in "), "{text}");
    assert!(
        text.contains("never exercised reachable \"in a thousandth life\""),
        "{text}"
    );
    // A site of another test's function.
    assert!(!text.contains("in a second life"), "{text}");
}

#[test]
fn an_unsupported_flag_exits_with_2_and_is_named() {
    let output = Command::new(env!("CARGO_BIN_EXE_cases"))
        .arg("--shuffle")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--shuffle"));
}
