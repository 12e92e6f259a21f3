//! Trouble that the host makes: a disk that is really full, a shared library that is gone,
//! another process that builds the same kernel. Each ends in a clear message, and nothing
//! half-done stays behind.

mod case;

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use chaoscontrol::image::kernel::{self, KernelRequest, Variant};

use case::Case;

/// Does what the kernel's makefile does as far as the build can tell, in moments.
const MAKE: &str = r#"#!/bin/sh
case "$*" in
tinyconfig) : >.config ;;
*vmlinux)
    echo built >>"$BUILDS"
    sleep "$BUILD_SECONDS"
    cp "$BUILT_KERNEL" vmlinux
    ;;
esac
"#;

/// A kernel source whose build ends in the kernel that this machine has already, and the
/// tools for it.
struct Workshop {
    source: PathBuf,
    tools: PathBuf,
    builds: PathBuf,
    kernel: PathBuf,
}

impl Workshop {
    /// Makes it below `folder`; the source is as large as `bytes`.
    fn new(folder: &Path, bytes: u64) -> Workshop {
        let kernel = kernel::locate(&KernelRequest::default(), &|line| eprintln!("{line}"));
        let workshop = Workshop {
            source: folder.join("source"),
            tools: folder.join("tools"),
            builds: folder.join("builds"),
            kernel: kernel.unwrap_or_else(|error| panic!("{error}")).path,
        };
        // All that the build looks for in a kernel's source.
        let patched = Variant::Lean.patches().map(|(name, text, _)| (name, text));
        for (name, text) in patched.chain([("System.map", "")]) {
            let path = workshop.source.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let mut file = File::options().create(true).append(true).open(path);
            writeln!(file.as_mut().unwrap(), "{text}").unwrap();
        }
        fs::write(workshop.source.join("filler"), vec![1; bytes as usize]).unwrap();
        fs::create_dir_all(&workshop.tools).unwrap();
        for name in ["make", "flex", "bison", "bc", "xz", "gelf.h"] {
            let path = workshop.tools.join(name);
            fs::write(&path, MAKE).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        }
        workshop
    }

    /// Lets `command` build with it; `seconds` is how long that is to take.
    fn equip(&self, command: &mut Command, seconds: u32) {
        let path = env::var_os("PATH").unwrap_or_default();
        let path = [self.tools.clone()]
            .into_iter()
            .chain(env::split_paths(&path));
        command
            .env("PATH", env::join_paths(path).unwrap())
            .env("CPATH", &self.tools)
            .env("CHAOS_KERNEL_SOURCE", &self.source)
            .env("BUILT_KERNEL", &self.kernel)
            .env("BUILDS", &self.builds)
            .env("BUILD_SECONDS", seconds.to_string());
        for name in ["CHAOS_KERNEL", "CHAOS_OFFLINE"] {
            command.env_remove(name);
        }
    }
}

/// All that a process printed.
fn text(output: &Output) -> String {
    let text = [&output.stderr[..], &output.stdout].concat();
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn two_processes_that_need_the_kernel_build_it_once() {
    let cases = ["first", "second"].map(|name| Case::new("passes", name));
    let workshop = Workshop::new(&cases[0].folder, 0);
    let cache = cases[0].folder.join("cache");
    let start = |case: &Case| {
        let mut command = case.command();
        workshop.equip(&mut command, 3);
        command.env("CHAOS_CACHE", &cache);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let children = cases.each_ref().map(start);
    let texts = children.map(|child| {
        let output = child.wait_with_output().unwrap();
        let text = text(&output);
        assert!(output.status.success(), "{text}");
        text
    });
    let says = |line: &str| texts.iter().filter(|text| text.contains(line)).count();
    assert_eq!(says("compiling the guest kernel"), 1, "{texts:#?}");
    assert_eq!(
        says("waiting for another process that builds the guest kernel"),
        1,
        "{texts:#?}"
    );
    assert_eq!(fs::read_to_string(&workshop.builds).unwrap(), "built\n");
}

/// Runs a shell script in a mount namespace of its own, in which it can make small disks.
/// Its arguments are the command that `case` would be run with.
fn on_small_disks(
    script: &str,
    case: &Case,
    executable: &Path,
    equip: impl Fn(&mut Command),
) -> String {
    let words = [
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-euc",
        script,
        "sh",
    ];
    let mut first: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
    first.push(executable.as_os_str());
    let mut shell = case.command_of("unshare", &first);
    equip(&mut shell);
    let output = shell.output().unwrap_or_else(|error| {
        panic!("a full disk needs unshare(1), from the package util-linux: {error}")
    });
    let text = text(&output);
    assert!(
        output.status.success(),
        "a full disk needs user namespaces in which a tmpfs can be mounted; where they are forbidden, \
         allow them (sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0) \
         or run this test as root:\n{text}"
    );
    text
}

/// The parts of a script's output, each ended by a line with `mark`.
fn parts<'a>(text: &'a str, mark: &str) -> Vec<&'a str> {
    text.split_inclusive(mark).collect()
}

