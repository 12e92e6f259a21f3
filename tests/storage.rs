//! What a real file system and a program on it find on their disk after power cuts.
//!
//! A seed is a run: it decides what the program writes and when, where the power is cut, and
//! what the drive keeps. All runs fork from one machine that has mounted its disk, so a seed
//! costs what it writes and a restart.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::OnceLock;

use chaoscontrol::cluster::{
    ClusterConfig, ClusterEvent, ClusterSnapshot, EventKind, SimulationController, boot,
};
use chaoscontrol::guest::protocol::{End, Message};
use chaoscontrol::image::disk;
use chaoscontrol::machine::{
    DeterministicVm, DiskConfig, DiskImage, DiskStats, VmConfig, VmSnapshot,
};
use chaoscontrol_tests::{Numbers, machine};

const MS: u64 = 1_000_000;
/// Runs of the test.
const SEEDS: u64 = 200;
/// Within this time of a run its power is cut.
const WINDOW: u64 = 150 * MS;
/// Within this time of a restart a file system recovers.
const RECOVERY: u64 = 30 * MS;

fn booted(ignore_flush: bool) -> VmSnapshot {
    static IMAGE: OnceLock<DiskImage> = OnceLock::new();
    let say = |line: &str| eprintln!("{line}");
    let image = IMAGE.get_or_init(|| disk::empty(64 << 20, &say).expect("a file system").image);
    let config = VmConfig {
        disk: Some(DiskConfig {
            ignore_flush,
            ..DiskConfig::new(image.clone())
        }),
        ..machine(Path::new(env!("CARGO_BIN_EXE_guest")))
    };
    boot(config).expect("a booted machine")
}

/// The guest's last number of each kind, and what is not as it should be.
#[derive(Clone, Debug, Default)]
struct Told {
    wrote: u64,
    durable: u64,
    /// Number of the life that looks at the disk without another power cut.
    last_life: u32,
    /// How many records are there without a gap, and which others.
    found: Option<(u64, BTreeSet<u64>)>,
    clean: bool,
    /// What is not as it should be.
    trouble: Vec<String>,
}

impl Told {
    fn hear(&mut self, events: Vec<ClusterEvent>) {
        for event in events {
            match event.kind {
                EventKind::Serial(line) => {
                    let line = String::from_utf8_lossy(&line).into_owned();
                    if ["error", "JBD2", "corrupt"]
                        .iter()
                        .any(|bad| line.contains(bad))
                    {
                        self.trouble.push(line);
                    }
                }
                EventKind::Message(bytes) => match Message::decode(&bytes).expect("a message") {
                    Message::Event { name, details } => {
                        self.event(name, details, event.incarnation == self.last_life);
                    }
                    Message::BodyEnd { end: End::Ok } => {}
                    message @ (Message::BodyEnd { .. } | Message::Panic { .. }) => {
                        self.trouble.push(format!("{message:?}"));
                    }
                    Message::Output { line, .. } => {
                        self.trouble
                            .push(String::from_utf8_lossy(line).into_owned());
                    }
                    _ => {}
                },
                EventKind::Off(off) => self.trouble.push(off.to_string()),
                _ => {}
            }
        }
    }

    fn event(&mut self, name: &str, details: &str, last_life: bool) {
        let number = |text: &str| text.parse().expect("a number");
        match name {
            "wrote" => self.wrote = number(details),
            "durable" => self.durable = number(details),
            "clean" if last_life => self.clean = true,
            "found" if last_life => {
                let (count, others) = details.split_once(' ').expect("two parts");
                let others = others.split(',').filter(|text| !text.is_empty());
                self.found = Some((number(count), others.map(number).collect()));
            }
            _ => {}
        }
    }

    /// What is left, or what is wrong.
    fn left(self) -> Result<Left, String> {
        if let Some(trouble) = self.trouble.first() {
            return Err(trouble.clone());
        }
        let Some((count, mut there)) = self.found.filter(|_| self.clean) else {
            return Err("the guest found nothing within 3 s".into());
        };
        let durable = self.durable;
        if count < durable {
            return Err(format!(
                "record {count} is lost, and {durable} were durable"
            ));
        }
        there.extend(durable..count);
        Ok(Left {
            wrote: self.wrote - durable,
            there: there.iter().map(|number| number - durable).collect(),
        })
    }
}

/// What a seed's power cuts left of the records that were not durable.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Left {
    /// How many were written and not durable.
    wrote: u64,
    /// Which of them are there, counted from the last that was durable.
    there: BTreeSet<u64>,
}

