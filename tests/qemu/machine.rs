//! Makes the machine: QEMU's software emulation of a processor with SVM, a distribution's
//! kernel, and the commands packed into its initramfs. The kernel's messages, QEMU's own and
//! what the commands print go to one log.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chaoscontrol::image::InitramfsError;
use chaoscontrol::image::fetched::FetchError;
use chaoscontrol::image::steps::tail;

use super::packages::{Kernel, Qemu};
use super::watch::{Failed, Machine};
use super::{Command, Run, pack};

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

/// The machine's kernel command line. A panic resets, and a reset ends QEMU. The check of the
/// timer expects interrupts within so many cycles, and panics on a busy host.
const CMDLINE: &str =
    "console=ttyS0 quiet panic=-1 reboot=t mitigations=off cryptomgr.notests no_timer_check";

/// Why commands could not be run in the machine.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// QEMU or its kernel is not there.
    #[error(transparent)]
    Packages(#[from] FetchError),
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

/// Starts a machine, runs `commands` in it, all of them within `limit`, and ends it. Each
/// line of their output is shown to `line`; `init` is the executable `in-qemu`.
///
/// # Errors
/// See [`Trouble`].
pub fn run(
    init: &Path,
    commands: &[Command],
    limit: Duration,
    line: &mut dyn FnMut(&str),
) -> Result<Run, Trouble> {
    let say = |text: &str| eprintln!("{text}");
    let qemu = Qemu::locate(&say)?;
    let kernel = Kernel::locate(&say)?;
    let modules = kernel.modules()?;
    let folder = Folder::new(init.parent().unwrap_or(Path::new(".")))?;
    let initramfs = pack::pack(init, commands, &modules)?;
    fs::write(folder.initramfs(), initramfs).map_err(|e| folder.failed(e))?;
    let mut command = qemu.command();
    command.args(OPTIONS);
    command
        .arg("-kernel")
        .arg(kernel.image())
        .args(["-append", CMDLINE]);
    command.arg("-initrd").arg(folder.initramfs());
    let log = folder.log();
    // A comma in an option's value is written twice.
    let path = log.display().to_string().replace(',', ",,");
    for port in [&format!("file,path={path},append=on"), "stdio,signal=off"] {
        let name = port.split(',').next().unwrap_or_default();
        command.args(["-chardev", &format!("{port},id={name}")]);
        command.args(["-serial", &format!("chardev:{name}")]);
    }
    let append = || {
        let file = File::options().create(true).append(true).open(&log);
        file.map_err(|e| folder.failed(e))
    };
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(append()?);
    // SAFETY: between fork and exec only `prctl` is called, which takes no pointers here and
    // may be called there.
    unsafe {
        command.pre_exec(|| {
            // No machine outlives the thread that waits for it here.
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
    let text = format!("{command:?}");
    let child = command.spawn().map_err(|source| Trouble::Start {
        command: text.clone(),
        source,
    })?;
    let mut machine = Machine::new(child, limit, append()?);
    let run = machine.serve(commands, line);
    drop(machine);
    run.inspect(|_| folder.remove())
        .map_err(|Failed { during, why }| Trouble::Machine {
            during,
            why,
            tail: tail(&log),
            log: log.display().to_string(),
            command: text,
        })
}

/// The files of one run, in cargo's target folder; those of a run that failed stay.
struct Folder {
    path: PathBuf,
}

impl Folder {
    /// What the name of each begins with; process and number of the run follow.
    const NAME: &str = "in-qemu-";

    fn new(parent: &Path) -> Result<Folder, Trouble> {
        static RUNS: AtomicU32 = AtomicU32::new(0);
        Folder::sweep(parent);
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}{}-{run}", Folder::NAME, process::id());
        let folder = Folder {
            path: parent.join(name),
        };
        folder.remove();
        fs::create_dir_all(&folder.path).map_err(|e| folder.failed(e))?;
        Ok(folder)
    }

    /// Removes what is large of processes that are gone; their logs stay.
    fn sweep(parent: &Path) {
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let run = name
                .strip_prefix(Folder::NAME)
                .and_then(|run| run.split_once('-'));
            if run.is_some_and(|(process, _)| !Path::new("/proc").join(process).exists()) {
                let folder = Folder { path: entry.path() };
                let _ = fs::remove_file(folder.initramfs());
            }
        }
    }

    fn initramfs(&self) -> PathBuf {
        self.path.join("initramfs")
    }

    fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    fn remove(&self) {
        let _ = fs::remove_dir_all(&self.path);
    }

    fn failed(&self, source: io::Error) -> Trouble {
        Trouble::File {
            path: self.path.display().to_string(),
            source,
        }
    }
}