#[test]
fn a_full_disk_under_the_cache_leaves_nothing_half_built() {
    const MIB: u64 = 1 << 20;
    let case = Case::new("exits", "cache");
    let workshop = Workshop::new(&case.folder, 2 * MIB);
    let kernel = fs::metadata(&workshop.kernel).unwrap().len();
    // The kernel is compiled, stripped, and written to its place.
    let sizes = [
        (MIB, "copying CHAOS_KERNEL_SOURCE failed"),
        (
            2 * MIB + kernel * 3 / 2,
            "stripping the guest kernel failed",
        ),
        (
            2 * MIB + kernel * 5 / 2,
            "keeping the guest kernel failed: No space left",
        ),
        (
            8 * MIB + kernel * 4,
            "the test's process exited with status 3",
        ),
    ];
    let script = r#"
        exec 2>&1
        mkdir "$CHAOS_CACHE"
        mount -t tmpfs -o size=4k none "$CHAOS_CACHE"
        for size in $SIZES; do
            mount -o remount,size="$size" "$CHAOS_CACHE"
            "$@" || echo "status $?"
            find "$CHAOS_CACHE" -type f
            echo "== end"
        done"#;
    let cache = case.folder.join("cache");
    let executable = Path::new(env!("CARGO_BIN_EXE_cases"));
    let text = on_small_disks(script, &case, executable, |command| {
        workshop.equip(command, 0);
        command.env("CHAOS_CACHE", &cache);
        command.env("SIZES", sizes.map(|(bytes, _)| bytes.to_string()).join(" "));
    });
    let runs = parts(&text, "== end\n");
    assert_eq!(runs.len(), sizes.len(), "{text}");
    for (run, (bytes, wanted)) in runs.iter().zip(sizes) {
        assert!(run.contains("status 101"), "{bytes} bytes:\n{run}");
        assert!(
            run.contains(wanted),
            "{bytes} bytes: no {wanted:?} in\n{run}"
        );
        let left: Vec<&str> = run
            .lines()
            .filter(|line| line.starts_with(cache.to_str().unwrap()))
            .collect();
        let names = left.iter().map(|path| path.rsplit('/').next().unwrap());
        let is_whole = run.contains("exited with status 3");
        assert_eq!(
            names.clone().any(|name| name == "vmlinux"),
            is_whole,
            "{run}"
        );
        assert!(
            !left
                .iter()
                .any(|path| path.contains(".part") || path.contains("/build/")),
            "{run}"
        );
        if !is_whole {
            assert!(
                run.contains(&format!("the disk under {}", cache.display())),
                "{run}"
            );
            assert!(run.contains("or set CHAOS_CACHE to a folder"), "{run}");
        }
    }
}