/// What all runs begin with, and where they take place.
struct Runs {
    base: ClusterSnapshot,
    cluster: SimulationController,
}

impl Runs {
    /// The program has set up, and waits until it has random numbers of its own.
    fn new(ignore_flush: bool) -> Runs {
        let config = ClusterConfig {
            vms: 1,
            test: "records".into(),
            ..ClusterConfig::default()
        };
        let boot = booted(ignore_flush);
        let mut cluster = SimulationController::new(&boot, config).expect("a cluster");
        let set_up = |event: &ClusterEvent| match &event.kind {
            EventKind::Message(bytes) => Message::decode(bytes) == Ok(Message::SetupComplete),
            _ => false,
        };
        while !cluster.run_tick().iter().any(set_up) {}
        let base = cluster.snapshot();
        Runs { base, cluster }
    }

    /// Runs the program until the power is cut, with each third seed once more while it starts
    /// again, and then until it has looked at its disk. What is left, or what is wrong.
    fn run(&mut self, seed: u64) -> Result<Left, String> {
        let cluster = &mut self.cluster;
        let mut numbers = Numbers::new(seed);
        let mut told = Told {
            last_life: if seed.is_multiple_of(3) { 2 } else { 1 },
            ..Told::default()
        };
        cluster.restore(&self.base).expect("the same shape");
        cluster.branch(seed);
        told.hear(cluster.run_until(cluster.now() + numbers.below(WINDOW)));
        cluster.restart(0);
        if told.last_life == 2 {
            told.hear(cluster.run_until(cluster.now() + numbers.below(RECOVERY)));
            cluster.restart(0);
        }
        let end = cluster.now() + 3_000 * MS;
        while cluster.now() < end && !told.clean && told.trouble.is_empty() {
            told.hear(cluster.run_tick());
        }
        told.left()
    }

    /// Whether the file system of the last run is sound without any repair.
    fn check(&self) -> Result<(), String> {
        let disk = self.cluster.disk(0).expect("a disk");
        check(disk.contents().current(), "storage-test.img")
    }
}

/// Whether the file system is sound without any repair.
fn check(image: &DiskImage, name: &str) -> Result<(), String> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let file = std::fs::File::create(&path).map_err(|e| e.to_string())?;
    image.write_to(file).map_err(|e| e.to_string())?;
    let mut command = disk::checker(&|_| {}).map_err(|e| e.to_string())?;
    let output = command.arg("-fn").arg(&path).output();
    let output = output.map_err(|e| e.to_string())?;
    std::fs::remove_file(&path).map_err(|e| e.to_string())?;
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

#[test]
fn what_was_flushed_survives_every_power_cut() {
    let mut runs = Runs::new(false);
    let mut outcomes = BTreeSet::new();
    let (mut lost, mut kept) = (0, 0);
    for seed in 0..SEEDS {
        let left = runs.run(seed);
        let left = left.unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        lost += u64::from((left.there.len() as u64) < left.wrote);
        kept += u64::from(!left.there.is_empty());
        outcomes.insert(left.there);
        if seed.is_multiple_of(8) {
            let sound = runs.check();
            sound.unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        }
    }
    assert!(outcomes.len() >= 20, "{outcomes:?}");
    let counts = format!("{lost} lost some, {kept} kept some");
    assert!(lost >= 40 && kept >= 40, "{counts}");
}

#[test]
fn a_drive_that_ignores_flushes_is_found_out() {
    let mut runs = Runs::new(true);
    let found_out = (0..SEEDS).find_map(|seed| runs.run(seed).err());
    assert!(
        found_out.is_some(),
        "{SEEDS} power cuts lost nothing that was said to be durable"
    );
}

#[test]
fn a_run_repeats() {
    let mut runs = Runs::new(false);
    let mut other = Runs {
        base: runs.base.clone(),
        cluster: SimulationController::from_snapshot(&runs.base).expect("a cluster"),
    };
    let mut hashes = BTreeSet::new();
    for seed in [6, 7, 8] {
        let left = runs.run(seed);
        let hash = runs.cluster.state_hash();
        assert_eq!(other.run(seed), left);
        assert_eq!(other.cluster.state_hash(), hash, "seed {seed}");
        hashes.insert(hash);
    }
    assert_eq!(hashes.len(), 3);
}

#[test]
fn nobody_touches_the_disk_before_the_boot_snapshot() {
    let vm = DeterministicVm::from_snapshot(&booted(false)).expect("a machine");
    assert_eq!(vm.disk().expect("a disk").stats(), &DiskStats::default());
}
