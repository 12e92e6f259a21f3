//! A crate outside of this workspace that uses the library as README says, and as `cargo
//! package` makes it. It is built from nothing, in a target folder of its own, so this takes
//! minutes.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// The packages that a user may be asked to build.
const MOST_PACKAGES: usize = 90;

/// What is published; the first needs the others.
const PUBLISHED: [&str; 3] = ["chaoscontrol", "chaoscontrol-guest", "chaoscontrol-macros"];

const TEST: &str = r#"//! Two machines that see the same cluster.

use chaoscontrol::prelude::*;

#[chaos_test(vms = 2, rounds = 1, branches = 2, duration = "1s", quiet = "500ms")]
fn all_see_the_same_cluster(node: Node) {
    node.setup_complete();
    assert_agree!("size", node.vms().len(), "one cluster");
    node.wait_quiet();
    assert_reachable!("the end is reached");
}

#[chaos_test]
#[ignore = "only to be listed"]
fn ignored(_node: Node) {}

chaoscontrol::main!();
"#;

/// The checkout.
fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .unwrap()
}

/// The lines of README's first TOML block that contains `word`.
fn readme(word: &str) -> String {
    let text = fs::read_to_string(checkout().join("README.md")).unwrap();
    let blocks = text
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split_once("```"));
    let mut blocks = blocks
        .map(|(block, _)| block)
        .filter(|block| block.contains(word));
    blocks
        .next()
        .unwrap_or_else(|| panic!("README has no TOML block with {word}"))
        .to_owned()
}

/// Manifest of the crate: README's lines. What is published stands in `packages`, since it
/// need not be published yet.
fn manifest(packages: &Path) -> String {
    let dependencies = readme("[dev-dependencies]");
    let profile = readme("[profile.dev.package.chaoscontrol]");
    let patches =
        PUBLISHED.map(|name| format!("{name} = {{ path = {:?} }}\n", packages.join(name)));
    format!(
        "[package]\nname = \"downstream\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
         {dependencies}\n{profile}\n[patch.crates-io]\n{}",
        patches.concat()
    )
}

/// The crate, in a folder that goes with this value.
struct Downstream {
    folder: PathBuf,
    target: PathBuf,
}

impl Downstream {
    fn new() -> Downstream {
        let folder =
            env::temp_dir().join(format!("chaoscontrol-downstream-{}", std::process::id()));
        for name in ["src", "tests", ".config", "packages"] {
            fs::create_dir_all(folder.join(name)).unwrap();
        }
        let packages = folder.join("packages");
        fs::write(folder.join("Cargo.toml"), manifest(&packages)).unwrap();
        fs::write(folder.join("src/lib.rs"), "//! Nothing yet.\n").unwrap();
        fs::write(folder.join("tests/chaos.rs"), TEST).unwrap();
        let nextest = readme("[[profile.default.overrides]]");
        fs::write(folder.join(".config/nextest.toml"), nextest).unwrap();
        // The versions that this workspace is tested with.
        fs::copy(checkout().join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("downstream");
        let crate_ = Downstream { folder, target };
        for name in PUBLISHED {
            crate_.unpack(name, &packages.join(name));
        }
        crate_
    }

    /// Packs the crate `name` of the checkout as for a registry, and unpacks it to `to`.
    fn unpack(&self, name: &str, to: &Path) {
        // Neither verified nor resolved, which both would want those published that it needs.
        self.succeeds_in(
            &checkout().join(name),
            &[
                "package",
                "--no-verify",
                "--exclude-lockfile",
                "--allow-dirty",
            ],
        );
        let made = self.target.join("package");
        let file = made.join(format!("{name}-{}.crate", env!("CARGO_PKG_VERSION")));
        fs::create_dir(to).unwrap();
        let mut tar = Command::new("tar");
        tar.arg("-xzf").arg(&file).arg("-C").arg(to);
        let status = tar.arg("--strip-components=1").status();
        assert!(
            status.expect("tar can be called").success(),
            "{}",
            file.display()
        );
    }

    /// Calls cargo in `folder` as a user's shell would, without what this test's cargo says.
    fn cargo_in(&self, folder: &Path, arguments: &[&str]) -> Output {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            let is_cargos = [
                "CARGO_PKG_",
                "CARGO_MANIFEST_",
                "CARGO_BIN_",
                "CHAOS_",
                "NEXTEST",
            ];
            if is_cargos.iter().any(|prefix| text.starts_with(prefix)) || text == "CI" {
                command.env_remove(&name);
            }
        }
        command
            .current_dir(folder)
            .env("CARGO_TARGET_DIR", &self.target);
        command
            .args(arguments)
            .output()
            .expect("cargo can be called")
    }

