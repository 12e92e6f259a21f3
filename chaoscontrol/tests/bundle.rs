//! A failure that travels: its bundle shows it again in an empty folder, with no source, no test
//! executable and no build; and what a package has saved is found by the verbs of its test.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use chaoscontrol::fault::FaultSchedule;
use chaoscontrol::prelude::*;
use chaoscontrol::test;

fn pauses() -> FaultSchedule {
    let text = "+123 ms  pause vm 1 for 50 ms\n+150 ms  latency vm 0 of 3 ms";
    text.parse().expect("a schedule")
}

#[chaos_test(vms = 2, duration = "1s", quiet = "500ms", disk = "8M", schedule = pauses)]
#[ignore = "fails, so that there is something to bundle"]
fn falls(node: Node) {
    node.setup_complete();
    std::thread::sleep(Duration::from_millis(300));
    panic!("it falls");
}

/// A package with nothing but this executable, in a folder that goes with this value.
struct Elsewhere {
    folder: PathBuf,
    executable: PathBuf,
}

impl Elsewhere {
    fn new() -> Elsewhere {
        let folder = env::temp_dir().join(format!("chaoscontrol-bundle-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let executable = folder.join("chaos");
        fs::copy(env::current_exe().unwrap(), &executable).unwrap();
        Elsewhere { folder, executable }
    }

    fn call(&self, arguments: &[&str], verb: &str) -> (Option<i32>, String) {
        let mut command = Command::new(&self.executable);
        command
            .args(arguments)
            .current_dir(&self.folder)
            .env("CARGO_MANIFEST_DIR", &self.folder)
            .env("CHAOS_VERB", verb)
            .env_remove("CHAOS_REPLAY");
        shown(command.output().unwrap())
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn shown(output: Output) -> (Option<i32>, String) {
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// `cargo chaos replay FILE` where there is nothing else.
fn replay(file: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cargo-chaos"));
    command.args(["chaos", "replay"]).arg(file).env_clear();
    shown(command.current_dir(env::temp_dir()).output().unwrap())
}

/// What follows `word` in `text`, up to the next blank.
fn after<'a>(text: &'a str, word: &str) -> &'a str {
    let found = text.split_once(word);
    let (_, rest) = found.unwrap_or_else(|| panic!("{word:?} is not in:\n{text}"));
    rest.split_whitespace().next().unwrap_or_default()
}

#[test]
fn a_bundle_replays_to_the_same_state_where_nothing_else_is_left() {
    if let Err(unsupported) = chaoscontrol::cpu::supported() {
        println!("not run: {unsupported}");
        return;
    }
    let elsewhere = Elsewhere::new();
    let (status, report) = elsewhere.call(&["--ignored", "--exact", "falls"], "");
    assert_eq!(status, Some(101), "{report}");
    let state = after(&report, "\n  state ");
    let file = PathBuf::from(after(&report, "\n  bundle "));
    let id = file.file_stem().unwrap().to_str().unwrap();

    let (status, text) = elsewhere.call(&["falls"], "reproduce");
    assert_eq!(status, Some(0), "{text}");
    assert!(
        text.contains(&format!("falls {id}: still fails: ")),
        "{text}"
    );
    assert!(text.contains("1 of 1 saved failure still fail"), "{text}");
    let (status, text) = elsewhere.call(&[id], "replay");
    assert_eq!(
        (status, after(&text, "\n  state ")),
        (Some(0), state),
        "{text}"
    );
    // It fails without any fault.
    let (status, text) = elsewhere.call(&[id, "--runs", "9"], "minimize");
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("from 2 faults to 0 in 2 runs"), "{text}");

    let moved = env::temp_dir().join(format!("moved-{}.chaosbundle", std::process::id()));
    fs::rename(&file, &moved).unwrap();
    drop(elsewhere);
    let (status, text) = replay(&moved);
    assert_eq!(
        (status, after(&text, "\n  state ")),
        (Some(0), state),
        "{text}"
    );
    assert!(text.contains("replayed exactly"), "{text}");
    assert!(
        text.contains("pause vm 1 for 50 ms") && text.contains("falls"),
        "{text}"
    );

    let bytes = fs::read(&moved).unwrap();
    println!("{} bytes", bytes.len());
    fs::write(&moved, &bytes[..bytes.len() / 2]).unwrap();
    let (status, text) = replay(&moved);
    fs::remove_file(&moved).unwrap();
    assert_eq!(status, Some(2), "{text}");
    assert!(
        text.contains("moved-") && text.contains("is damaged or cut short"),
        "{text}"
    );
}

chaoscontrol::main!();
