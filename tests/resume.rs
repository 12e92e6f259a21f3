//! Explorations that are ended, gone on with, divided and put together, as `cargo chaos` does it.
//! The test that they explore stands in `cases`.

mod case;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use case::Case;

/// A test with a target folder of its own, where its explorations keep what they show.
struct Explored {
    case: Case,
    program: PathBuf,
}

impl Explored {
    fn new(purpose: &str) -> Explored {
        let case = Case::new("fails_in_a_second_life", purpose);
        let target = case.folder.join("target");
        fs::create_dir_all(&target).unwrap();
        fs::write(target.join("CACHEDIR.TAG"), "").unwrap();
        let program = target.join("cases");
        // A process of its own: what is open for writing here would still be open in a child that
        // another test starts meanwhile, and Linux executes no such file.
        let copied = Command::new("cp")
            .arg(env!("CARGO_BIN_EXE_cases"))
            .arg(&program)
            .status();
        assert!(copied.unwrap().success());
        Explored { case, program }
    }

    fn command(&self, verb: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg(self.case.test)
            .args(arguments)
            .env("CHAOS_VERB", verb)
            .env("CARGO_MANIFEST_DIR", &self.case.folder);
        for name in ["CI", "NEXTEST", "GITHUB_ACTIONS"] {
            command.env_remove(name);
        }
        command
    }

    /// Answers a verb's exit status and all that it printed.
    fn call(&self, verb: &str, arguments: &[&str]) -> (i32, String) {
        let output = self.command(verb, arguments).output().unwrap();
        let text = [output.stderr, output.stdout].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        (output.status.code().unwrap_or(128), text)
    }

