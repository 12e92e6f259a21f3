//! A running QEMU, judged by what the machine's second serial port says.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Child;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::list::News;
use super::{Command, Outcome, Run};

/// How long the machine may take to `/dev/kvm`: it needs 3 s, and more on a busy host.
const BOOT: Duration = Duration::from_secs(180);

/// How much longer than a command's own time the machine may take to tell that it was up.
const SLACK: Duration = Duration::from_secs(60);

/// How long QEMU may take to end once it has closed its output.
const END: Duration = Duration::from_secs(10);

/// What was going on, and what went wrong.
#[derive(Debug)]
pub struct Failed {
    pub during: String,
    pub why: String,
}

/// A running QEMU, which ends with this value.
pub struct Machine {
    qemu: Child,
    lines: Receiver<String>,
    begun: Instant,
    limit: Duration,
}

impl Machine {
    /// Watches `qemu`, whose standard output is piped and the serial port, and which may
    /// live for `limit`. What it says goes to `log`, too.
    pub fn new(mut qemu: Child, limit: Duration, log: File) -> Machine {
        let output = qemu.stdout.take().expect("standard output is piped");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || read(output, log, &sender));
        Machine {
            qemu,
            lines,
            begun: Instant::now(),
            limit,
        }
    }

    /// Hears of all commands.
    pub fn serve(
        &mut self,
        commands: &[Command],
        line: &mut dyn FnMut(&str),
    ) -> Result<Run, Failed> {
        let during = "on its way to /dev/kvm";
        self.expect(&News::Ready, BOOT, during, line)?;
        let ready = Some(self.begun.elapsed());
        let mut outcomes = Vec::new();
        for command in commands {
            let failed = |why| Failed {
                during: format!("while it ran {command}"),
                why,
            };
            let limit = command.timeout * 2 + SLACK;
            let mut output = String::new();
            match self.news(limit, line, &mut output).map_err(failed)? {
                News::Ended(ending, took) => outcomes.push(Outcome {
                    ending,
                    output,
                    took,
                }),
                other => return Err(failed(unexpected(other))),
            }
        }
        self.expect(&News::Done, SLACK, "after the last command", line)?;
        Ok(Run { ready, outcomes })
    }

    fn expect(
        &mut self,
        wanted: &News,
        limit: Duration,
        during: &str,
        line: &mut dyn FnMut(&str),
    ) -> Result<(), Failed> {
        let why = match self.news(limit, line, &mut String::new()) {
            Ok(news) if news == *wanted => return Ok(()),
            Ok(other) => unexpected(other),
            Err(why) => why,
        };
        let during = during.to_owned();
        Err(Failed { during, why })
    }

    /// The next news of the machine; what it says before is output of a command.
    fn news(
        &mut self,
        limit: Duration,
        line: &mut dyn FnMut(&str),
        output: &mut String,
    ) -> Result<News, String> {
        let left = self.limit.saturating_sub(self.begun.elapsed());
        let (limit, whose) = match left < limit {
            true => (left, "all that was to be run here"),
            false => (limit, "this"),
        };
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(text) => match News::parse(&text) {
                    Some(news) => return Ok(news),
                    None => {
                        line(&text);
                        output.push_str(&text);
                        output.push('\n');
                    }
                },
                Err(RecvTimeoutError::Timeout) => {
                    let age = self.begun.elapsed().as_secs();
                    return Err(format!(
                        "the time for {whose} was up, {age} s after the start"
                    ));
                }
                Err(RecvTimeoutError::Disconnected) => return Err(self.ended()),
            }
        }
    }

    /// How QEMU ended.
    fn ended(&mut self) -> String {
        let closed = Instant::now();
        while closed.elapsed() < END {
            match self.qemu.try_wait() {
                Ok(None) => thread::sleep(Duration::from_millis(10)),
                Ok(Some(status)) => return format!("QEMU ended ({status})"),
                Err(error) => return format!("QEMU is lost ({error})"),
            }
        }
        "QEMU closed its serial port".to_owned()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

fn unexpected(news: News) -> String {
    match news {
        News::Trouble(why) => why,
        other => format!("it said {other:?} out of turn"),
    }
}

fn read(output: impl Read, mut log: File, lines: &mpsc::Sender<String>) {
    let mut output = BufReader::new(output);
    let mut bytes = Vec::new();
    while let Ok(1..) = output.read_until(b'\n', &mut bytes) {
        let _ = log.write_all(&bytes);
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_end_matches(['\n', '\r']).to_owned();
        if lines.send(text).is_err() {
            break;
        }
        bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::Ending;
    use super::*;
    use std::process::Stdio;

    /// What comes of one command in a machine that says what `script` prints.
    fn serve(script: &str, limit: Duration) -> (Result<Run, Failed>, Vec<String>) {
        let mut shell = std::process::Command::new("/bin/sh");
        shell.args(["-c", script]).stdout(Stdio::piped());
        let log = File::options().write(true).open("/dev/null").unwrap();
        let mut machine = Machine::new(shell.spawn().unwrap(), limit, log);
        let mut lines = Vec::new();
        let commands = [Command::new("/bin/test").seconds(1)];
        let run = machine.serve(&commands, &mut |line| lines.push(line.to_owned()));
        (run, lines)
    }

    const LONG: Duration = Duration::from_secs(100);

    #[test]
    fn news_and_output_are_told_apart() {
        let script = r"printf '\036ready\r\none\r\ntwo\n\036ended 5 exited 3\n\036done\n'";
        let (run, lines) = serve(script, LONG);
        let outcome = &run.unwrap().outcomes[0];
        assert_eq!(outcome.ending, Ending::Exited(3));
        assert_eq!(outcome.took, Duration::from_millis(5));
        assert_eq!(outcome.output, "one\ntwo\n");
        assert_eq!(lines, ["one", "two"]);
    }

    #[test]
    fn a_machine_that_fails_is_told_by_where_and_why() {
        let cases = [
            ("exit 1", "on its way", "QEMU ended (exit status: 1)"),
            ("printf '\\036trouble no kvm\\n'", "on its way", "no kvm"),
            (
                "printf '\\036done\\n'",
                "on its way",
                "it said Done out of turn",
            ),
            (
                "printf '\\036ready\\n'; kill -9 $$",
                "while it ran /bin/test",
                "QEMU ended (signal: 9 (SIGKILL))",
            ),
            (
                "printf '\\036ready\\n\\036ended 5 exited 0\\n'",
                "after the last command",
                "QEMU ended (exit status: 0)",
            ),
        ];
        for (script, during, why) in cases {
            let failed = serve(script, LONG).0.unwrap_err();
            assert!(failed.during.contains(during), "{script}: {failed:?}");
            assert_eq!(failed.why, why, "{script}");
        }
    }

    #[test]
    fn a_silent_machine_is_not_waited_for_beyond_its_limit() {
        let (run, _) = serve("exec sleep 90", Duration::from_millis(200));
        let failed = run.unwrap_err();
        assert!(failed.why.contains("all that was to be run"), "{failed:?}");
    }
}
