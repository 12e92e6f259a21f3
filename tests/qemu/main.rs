//! Runs an executable in a machine of QEMU's in which `/dev/kvm` works:
//!
//! ```text
//! in-qemu [NAME=VALUE]... [--file PATH]... [--kernel] [--folder PATH] [--seconds N] [--] EXECUTABLE [ARGUMENT]...
//! ```
//!
//! `--kernel` brings the default guest kernel and names it in `CHAOS_KERNEL`. The same
//! executable is the machine's `/init`.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use chaoscontrol::image::{KernelRequest, kernel};
use chaoscontrol_tests::qemu::{self, Command, Ending};

const USAGE: &str = "usage: in-qemu [NAME=VALUE]... [--file PATH]... [--kernel] [--folder PATH] [--seconds N] [--] EXECUTABLE [ARGUMENT]...";

/// What the machine may take besides.
const BOOT: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    qemu::enter();
    match run() {
        Ok(code) => code,
        Err(why) => {
            eprintln!("in-qemu: {why}");
            ExitCode::from(125)
        }
    }
}

fn run() -> Result<ExitCode, String> {
    let command = parse(env::args().skip(1))?;
    let init = env::current_exe().map_err(|e| e.to_string())?;
    let limit = command.timeout * 2 + BOOT;
    let run = qemu::run_in_machine(&init, &[command], limit, &mut |line| println!("{line}"));
    let run = run.map_err(|e| e.to_string())?;
    let outcome = &run.outcomes[0];
    let seconds = outcome.took.as_secs_f64();
    let ready = run.ready.unwrap_or_default().as_secs_f64();
    eprintln!(
        "in-qemu: {} after {seconds:.1} s; /dev/kvm was there after {ready:.1} s",
        outcome.ending
    );
    Ok(match outcome.ending {
        Ending::Exited(status) => ExitCode::from(status as u8),
        Ending::Killed(signal) => ExitCode::from(128 + signal as u8),
        Ending::TimedOut => ExitCode::from(124),
        Ending::NotStarted(_) => ExitCode::from(127),
    })
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Command, String> {
    let mut command = Command::new("").seconds(600);
    let absolute = |path: String| {
        let found = PathBuf::from(&path).canonicalize();
        found.map_err(|e| format!("{path}: {e}"))
    };
    let executable = loop {
        let word = words.next().ok_or(USAGE)?;
        let mut value = || words.next().ok_or(format!("{word} wants a value"));
        match word.as_str() {
            "--file" => command = command.file(absolute(value()?)?),
            "--folder" => command = command.folder(value()?),
            "--seconds" => {
                let seconds = value()?.parse().map_err(|_| "--seconds wants a number")?;
                command = command.seconds(seconds);
            }
            "--kernel" => {
                let say = |line: &str| eprintln!("{line}");
                let kernel = kernel::locate(&KernelRequest::default(), &say);
                let path = kernel.map_err(|e| e.to_string())?.path;
                let path = absolute(path.display().to_string())?;
                command = command.variable("CHAOS_KERNEL", path.display()).file(path);
            }
            "--" => break words.next().ok_or(USAGE)?,
            option if option.starts_with('-') => return Err(USAGE.into()),
            other => match other.split_once('=') {
                Some((name, value)) => command = command.variable(name, value),
                None => break word,
            },
        }
    };
    command.executable = absolute(executable)?;
    command.arguments = words.collect();
    Ok(command)
}