    /// Calls cargo on the crate, which is to succeed; answers what it printed.
    fn succeeds(&self, arguments: &[&str]) -> String {
        self.succeeds_in(&self.folder, arguments)
    }

    fn succeeds_in(&self, folder: &Path, arguments: &[&str]) -> String {
        let output = self.cargo_in(folder, arguments);
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(output.status.success(), "cargo {arguments:?}:\n{text}");
        text
    }

    /// The test executable.
    fn executable(&self) -> PathBuf {
        let files = fs::read_dir(self.target.join("debug/deps")).unwrap();
        let is_it = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("chaos-") && path.extension().is_none()
        };
        files.flatten().map(|file| file.path()).find(is_it).unwrap()
    }
}

impl Drop for Downstream {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
        let _ = fs::remove_dir_all(&self.target);
    }
}

#[test]
fn a_crate_of_its_own_tests_with_cargo_and_with_nextest() {
    let crate_ = Downstream::new();
    let tree = crate_.succeeds(&[
        "tree",
        "--prefix",
        "none",
        "--no-dedupe",
        "-e",
        "normal,build,dev",
    ]);
    let mut packages: Vec<&str> = tree.lines().filter(|line| line.contains(" v")).collect();
    packages.sort_unstable();
    packages.dedup();
    println!("{} packages of at most {MOST_PACKAGES}", packages.len());
    assert!(
        packages.len() <= MOST_PACKAGES,
        "{} packages:\n{tree}",
        packages.len()
    );

    let began = Instant::now();
    crate_.succeeds(&["test", "--no-run"]);
    // A figure, and no test: it is as good as the machine is idle.
    println!(
        "built in {:.0?}; a clean build is to take at most 120 s",
        began.elapsed()
    );
    let text = crate_.succeeds(&["test"]);
    assert!(
        text.contains("test all_see_the_same_cluster ... ok"),
        "{text}"
    );
    assert!(
        !text.contains("runs unoptimized"),
        "README's profile is incomplete:\n{text}"
    );

    listing_is_quick_and_prints_nothing_else(&crate_.executable());

    let nextest = crate_.cargo_in(&crate_.folder, &["nextest", "--version"]);
    if !nextest.status.success() {
        assert!(
            env::var_os("CHAOS_ALLOW_NO_NEXTEST").is_some(),
            "cargo-nextest is missing: `cargo install --locked cargo-nextest`, or set CHAOS_ALLOW_NO_NEXTEST"
        );
        eprintln!("NOT RUN with nextest, which is missing, as CHAOS_ALLOW_NO_NEXTEST allows");
        return;
    }
    let text = crate_.succeeds(&["nextest", "run"]);
    assert!(text.contains("1 test run: 1 passed, 1 skipped"), "{text}");
}

fn listing_is_quick_and_prints_nothing_else(executable: &Path) {
    let list = || {
        let began = Instant::now();
        let mut command = Command::new(executable);
        let output = command
            .args(["--list", "--format", "terse"])
            .output()
            .unwrap();
        (began.elapsed(), output)
    };
    let (_, output) = list();
    let names = "all_see_the_same_cluster: test\nignored: test\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), names);
    assert!(output.stderr.is_empty());
    let best = (0..5).map(|_| list().0).min().unwrap();
    println!("listed in {best:.1?}");
    assert!(best < Duration::from_millis(100), "listing took {best:?}");
}
