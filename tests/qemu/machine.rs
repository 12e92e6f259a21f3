//! The machine: QEMU's software emulation of a processor with SVM, watched by what its
//! second serial port says. The first one, and QEMU's own messages, go to the same log.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use chaoscontrol::image::InitramfsError;
use chaoscontrol::image::steps::tail;

use super::list::News;
use super::packages::{Kernel, PackagesError, Qemu};
use super::{Command, Outcome, Run, pack};

/// How QEMU is called, but for what differs between runs.
const OPTIONS: [&str; 13] = [
    "-nodefaults",
    "-no-user-config",
    "-no-reboot",
    "-display",
    "none",
    "-accel",
    "tcg",
    "-cpu",
    "EPYC,+svm,+npt",
    "-m",
    "2G",
    "-smp",
    "1",
];

/// The machine's kernel command line. A panic resets, and a reset ends QEMU.
const CMDLINE: &str = "console=ttyS0 quiet panic=-1 reboot=t mitigations=off cryptomgr.notests";

/// How long the machine may take to `/dev/kvm`: it needs 3 s, and more on a busy host.
const BOOT: Duration = Duration::from_secs(180);

/// How much longer than a command itself the machine may take to tell that its time was up.
const SLACK: Duration = Duration::from_secs(60);

/// Why commands could not be run in the machine.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// QEMU or its kernel is not there.
    #[error(transparent)]
    Packages(#[from] PackagesError),
    /// A command cannot be packed.
    #[error(transparent)]
    Pack(#[from] InitramfsError),
    /// A file of the machine cannot be read or written.
    #[error("{path} cannot be used for the machine: {source}")]
    File {
        /// The file or folder.
        path: String,
        /// What the host said.
        source: io::Error,
    },
    /// QEMU cannot be started.
    #[error("{command} cannot be started: {source}")]
    Start {
        /// The command line.
        command: String,
        /// What the host said.
        source: io::Error,
    },
    /// The machine failed.
    #[error("the machine failed {during}: {why}; its log is {log}\n{tail}started by {command}")]
    Machine {
        /// What was going on.
        during: String,
        /// What went wrong.
        why: String,
        /// The log file.
        log: String,
        /// The log's last lines.
        tail: String,
        /// The command line.
        command: String,
    },
}

/// Starts a machine, runs `commands` in it, and ends it.
pub fn run(init: &Path, commands: &[Command], line: &mut dyn FnMut(&str)) -> Result<Run, Trouble> {
    let say = |text: &str| eprintln!("{text}");
    let qemu = Qemu::locate(&say)?;
    let kernel = Kernel::locate(&say)?;
    let folder = Folder::new(init)?;
    let modules = kernel.modules().map_err(|source| Trouble::File {
        path: kernel.image().display().to_string(),
        source,
    })?;
    let initramfs = pack::pack(init, commands, &modules)?;
    let packed = folder.path.join("initramfs");
    fs::write(&packed, initramfs).map_err(|e| folder.failed(e))?;
    let log = folder.path.join("log");
    let file = File::create(&log).map_err(|e| folder.failed(e))?;
    let mut command = qemu.command();
    command.args(OPTIONS).arg("-kernel").arg(kernel.image());
    command
        .arg("-initrd")
        .arg(&packed)
        .args(["-append", CMDLINE]);
    let path = log.display().to_string().replace(',', ",,");
    command.args([
        "-chardev",
        &format!("file,id=console,path={path},append=on"),
    ]);
    command.args(["-serial", "chardev:console"]);
    command.args([
        "-chardev",
        "stdio,id=news,signal=off",
        "-serial",
        "chardev:news",
    ]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    drop(file);
    let file = || {
        File::options()
            .append(true)
            .open(&log)
            .map_err(|e| folder.failed(e))
    };
    command.stderr(file()?);
    // SAFETY: between fork and exec only `prctl` is called, which takes no pointers here and
    // is safe to call there.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
    let begun = Instant::now();
    let child = command.spawn().map_err(|source| Trouble::Start {
        command: format!("{command:?}"),
        source,
    })?;
    let mut machine = Machine::new(child, file()?);
    let run = machine.serve(begun, commands, line);
    drop(machine);
    run.map_err(|(during, why)| {
        let _ = fs::remove_file(&packed);
        folder.keep();
        Trouble::Machine {
            during,
            why,
            tail: tail(&log),
            log: log.display().to_string(),
            command: format!("{command:?}"),
        }
    })
}

/// A running QEMU, which ends with this value.
struct Machine {
    qemu: Child,
    lines: Receiver<String>,
}

impl Machine {
    fn new(mut qemu: Child, log: File) -> Machine {
        let output = qemu.stdout.take().expect("standard output is piped");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || read(output, log, &sender));
        Machine { qemu, lines }
    }

    /// Hears of all commands; an error tells what was going on, and what went wrong.
    fn serve(
        &mut self,
        begun: Instant,
        commands: &[Command],
        line: &mut dyn FnMut(&str),
    ) -> Result<Run, (String, String)> {
        let mut ignored = String::new();
        let booting = |why| ("on its way to /dev/kvm".to_owned(), why);
        match self.news(BOOT, line, &mut ignored).map_err(booting)? {
            News::Ready => {}
            other => return Err(booting(unexpected(&other))),
        }
        let ready = Some(begun.elapsed());
        let mut outcomes = Vec::new();
        for command in commands {
            let failed = |why| (format!("while it ran {command}"), why);
            let limit = command.timeout * 2 + SLACK;
            let mut output = String::new();
            match self.news(limit, line, &mut output).map_err(failed)? {
                News::Ended(ending, took) => outcomes.push(Outcome {
                    ending,
                    output,
                    took,
                }),
                other => return Err(failed(unexpected(&other))),
            }
        }
        let ending = |why| ("after the last command".to_owned(), why);
        match self.news(SLACK, line, &mut ignored).map_err(ending)? {
            News::Done => Ok(Run { ready, outcomes }),
            other => Err(ending(unexpected(&other))),
        }
    }

    /// The next news of the machine; what it says before is output of a command.
    fn news(
        &mut self,
        limit: Duration,
        line: &mut dyn FnMut(&str),
        output: &mut String,
    ) -> Result<News, String> {
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
                    return Err(format!("it said nothing more for {} s", limit.as_secs()));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.qemu.wait().map(|s| s.to_string());
                    let status = status.unwrap_or_else(|e| e.to_string());
                    return Err(format!("QEMU ended ({status})"));
                }
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

fn unexpected(news: &News) -> String {
    match news {
        News::Trouble(why) => why.clone(),
        other => format!("it said {other:?} out of turn"),
    }
}

fn read(output: impl Read, mut log: File, lines: &mpsc::Sender<String>) {
    let mut output = BufReader::new(output);
    let mut bytes = Vec::new();
    while let Ok(1..) = output.read_until(b'\n', &mut bytes) {
        let _ = log.write_all(&bytes);
        let text = String::from_utf8_lossy(&bytes);
        if lines
            .send(text.trim_end_matches(['\n', '\r']).to_owned())
            .is_err()
        {
            break;
        }
        bytes.clear();
    }
}

/// The files of one run, beside `init` in cargo's target folder; removed in the end.
struct Folder {
    path: PathBuf,
    kept: std::cell::Cell<bool>,
}

impl Folder {
    fn new(init: &Path) -> Result<Folder, Trouble> {
        static RUNS: AtomicU32 = AtomicU32::new(0);
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let name = format!("in-qemu-{}-{run}", process::id());
        let path = init.parent().unwrap_or(Path::new(".")).join(name);
        let folder = Folder {
            path,
            kept: false.into(),
        };
        fs::create_dir_all(&folder.path).map_err(|e| folder.failed(e))?;
        Ok(folder)
    }

    fn failed(&self, source: io::Error) -> Trouble {
        Trouble::File {
            path: self.path.display().to_string(),
            source,
        }
    }

    fn keep(&self) {
        self.kept.set(true);
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.kept.get() {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
