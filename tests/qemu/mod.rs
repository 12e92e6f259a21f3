//! Runs executables where `/dev/kvm` works: in a machine of QEMU's software emulation with
//! nested SVM and a distribution's kernel, or directly, on a host that runs Linux on KVM.
//!
//! Many hosts have no `/dev/kvm`, or one that is an emulation too slow and too incomplete for
//! Linux. The KVM engine has to be tested there, too.

mod built;
mod guest;
mod list;
mod machine;
mod pack;
mod packages;
mod process;
mod watch;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use chaoscontrol::cpu::kvm;

pub use built::{BuiltError, Target, built};
pub use guest::enter;
pub use machine::{Trouble, run as run_in_machine};

/// Something to run.
#[derive(Clone, Debug)]
pub struct Command {
    /// The executable. It keeps its path in the machine, and so do its shared libraries.
    pub executable: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Variables to set. In the machine, `PATH`, `HOME` and those are all there is.
    pub environment: Vec<(String, String)>,
    /// The folder in which it runs; made in the machine.
    pub folder: PathBuf,
    /// Files and folders that it needs in the machine, which keep their paths, too; programs
    /// come with their shared libraries.
    pub files: Vec<PathBuf>,
    /// How long it may run. The machine is 10 to 30 times slower than its host.
    pub timeout: Duration,
}

impl Command {
    /// `executable` without arguments, in `/`, for at most 60 s.
    pub fn new(executable: impl Into<PathBuf>) -> Command {
        Command {
            executable: executable.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            folder: PathBuf::from("/"),
            files: Vec::new(),
            timeout: Duration::from_secs(60),
        }
    }

    /// Adds arguments.
    pub fn arguments<'a>(mut self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        self.arguments
            .extend(arguments.into_iter().map(str::to_owned));
        self
    }

    /// Sets a variable.
    pub fn variable(mut self, name: &str, value: impl ToString) -> Command {
        self.environment.push((name.to_owned(), value.to_string()));
        self
    }

    /// Lets it run in `folder`.
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Command {
        self.folder = folder.into();
        self
    }

    /// Adds a file or folder that it needs.
    pub fn file(mut self, path: impl Into<PathBuf>) -> Command {
        self.files.push(path.into());
        self
    }

    /// Lets it run for `seconds`.
    pub fn seconds(mut self, seconds: u64) -> Command {
        self.timeout = Duration::from_secs(seconds);
        self
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.executable.display())?;
        self.arguments.iter().try_for_each(|a| write!(f, " {a}"))
    }
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With this status.
    Exited(i32),
    /// By this signal.
    Killed(i32),
    /// It was stopped, since its time was up.
    TimedOut,
    /// It was never started, and why.
    NotStarted(String),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Exited(status) => write!(f, "exited with status {status}"),
            Ending::Killed(signal) => write!(f, "was killed by signal {signal}"),
            Ending::TimedOut => f.write_str("was stopped, since its time was up"),
            Ending::NotStarted(why) => write!(f, "could not be started: {why}"),
        }
    }
}

/// What came of a command.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it ended.
    pub ending: Ending,
    /// Its standard output and standard error, as they came.
    pub output: String,
    /// How long it ran by the clock of where it ran.
    pub took: Duration,
}

/// What came of a list of commands.
#[derive(Clone, Debug)]
pub struct Run {
    /// Host time from the machine's start until `/dev/kvm` was there, if it was a machine.
    pub ready: Option<Duration>,
    /// An outcome for each command, in order.
    pub outcomes: Vec<Outcome>,
}

/// Runs `commands` one after the other where `/dev/kvm` works, all of them within `limit`,
/// and shows each line of their output to `line`. `init` is the executable `in-qemu`.
///
/// # Errors
/// There is no such place, or it failed: see [`Trouble`]. How the commands end is no error.
pub fn run(
    init: &Path,
    commands: &[Command],
    limit: Duration,
    line: &mut dyn FnMut(&str),
) -> Result<Run, Trouble> {
    if !direct() {
        return run_in_machine(init, commands, limit, line);
    }
    let deadline = Instant::now() + limit;
    let mut outcome = |command: &Command| {
        let mut command = command.clone();
        let left = deadline.saturating_duration_since(Instant::now());
        command.timeout = command.timeout.min(left);
        process::collect(&command, line)
    };
    Ok(Run {
        ready: None,
        outcomes: commands.iter().map(&mut outcome).collect(),
    })
}

/// Whether this host's own `/dev/kvm` runs Linux at a processor's speed.
pub fn direct() -> bool {
    static DIRECT: OnceLock<bool> = OnceLock::new();
    *DIRECT.get_or_init(|| kvm::probe().is_ok_and(|probe| probe.usable()))
}