#[test]
fn a_disk_without_room_for_the_source_is_noticed_before_anything_is_fetched() {
    let case = Case::new("exits", "room");
    let script = r#"
        exec 2>&1
        mkdir "$CHAOS_CACHE"
        mount -t tmpfs -o size=1g none "$CHAOS_CACHE"
        "$@" || echo "status $?""#;
    let executable = Path::new(env!("CARGO_BIN_EXE_cases"));
    let cache = case.folder.join("cache");
    let text = on_small_disks(script, &case, executable, |command| {
        command.env("CHAOS_CACHE", &cache);
        for name in ["CHAOS_KERNEL", "CHAOS_KERNEL_SOURCE", "CHAOS_OFFLINE"] {
            command.env_remove(name);
        }
    });
    for wanted in [
        "status 101",
        "has too little room (10",
        "since packages, source and objects need 2.5 GiB",
    ] {
        assert!(text.contains(wanted), "no {wanted:?} in\n{text}");
    }
}

#[test]
fn a_host_without_mke2fs_fetches_it_or_says_what_to_do() {
    let case = Case::new("passes", "mke2fs");
    let script = r#"
        exec 2>&1
        IFS=:
        for folder in $PATH:/usr/sbin:/sbin; do
            [ ! -f "$folder/mke2fs" ] || mount --bind /dev/null "$folder/mke2fs"
        done
        CHAOS_OFFLINE=1 "$@" || echo "status $?"
        echo "== end"
        "$@" || echo "status $?"
        CHAOS_OFFLINE=1 "$@" || echo "status $?""#;
    let kernel = kernel::locate(&KernelRequest::default(), &|line| eprintln!("{line}"));
    let kernel = kernel.unwrap_or_else(|error| panic!("{error}")).path;
    let cache = case.folder.join("cache");
    let executable = Path::new(env!("CARGO_BIN_EXE_cases"));
    let text = on_small_disks(script, &case, executable, |command| {
        command.env("CHAOS_CACHE", &cache).env("CHAOS_DISK", "16M");
        command.env("CHAOS_KERNEL", &kernel);
        command.env_remove("CHAOS_OFFLINE");
    });
    let (offline, fetched) = text.split_once("== end\n").unwrap();
    for wanted in [
        "status 101",
        "mke2fs, which makes the file system of `disk = \"64M\"`, is not in the cache, and CHAOS_OFFLINE is set",
        "install the package e2fsprogs",
    ] {
        assert!(offline.contains(wanted), "no {wanted:?} in\n{offline}");
    }
    let says = |line: &str| fetched.matches(line).count();
    assert_eq!(says("fetching mke2fs (e2fsprogs)"), 1, "{fetched}");
    assert_eq!(says("1 passed; 0 failed"), 2, "{fetched}");
}

#[test]
fn a_full_disk_under_the_package_loses_no_failure() {
    let case = Case::new("returns_an_error", "disk");
    // Outside of cargo's target folder, what belongs to a build lies in the package.
    let executable = case.folder.join("cases");
    fs::copy(env!("CARGO_BIN_EXE_cases"), &executable).unwrap();
    let package = case.folder.join("package");
    let script = r#"
        exec 2>&1
        mkdir "$CARGO_MANIFEST_DIR"
        mount -t tmpfs -o size=1m none "$CARGO_MANIFEST_DIR"
        cd "$CARGO_MANIFEST_DIR"
        cp ../Cargo.toml .
        run() {
            "$@" || echo "status $?"
            find . -type f -size +0
            echo "== end"
        }
        dd if=/dev/zero of=filler bs=4k 2>/dev/null || true
        run "$@"
        touch ../CACHEDIR.TAG
        run "$@"
        rm filler
        run "$@"
        run "$@""#;
    let text = on_small_disks(script, &case, &executable, |command| {
        command.env("CARGO_MANIFEST_DIR", &package);
    });
    let runs = parts(&text, "== end\n");
    let [nowhere, beside, there, again] = runs[..] else {
        panic!("{text}");
    };
    let record = "./tests/chaos-regressions/cases/returns_an_error.toml";
    let full = |run: &str| {
        let has = |wanted: &str| assert!(run.contains(wanted), "no {wanted:?} in\n{run}");
        has("status 101");
        has("cannot be written: No space left on device");
        has("the test returned an error in vm 0");
        let files: Vec<&str> = run.lines().filter(|line| line.starts_with("./")).collect();
        assert_eq!(
            files.len(),
            2,
            "only Cargo.toml and filler were there before:\n{run}"
        );
    };
    full(nowhere);
    assert!(
        nowhere.contains("to keep the failure, write this there:\n# Failures"),
        "{nowhere}"
    );
    assert!(nowhere.contains("\n[end]\n"), "{nowhere}");
    full(beside);
    assert!(
        beside.contains("chaos/chaoscontrol-tests/cases/returns_an_error/"),
        "{beside}"
    );
    assert!(
        there.contains("(check it in: it runs first next time)"),
        "{there}"
    );
    assert!(there.contains(record), "{there}");
    assert!(again.contains("replayed exactly"), "{again}");
}

