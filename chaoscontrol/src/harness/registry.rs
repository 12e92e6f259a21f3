//! The chaos tests of an executable, as `#[chaos_test]` writes them down.
//!
//! The attribute turns each test function into a [`TestCase`] in [`TESTS`]; all of it is
//! constant data, so that listing tests runs nothing.

use std::fmt::Debug;

use linkme::distributed_slice;

use super::disk::Disk;
use super::engine::EngineChoice;
use crate::explore::Mode;
use crate::explore::simulation::Check;
use crate::fault::FaultSchedule;

/// Every chaos test that is linked into this executable.
#[distributed_slice]
pub static TESTS: [TestCase];

/// A chaos test.
#[derive(Clone, Copy, Debug)]
pub struct TestCase {
    /// `module_path!()` of the function.
    pub module: &'static str,
    /// The function's name.
    pub function: &'static str,
    /// What every VM runs.
    pub body: Body,
    /// What the attribute says.
    pub attributes: Attributes,
    /// `#[ignore]`, with its reason if it has one.
    pub ignore: Option<Option<&'static str>>,
    /// `#[should_panic]`, with the expected text if it has one.
    pub should_panic: Option<Option<&'static str>>,
    /// `file!()` of the function.
    pub file: &'static str,
    /// Line of the function, from 1.
    pub line: u32,
    /// Line of the function's last brace: assertion sites in between are the test's own.
    pub end_line: u32,
}

impl TestCase {
    /// The name by which `cargo test` knows the test: its path below the crate root.
    pub fn name(&self) -> String {
        path(self.module, self.function)
    }
}

/// Every `#[test]` function that is to run on the host beside the chaos tests.
#[distributed_slice]
pub static HOST_TESTS: [HostTest];

/// A host-side test.
#[derive(Clone, Copy, Debug)]
pub struct HostTest {
    /// `module_path!()` of the function.
    pub module: &'static str,
    /// The function's name.
    pub function: &'static str,
    /// Runs it; answers the `Debug` text of the error it returned.
    pub run: fn() -> Result<(), String>,
    /// `#[ignore]`, with its reason if it has one.
    pub ignore: Option<Option<&'static str>>,
    /// `#[should_panic]`, with the expected text if it has one.
    pub should_panic: Option<Option<&'static str>>,
}

impl HostTest {
    /// The name by which `cargo test` knows the test.
    pub fn name(&self) -> String {
        path(self.module, self.function)
    }
}

/// A function's path below the crate root.
fn path(module: &str, function: &str) -> String {
    match module.split_once("::") {
        Some((_, path)) => format!("{path}::{function}"),
        None => function.to_owned(),
    }
}

pub use chaoscontrol_guest::agent::Body;

/// What a body may return: `()`, or a `Result` whose error can be shown.
#[diagnostic::on_unimplemented(
    message = "a chaos test returns `()` or `Result<(), E>` with `E: Debug`, not `{Self}`"
)]
pub trait Outcome {
    /// The error's text, if it is one.
    fn outcome(self) -> Result<(), String>;
}

impl Outcome for () {
    fn outcome(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: Debug> Outcome for Result<(), E> {
    fn outcome(self) -> Result<(), String> {
        self.map_err(|error| format!("{error:?}"))
    }
}

/// The keys of `#[chaos_test(...)]`; what is not given is `None` or empty. Times are
/// virtual nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Attributes {
    /// All VMs, 1..=16.
    pub vms: Option<u32>,
    /// How many of them, from the end, are clients.
    pub clients: Option<u32>,
    /// Rounds of exploration.
    pub rounds: Option<u32>,
    /// Branches a round.
    pub branches: Option<u32>,
    /// How long faults are applied.
    pub duration_ns: Option<u64>,
    /// The quiet period after them.
    pub quiet_ns: Option<u64>,
    /// The master seed.
    pub seed: Option<u64>,
    /// What the search varies.
    pub mode: Option<Mode>,
    /// Names of the faults that may be drawn; empty means none at all.
    pub faults: Option<&'static [&'static str]>,
    /// Names of the presets that fresh schedules follow.
    pub presets: &'static [&'static str],
    /// Limits on what servers suffer from.
    pub tolerance: &'static [&'static str],
    /// The one schedule to run instead of exploring.
    pub schedule: Option<Schedule>,
    /// Properties that have to be met.
    pub require: &'static [&'static str],
    /// Memory of a VM in bytes.
    pub memory: Option<u64>,
    /// A VM's disk.
    pub disk: Option<Disk<&'static str>>,
    /// Programs to pack, relative to the package.
    pub binaries: &'static [&'static str],
    /// Packages of the distribution that programs and files may come from.
    pub packages: &'static [&'static str],
    /// Files and folders to pack, relative to the package.
    pub files: &'static [&'static str],
    /// A kernel image, relative to the package.
    pub kernel: Option<&'static str>,
    /// What executes the guests' code.
    pub engine: Option<EngineChoice>,
    /// Wall time at boot, in seconds since 1970.
    pub epoch: Option<u64>,
    /// Virtual nanoseconds of an instruction.
    pub instruction_ns: Option<u64>,
    /// Whether a body that still runs at the end fails the test.
    pub must_finish: Option<bool>,
    /// When the setup counts as complete, whoever has said so.
    pub force_setup_ns: Option<u64>,
    /// Silence that fails the test.
    pub stall_ns: Option<u64>,
    /// Host time after which exploration ends as a failure, in host nanoseconds.
    pub wall_limit_ns: Option<u64>,
    /// Judges each branch after its end.
    pub check: Option<Check>,
}

impl Attributes {
    /// Nothing given.
    pub const NONE: Attributes = Attributes {
        vms: None,
        clients: None,
        rounds: None,
        branches: None,
        duration_ns: None,
        quiet_ns: None,
        seed: None,
        mode: None,
        faults: None,
        presets: &[],
        tolerance: &[],
        schedule: None,
        require: &[],
        memory: None,
        disk: None,
        binaries: &[],
        packages: &[],
        files: &[],
        kernel: None,
        engine: None,
        epoch: None,
        instruction_ns: None,
        must_finish: None,
        force_setup_ns: None,
        stall_ns: None,
        wall_limit_ns: None,
        check: None,
    };
}

/// Where a fixed schedule comes from.
#[derive(Clone, Copy, Debug)]
pub enum Schedule {
    /// A file of the package, in the text form of schedules.
    File(&'static str),
    /// A function of the test's crate.
    Function(fn() -> FaultSchedule),
}
