//! Runs one command to its end or the end of its time; the same in the machine and on a host.

use std::io::{self, PipeReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::{Command, Ending, Outcome};

/// How often a silent command is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// How long an ended command's output is listened to: a process that it left behind may keep
/// it open, or say something for ever.
const LEFT: Duration = Duration::from_secs(1);

/// Runs `command`, and gives its output to `sink` as it comes.
pub fn run(command: &Command, sink: &mut dyn FnMut(&[u8])) -> (Ending, Duration) {
    let begun = Instant::now();
    let ending = match start(command) {
        Ok((child, output)) => watch(child, output, begun + command.timeout, sink),
        Err(error) => Ending::NotStarted(error.to_string()),
    };
    (ending, begun.elapsed())
}

/// Runs `command`, showing each line of its output to `line`.
pub fn collect(command: &Command, line: &mut dyn FnMut(&str)) -> Outcome {
    let mut bytes = Vec::new();
    let mut shown = 0;
    let (ending, took) = run(command, &mut |more| {
        bytes.extend_from_slice(more);
        while let Some(length) = bytes[shown..].iter().position(|&b| b == b'\n') {
            line(&String::from_utf8_lossy(&bytes[shown..shown + length]));
            shown += length + 1;
        }
    });
    if shown < bytes.len() {
        line(&String::from_utf8_lossy(&bytes[shown..]));
    }
    Outcome {
        ending,
        output: String::from_utf8_lossy(&bytes).into_owned(),
        took,
    }
}

fn start(command: &Command) -> io::Result<(Child, PipeReader)> {
    let (reader, writer) = io::pipe()?;
    let child = std::process::Command::new(&command.executable)
        .args(&command.arguments)
        .envs(command.environment.iter().cloned())
        .current_dir(&command.folder)
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0)
        .spawn()?;
    Ok((child, reader))
}

fn watch(
    mut child: Child,
    output: PipeReader,
    deadline: Instant,
    sink: &mut dyn FnMut(&[u8]),
) -> Ending {
    let (chunks, heard) = mpsc::channel();
    thread::spawn(move || read(output, &chunks));
    let mut ended: Option<(Ending, Instant)> = None;
    loop {
        match heard.recv_timeout(LOOK) {
            Ok(chunk) => sink(&chunk),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) if ended.is_some() => break,
            Err(RecvTimeoutError::Disconnected) => thread::sleep(LOOK),
        }
        match &ended {
            Some((_, at)) if at.elapsed() >= LEFT => break,
            Some(_) => {}
            None => {
                let ending = match child.try_wait() {
                    Ok(None) if Instant::now() >= deadline => {
                        kill(&mut child);
                        Some(Ending::TimedOut)
                    }
                    Ok(status) => status.map(ending),
                    Err(error) => Some(Ending::NotStarted(error.to_string())),
                };
                ended = ending.map(|ending| (ending, Instant::now()));
            }
        }
    }
    let (ending, _) = ended.expect("the loop ends with an ending");
    ending
}

fn read(mut output: PipeReader, chunks: &mpsc::Sender<Vec<u8>>) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = output.read(&mut buffer) {
        if chunks.send(buffer[..length].to_vec()).is_err() {
            break;
        }
    }
}

/// Kills the command and all processes of its group.
fn kill(child: &mut Child) {
    // SAFETY: `kill` takes no pointers. The group is that of our child, which nobody has
    // waited for, so its number is still its own.
    unsafe { libc::kill(-(child.id() as i32), libc::SIGKILL) };
    let _ = child.wait();
}

fn ending(status: ExitStatus) -> Ending {
    match status.code() {
        Some(code) => Ending::Exited(code),
        None => Ending::Killed(status.signal().unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use std::{env, process};

    use super::*;

    fn shell(script: &str) -> Command {
        Command::new("/bin/sh").arguments(["-c", script])
    }

    #[test]
    fn output_and_ending_are_told() {
        let mut lines = Vec::new();
        let outcome = collect(
            &shell("echo a; echo b >&2; printf c; exit 3"),
            &mut |line| {
                lines.push(line.to_owned());
            },
        );
        assert_eq!(outcome.ending, Ending::Exited(3));
        assert_eq!(outcome.output, "a\nb\nc");
        assert_eq!(lines, ["a", "b", "c"]);
        assert_eq!(
            collect(&shell("kill -9 $$"), &mut |_| {}).ending,
            Ending::Killed(9)
        );
        let missing = collect(&Command::new("/no/such/program"), &mut |_| {});
        assert!(
            matches!(missing.ending, Ending::NotStarted(_)),
            "{missing:?}"
        );
    }

    #[test]
    fn time_ends_a_command_and_its_children() {
        let begun = Instant::now();
        let late = env::temp_dir().join(format!("chaoscontrol-late-{}", process::id()));
        let script = format!("(sleep 1; touch {late:?}) & echo on; sleep 100; echo off");
        let mut command = shell(&script);
        command.timeout = Duration::from_millis(300);
        let outcome = collect(&command, &mut |_| {});
        assert_eq!(outcome.ending, Ending::TimedOut);
        assert_eq!(outcome.output, "on\n");
        assert!(begun.elapsed() < Duration::from_secs(50));
        thread::sleep(Duration::from_millis(1500));
        assert!(!late.exists());
    }

    #[test]
    fn what_a_command_leaves_behind_is_not_waited_for() {
        let begun = Instant::now();
        let outcome = collect(&shell("sleep 60 & echo gone"), &mut |_| {});
        assert_eq!(outcome.ending, Ending::Exited(0));
        assert_eq!(outcome.output, "gone\n");
        let talks = "timeout 60 sh -c 'while :; do echo more; done' & echo gone";
        let outcome = collect(&shell(talks), &mut |_| {});
        assert_eq!(outcome.ending, Ending::Exited(0));
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
}