#[test]
fn a_missing_shared_library_is_named_with_who_asks_for_it_and_where_it_was_looked_for() {
    const LIBRARY: &str = "libgcc_q.so.1";
    let case = Case::new("passes", "library");
    let libraries = case.folder.join("lib");
    fs::create_dir_all(&libraries).unwrap();
    let library = libraries.join(LIBRARY);
    // As if it were linked against a library of this name, which the compiler's runtime
    // library serves as.
    renamed(&runtime_library(), &library);
    let executable = case.folder.join("cases");
    renamed(Path::new(env!("CARGO_BIN_EXE_cases")), &executable);
    let run = |variable: &str, value: &Path| {
        let mut renamed = case.command_of(&executable, &[]);
        renamed.env(variable, value);
        let output = renamed.output().unwrap();
        (output.status.code(), text(&output))
    };

    let (status, text) = run("LD_LIBRARY_PATH", &libraries);
    assert_eq!(status, Some(0), "{text}");

    // The host's loader has it, but in no folder that is known.
    let (status, text) = run("LD_PRELOAD", &library);
    assert_eq!(status, Some(101), "{text}");
    let wanted = format!(
        "the shared library {LIBRARY}, which {} asks for, is in none of /",
        executable.display()
    );
    assert!(text.contains(&wanted), "no {wanted:?} in\n{text}");
    for wanted in ["/lib64", "LD_LIBRARY_PATH"] {
        assert!(text.contains(wanted), "no {wanted:?} in\n{text}");
    }

    // The host's loader does not even start the executable, and says why.
    fs::remove_file(&library).unwrap();
    let (status, text) = run("LD_LIBRARY_PATH", &libraries);
    assert_eq!(status, Some(127), "{text}");
    assert!(text.contains(executable.to_str().unwrap()), "{text}");
    assert!(text.contains(LIBRARY), "{text}");
}

/// The compiler's runtime library, as this process has it.
fn runtime_library() -> PathBuf {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mut paths = maps
        .lines()
        .filter_map(|line| line.find('/').map(|at| &line[at..]));
    let path = paths.find(|path| path.ends_with("/libgcc_s.so.1"));
    path.expect("this executable has libgcc_s.so.1").into()
}

/// Copies an ELF file so that the runtime library has another name in it.
fn renamed(from: &Path, to: &Path) {
    let (old, new) = (b"libgcc_s.so.1\0", b"libgcc_q.so.1\0");
    let mut bytes = fs::read(from).unwrap();
    let found: Vec<usize> = bytes
        .windows(old.len())
        .enumerate()
        .filter(|(_, window)| window == old)
        .map(|(at, _)| at)
        .collect();
    assert!(
        !found.is_empty(),
        "{} does not name the library",
        from.display()
    );
    for at in found {
        bytes[at..at + new.len()].copy_from_slice(new);
    }
    fs::write(to, bytes).unwrap();
    fs::set_permissions(to, Permissions::from_mode(0o755)).unwrap();
}
