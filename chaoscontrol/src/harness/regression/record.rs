//! One recorded failure.

use std::fmt::Write;

use xxhash_rust::xxh3::xxh3_64;

use crate::cpu::Engine;
use crate::explore::{Recipe, Reseed};
use crate::harness::disk::Disk;
use crate::harness::labels::{Heard, Label};
use crate::harness::rerun::Rerun;
use crate::harness::settings::Settings;
use crate::harness::world::Booted;
use crate::oracle::FailureId;
use crate::replay::HashRecord;

/// A failure as it is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Short name, for `CHAOS_REPLAY`.
    pub id: String,
    /// Which bug.
    pub bug: FailureId,
    /// When it was found, in words.
    pub found: String,
    /// The branch.
    pub recipe: Recipe,
    /// For each of its faults what it followed, if anything; empty if that is not known.
    pub labels: Vec<Option<Label>>,
    /// The settings of the test, of which those count that decide a run.
    pub settings: Decisive,
    /// Hash of the kernel, in hexadecimal.
    pub kernel: String,
    /// Hash of all that was packed, in hexadecimal.
    pub executable: String,
    /// Hash of what a disk held when it was new, in hexadecimal; empty if there was none.
    pub disk: String,
    /// The version of chaoscontrol.
    pub version: String,
    /// State hashes on the way, by ns after setup, their low 32 bits. Empty if they are not
    /// known.
    pub trail: HashRecord,
    /// Hash of the state in which it ended.
    pub state: u64,
}

/// The settings that decide a branch, seed and schedule given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decisive {
    /// All VMs.
    pub vms: u64,
    /// How many of them are clients.
    pub clients: u64,
    /// The master seed.
    pub seed: u64,
    /// Virtual ns in which faults are applied.
    pub duration_ns: u64,
    /// Virtual ns of the quiet period.
    pub quiet_ns: u64,
    /// Bytes of memory of a VM.
    pub memory: u64,
    /// A VM's disk, if it has one.
    pub disk: Option<Disk>,
    /// Wall time at boot, seconds since 1970.
    pub epoch: u64,
    /// Virtual ns of an instruction.
    pub instruction_ns: u64,
    /// Whether a body that still runs at the end fails.
    pub must_finish: bool,
    /// Cluster time in ns at which the setup counts as complete; 0 is never.
    pub force_setup_ns: u64,
    /// Virtual ns of silence that fail; 0 is never.
    pub stall_ns: u64,
    /// What executed the guests' code.
    pub engine: Engine,
}

impl Decisive {
    /// Those of `settings`, on `engine`.
    pub fn of(settings: &Settings, engine: Engine) -> Decisive {
        Decisive {
            vms: settings.vms,
            clients: settings.clients,
            seed: settings.seed,
            duration_ns: settings.duration_ns,
            quiet_ns: settings.quiet_ns,
            memory: settings.memory,
            disk: settings.disk.clone(),
            epoch: settings.epoch,
            instruction_ns: settings.instruction_ns,
            must_finish: settings.must_finish,
            force_setup_ns: settings.force_setup_ns,
            stall_ns: settings.stall_ns,
            engine,
        }
    }

    /// `settings` with these instead, but for the engine, which the host may not have.
    pub fn applied_to(&self, settings: &Settings) -> Settings {
        Settings {
            vms: self.vms,
            clients: self.clients,
            seed: self.seed,
            duration_ns: self.duration_ns,
            quiet_ns: self.quiet_ns,
            memory: self.memory,
            disk: self.disk.clone(),
            epoch: self.epoch,
            instruction_ns: self.instruction_ns,
            must_finish: self.must_finish,
            force_setup_ns: self.force_setup_ns,
            stall_ns: self.stall_ns,
            ..settings.clone()
        }
    }
}

impl Recorded {
    /// The record of a failure of this version.
    pub fn new(
        bug: FailureId,
        found: String,
        recipe: Recipe,
        settings: &Settings,
        booted: &Booted,
        branch: &Rerun,
    ) -> Recorded {
        let mut recorded = Recorded {
            id: String::new(),
            bug,
            found,
            labels: Heard::of(branch).labels(&recipe.schedule),
            recipe,
            settings: Decisive::of(settings, booted.engine),
            kernel: format!("{:032x}", booted.kernel.hash),
            executable: format!("{:032x}", booted.initramfs.hash),
            disk: disk_hash(booted),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            trail: branch.trail.short(),
            state: branch.state_hash,
        };
        recorded.id = recorded.name();
        recorded
    }

    /// A name that depends on the bug and on the branch that shows it.
    fn name(&self) -> String {
        let Recipe {
            seed,
            reseeds,
            schedule,
            inputs,
        } = &self.recipe;
        let mut text = format!("{:?} {:?} {seed} {schedule}", self.bug, self.settings);
        for Reseed { at_ns, seed } in reseeds {
            let _ = write!(text, "{at_ns} {seed} ");
        }
        for input in inputs {
            let _ = write!(text, "{input} ");
        }
        format!("{:08x}", xxh3_64(text.as_bytes()) as u32)
    }

    /// What has changed since it was recorded, in words: `a` and `b`.
    pub fn changed(&self, booted: &Booted) -> Option<String> {
        let kernel = format!("{:032x}", booted.kernel.hash);
        let executable = format!("{:032x}", booted.initramfs.hash);
        let differs = [
            ("kernel", self.kernel != kernel),
            ("executable", self.executable != executable),
            ("content of the new disk", self.disk != disk_hash(booted)),
            ("engine", self.settings.engine != booted.engine),
            (
                "version of chaoscontrol",
                self.version != env!("CARGO_PKG_VERSION"),
            ),
        ];
        let names: Vec<&str> = differs
            .iter()
            .filter(|(_, differs)| *differs)
            .map(|(name, _)| *name)
            .collect();
        (!names.is_empty()).then(|| names.join(" and "))
    }
}

/// The hash of what disks hold when they are new, in hexadecimal; empty if there are none.
fn disk_hash(booted: &Booted) -> String {
    let hash = booted.disk.as_ref().map(|disk| disk.hash);
    hash.map(|hash| format!("{hash:032x}")).unwrap_or_default()
}
