//! A failure that travels: its bundle shows it again in an empty folder, with no source, no test
//! executable and no build; what a package has saved is found by the verbs of its test; and where
//! the code has changed since, a fault comes after what it followed.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};
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

/// Stands in the executable, so that a test can change it there: the ms after which a guest leads.
static LEADS_AFTER: [u8; 29] = *b"it leads after this many: 100";

fn leads_after_ms() -> u64 {
    let text = std::hint::black_box(&LEADS_AFTER);
    let digits = text[26..].iter().map(|digit| u64::from(digit - b'0'));
    digits.fold(0, |all, digit| 10 * all + digit)
}

fn while_it_leads() -> FaultSchedule {
    let text = "+20 ms  latency vm 1 of 3 ms\n+150 ms  wall-clock jump vm 0 by 3600 s";
    text.parse().expect("a schedule")
}

#[chaos_test(vms = 2, duration = "1s", quiet = "500ms", schedule = while_it_leads)]
#[ignore = "fails, so that there is something to replay"]
fn loses(node: Node) {
    node.setup_complete();
    if node.index() != 0 {
        return std::thread::sleep(Duration::from_secs(1));
    }
    std::thread::sleep(Duration::from_millis(leads_after_ms()));
    send_event("leads", "");
    let (clock, until) = (std::time::SystemTime::now(), Duration::from_millis(100));
    std::thread::sleep(until);
    let hour = Duration::from_secs(3600);
    assert!(clock.elapsed().is_ok_and(|passed| passed < hour), "late");
}

/// Tests that write executables take turns: while one is written, whoever starts another program
/// holds it open for a moment, and it cannot be executed then.
static TURN: Mutex<()> = Mutex::new(());

/// A package with nothing but this executable, in a folder that goes with this value.
struct Elsewhere {
    folder: PathBuf,
    executable: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

impl Elsewhere {
    fn new(name: &str) -> Elsewhere {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = env::temp_dir().join(format!("chaoscontrol-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let executable = folder.join("chaos");
        fs::copy(env::current_exe().unwrap(), &executable).unwrap();
        Elsewhere {
            folder,
            executable,
            _turn: turn,
        }
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
    let elsewhere = Elsewhere::new("bundle");
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

#[test]
fn where_code_has_changed_faults_come_after_what_they_followed() {
    if let Err(unsupported) = chaoscontrol::cpu::supported() {
        println!("not run: {unsupported}");
        return;
    }
    let elsewhere = Elsewhere::new("labels");
    let (status, report) = elsewhere.call(&["--ignored", "--exact", "loses"], "");
    assert_eq!(status, Some(101), "{report}");
    let saved = elsewhere.folder.join(after(&report, "\n  saved "));
    let id = saved.file_stem().unwrap().to_str().unwrap();
    let record = fs::read_to_string(&saved).unwrap();
    assert!(record.contains("\"vm 0 leads 1 +"), "{record}");

    // The same code with the moment at another time.
    let mut bytes = fs::read(&elsewhere.executable).unwrap();
    let at = bytes.windows(29).position(|bytes| *bytes == LEADS_AFTER);
    let at = at.expect("the text is in the executable");
    bytes[at..at + 29].copy_from_slice(b"it leads after this many: 400");
    fs::write(&elsewhere.executable, bytes).unwrap();

    let (status, text) = elsewhere.call(&[id], "replay");
    assert_eq!(status, Some(0), "{text}");
    let told = "another executable: it did not fail so by virtual time; replayed by labelled events, it did";
    assert!(text.contains(told), "{text}");
    let near = |word: &str, wanted: f64| {
        let seconds: f64 = after(&text, word).parse().expect("a time in seconds");
        assert!((seconds - wanted).abs() < 0.02, "{wanted}: {text}");
    };
    near("vm 0 said \"leads\", number 1, at +", 0.1);
    near("when it was recorded, now at +", 0.4);
    near("+0.020 s  latency vm 1 of 3 ms\n     +", 0.45);
    assert!(text.contains("late"), "{text}");

    // Without what the fault followed it keeps its time, at which it does no harm.
    fs::write(&saved, record.replace("vm 0 leads 1 +", "vm 0 leads 2 +")).unwrap();
    let (status, text) = elsewhere.call(&[id], "replay");
    assert_eq!(status, Some(1), "{text}");
    assert!(
        text.contains("did not fail when it was run again")
            && text.contains("now it did not")
            && text.contains("did not fail so in either way"),
        "{text}"
    );
}

chaoscontrol::main!();