    fn folder(&self) -> PathBuf {
        let target = self.case.folder.join("target/chaos/chaoscontrol-tests");
        target.join("cases").join(self.case.test)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder().join(name)).unwrap_or_default()
    }

    /// All that a whole exploration shows and that no host decides.
    fn shown(&self) -> (String, String, Vec<String>) {
        let report = self.read("report.json");
        let hash = report.lines().find(|line| line.contains("state_hash"));
        let bugs = fs::read_dir(self.folder().join("bugs")).unwrap();
        let bugs = bugs.map(|bug| bug.unwrap().file_name().into_string().unwrap());
        let mut bugs: Vec<String> = bugs.collect();
        bugs.sort();
        let hash = hash.expect("the report has the state's hash").to_owned();
        // The killed ones were to have more rounds, so that they do not end by themselves.
        let history = self.read("history.jsonl").replace("1000,", "4,");
        (hash, history, bugs)
    }

    /// Begins an exploration, and kills it when `rounds` rounds are done and it can be gone on with.
    fn killed_after(&self, rounds: usize, arguments: &[&str]) {
        let mut command = self.command("run", arguments);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.as_mut().unwrap();
        let began = Instant::now();
        let done = || {
            let checkpoint = self.folder().join("checkpoint");
            checkpoint.is_file() && self.read("history.jsonl").lines().count() >= rounds
        };
        while !done() {
            assert!(child.try_wait().unwrap().is_none(), "it ended too early");
            assert!(began.elapsed() < Duration::from_secs(300));
            thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// Whether an exploration in `mode` that is killed after so many rounds, and goes on with so many
/// workers, for each of `parts`, shows what one of four rounds shows that nobody killed.
fn goes_on_after_kill_9(mode: &str, parts: &[(usize, &str)]) {
    let begin = |rounds| ["--mode", mode, "--workers", "1", "--rounds", rounds];
    let whole = Explored::new(&format!("{mode}-whole"));
    let (status, text) = whole.call("run", &begin("4"));
    assert_eq!(status, 1, "{text}");
    assert!(text.contains("without stopping at failures"), "{text}");
    assert!(text.contains("make a fix credible at 95 %"), "{text}");
    let wanted = whole.shown();
    assert_eq!(wanted.1.lines().count(), 4, "{text}");
    assert_eq!(wanted.2.len(), 1, "{text}");
    let bug = whole.read(&format!("bugs/{}", wanted.2[0]));
    assert!(
        bug.contains("shrunk from") && bug.contains("replay"),
        "{bug}"
    );
    for &(rounds, workers) in parts {
        let part = Explored::new(&format!("{mode}-killed-{rounds}"));
        part.killed_after(rounds, &begin("1000"));
        // As if it had been killed while it wrote that.
        fs::write(part.folder().join("bugs/0123abcd.part1"), "the te").unwrap();
        let goes_on = ["--mode", mode, "--rounds", "4", "--workers", workers];
        let (status, text) = part.call("resume", &goes_on);
        assert_eq!(status, 1, "{text}");
        assert_eq!(part.shown(), wanted, "{text}");
    }
}

#[test]
fn an_exploration_goes_on_after_kill_9_as_if_nothing_had_been() {
    goes_on_after_kill_9("faults", &[(1, "2"), (3, "4")]);
}

#[test]
fn one_that_varies_what_guests_are_told_does_so_too() {
    goes_on_after_kill_9("hybrid", &[(2, "4")]);
}

#[test]
fn what_nothing_can_go_on_from_is_refused_and_kept() {
    let explored = Explored::new("refused");
    let refused = |arguments: &[&str], wanted: &str| {
        let before = explored.read("checkpoint");
        let (status, text) = explored.call("resume", arguments);
        assert_eq!(status, 2, "{text}");
        assert!(text.contains(wanted), "no {wanted:?} in {text}");
        assert!(text.contains("cargo chaos run"), "{text}");
        assert_eq!(explored.read("checkpoint"), before);
    };
    refused(&[], "there is no checkpoint in ");
    let (status, text) = explored.call("run", &["--rounds", "1"]);
    assert!(status < 2, "{text}");
    refused(&["--seed", "7"], "its seed was ");
    refused(
        &["--mode", "random"],
        "its strategy was guided, and is random now",
    );
    let path = explored.folder().join("checkpoint");
    let whole = explored.read("checkpoint");
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    refused(&[], "is damaged or cut short");
    fs::write(&path, whole.replacen("checkpoint 1", "checkpoint 99", 1)).unwrap();
    refused(&[], "has version 99");
    let (status, text) = explored.call("run", &["--shard", "3/2"]);
    assert_eq!(status, 2);
    assert!(text.contains("--shard is `3/2`"), "{text}");
    let mut command = explored.command("run", &["--rounds", "1"]);
    let output = command.env("CHAOS_SHARD", "eight").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("CHAOS_SHARD is `eight`"), "{text}");
}

#[test]
fn a_folder_that_cannot_be_written_loses_no_bug() {
    let explored = Explored::new("unwritable");
    fs::write(explored.case.folder.join("target/chaos"), "in the way").unwrap();
    let (status, text) = explored.call("run", &["--rounds", "4"]);
    assert_eq!(status, 1, "{text}");
    assert!(text.contains("cannot be written: "), "{text}");
    assert!(text.contains("1 distinct bug"), "{text}");
}

#[test]
fn what_a_limited_time_found_is_shrunk_after_it() {
    let explored = Explored::new("time");
    let (status, text) = explored.call("run", &["--rounds", "1000000", "--time", "3s"]);
    assert!(status < 2, "{text}");
    assert!(
        text.contains("time is up; `cargo chaos resume` goes on"),
        "{text}"
    );
    assert!(!text.contains("before it was shrunk"), "{text}");
}

#[test]
fn shards_are_put_together() {
    let explored = Explored::new("shards");
    for shard in ["1/2", "2/2"] {
        let (status, text) = explored.call("run", &["--rounds", "2", "--shard", shard]);
        assert!(status < 2, "{text}");
    }
    let (_, text) = explored.call("report", &[]);
    let first = text.lines().next().unwrap_or_default();
    assert!(
        first.contains("complete after 4 of 4, 16 branches"),
        "{text}"
    );
    assert!(first.ends_with("shards 1/2, 2/2"), "{text}");
    assert!(text.ends_with("\n1 distinct bug\n"), "{text}");
    let of = |shard: &str| explored.read(&format!("shard-{shard}-of-2/history.jsonl"));
    assert_ne!(of("1"), of("2"), "they draw differently");
    let (_, json) = explored.call("report", &["--json"]);
    assert!(json.contains("\"shards\": [\n    \"1/2\""), "{json}");
}
