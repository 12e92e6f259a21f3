//! A program that counts its edges by itself, since it is built with SanitizerCoverage: outside
//! of a machine that has no compiler, for tests that run in one.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The instrumented program. A process's edges count wherever its threads and children go.
const PROGRAM: &str = r#"
use chaoscontrol_guest::{Node, agent};

fn main() {
    agent::enter(&|name| match name {
        "left" => Some(left),
        "right" => Some(right),
        "both" => Some(both),
        _ => None,
    });
    turn(&left_edges, 300);
    turn(&right_edges, 300);
    println!("fine outside");
}

fn turn(what: &dyn Fn(u32) -> u32, times: u32) -> u32 {
    (0..times).map(what).fold(0, u32::wrapping_add)
}

fn left_edges(n: u32) -> u32 {
    if std::hint::black_box(n) % 2 == 0 { n } else { n + 1 }
}

fn right_edges(n: u32) -> u32 {
    if std::hint::black_box(n) % 3 == 0 { n } else { n - 1 }
}

fn left(_: Node) -> Result<(), String> {
    turn(&left_edges, 1000);
    Ok(())
}

fn right(_: Node) -> Result<(), String> {
    turn(&right_edges, 3);
    Ok(())
}

fn both(node: Node) -> Result<(), String> {
    unsafe extern "C" {
        safe fn fork() -> i32;
        safe fn _exit(code: i32) -> !;
    }
    if fork() == 0 {
        let _ = left(node);
        _exit(0);
    }
    std::thread::spawn(|| right(node)).join().map_err(|_| "no thread")?
}
"#;

/// The flags that README names.
fn flags() -> String {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let line = readme.lines().find_map(|l| l.strip_prefix("RUSTFLAGS=\""));
    let (flags, _) = line.unwrap().split_once('"').unwrap();
    flags.to_owned()
}

/// Builds it as README says, in a folder of `tmp`.
///
/// # Panics
/// It cannot be built.
pub fn program(tmp: &Path) -> PathBuf {
    const TARGET: &str = "x86_64-unknown-linux-gnu";
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = tmp.join("edges");
    fs::create_dir_all(folder.join("src")).unwrap();
    let sdk = checkout.join("chaoscontrol-guest").canonicalize().unwrap();
    let manifest = format!(
        "[package]\nname = \"edges\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
         [dependencies]\nchaoscontrol-guest = {{ path = {sdk:?}, features = [\"agent\", \"sancov\"] }}\n"
    );
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    fs::write(folder.join("src/main.rs"), PROGRAM).unwrap();
    fs::copy(checkout.join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo
        .current_dir(&folder)
        .args(["build", "--target", TARGET])
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .env("RUSTFLAGS", flags())
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    assert!(cargo.status().unwrap().success());
    folder.join("target").join(TARGET).join("debug/edges")
}
