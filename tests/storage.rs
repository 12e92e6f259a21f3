//! What a real file system and a program on it find on their disk after power cuts.
//!
//! One run writes records; at random instants it is forked, and the fork's power cut. So a
//! cut costs a restart, and not the run before it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::OnceLock;

use chaoscontrol::cluster::{ClusterConfig, ClusterEvent, EventKind, SimulationController, boot};
use chaoscontrol::guest::protocol::Message;
use chaoscontrol::image::disk;
use chaoscontrol::machine::{
    DeterministicVm, DiskConfig, DiskImage, DiskStats, VmConfig, VmSnapshot,
};
use chaoscontrol_tests::{Numbers, machine};

const MS: u64 = 1_000_000;
const CUTS: u64 = 200;

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

fn cluster(ignore_flush: bool) -> SimulationController {
    let config = ClusterConfig {
        vms: 1,
        test: "records".into(),
        ..ClusterConfig::default()
    };
    SimulationController::new(&booted(ignore_flush), config).expect("a cluster")
}

/// The guest's last number of each kind, and the lines that matter.
#[derive(Clone, Debug, Default)]
struct Told {
    wrote: u64,
    durable: u64,
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
                    Message::Event { name, details } => self.event(name, details),
                    message @ (Message::BodyEnd { .. } | Message::Panic { .. }) if !self.clean => {
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

    fn event(&mut self, name: &str, details: &str) {
        let number = |text: &str| text.parse().expect("a number");
        match name {
            "wrote" => self.wrote = number(details),
            "durable" => self.durable = number(details),
            "clean" => self.clean = true,
            "found" => {
                let (count, others) = details.split_once(' ').expect("two parts");
                let others = others.split(',').filter(|text| !text.is_empty());
                self.found = Some((number(count), others.map(number).collect()));
            }
            _ => {}
        }
    }
}

/// Cuts the power and starts again. Which records are there that nobody had promised, or
/// what is wrong.
fn cut(fork: &mut SimulationController, before: &Told) -> Result<BTreeSet<u64>, String> {
    fork.kill(0);
    fork.restart(0);
    let mut told = before.clone();
    let end = fork.now() + 3_000 * MS;
    while fork.now() < end && !told.clean && told.trouble.is_empty() {
        told.hear(fork.run_tick());
    }
    if let Some(trouble) = told.trouble.first() {
        return Err(trouble.clone());
    }
    let Some((count, mut others)) = told.found.filter(|_| told.clean) else {
        return Err("the guest found nothing within 3 s".into());
    };
    if count < before.durable {
        let durable = before.durable;
        return Err(format!(
            "record {count} is lost, and {durable} were durable"
        ));
    }
    others.extend(before.durable..count);
    Ok(others)
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

/// Lets a run be cut at `cuts` random instants, until `look` has seen enough.
fn cuts(
    ignore_flush: bool,
    cuts: u64,
    mut look: impl FnMut(u64, &mut SimulationController, &Told) -> bool,
) {
    let mut original = cluster(ignore_flush);
    let mut fork = cluster(ignore_flush);
    let mut told = Told::default();
    let mut numbers = Numbers::new(11);
    while told.durable == 0 {
        told.hear(original.run_tick());
    }
    for seed in 0..cuts {
        let next = original.now() + numbers.below(10 * MS);
        told.hear(original.run_until(next));
        assert!(told.trouble.is_empty(), "{:?}", told.trouble);
        fork.restore(&original.snapshot()).expect("the same shape");
        fork.branch(seed);
        if look(seed, &mut fork, &told) {
            break;
        }
    }
}

#[test]
fn what_was_flushed_survives_every_power_cut() {
    let mut survivors = BTreeSet::new();
    let (mut lost, mut kept) = (0, 0);
    cuts(false, CUTS, |seed, fork, told| {
        let extra = cut(fork, told).unwrap_or_else(|why| panic!("cut {seed}: {why}"));
        let promised = told.wrote - told.durable;
        kept += u64::from(!extra.is_empty());
        lost += u64::from((extra.len() as u64) < promised);
        survivors.insert(extra.iter().map(|n| n - told.durable).collect::<Vec<_>>());
        if seed % 8 == 0 {
            let image = fork.disk(0).expect("a disk").contents().current();
            let sound = check(image, "storage-test.img");
            sound.unwrap_or_else(|why| panic!("cut {seed}: {why}"));
        }
        false
    });
    assert!(survivors.len() > 10, "{survivors:?}");
    assert!(lost > 20 && kept > 20, "{lost} lost some, {kept} kept some");
}

#[test]
fn a_drive_that_ignores_flushes_is_found_out() {
    let mut found_out = None;
    cuts(true, CUTS, |_, fork, told| {
        found_out = cut(fork, told).err();
        found_out.is_some()
    });
    assert!(
        found_out.is_some(),
        "200 power cuts lost nothing that was said to be durable"
    );
}

#[test]
fn a_cut_repeats() {
    let mut hashes = Vec::new();
    cuts(false, 3, |seed, fork, told| {
        let snapshot = fork.snapshot();
        let extra = cut(fork, told);
        let hash = fork.state_hash();
        fork.restore(&snapshot).expect("the same shape");
        assert_eq!(cut(fork, told), extra);
        assert_eq!(fork.state_hash(), hash, "cut {seed}");
        hashes.push(hash);
        false
    });
    assert_ne!(hashes[0], hashes[1]);
}

#[test]
fn nobody_touches_the_disk_before_the_boot_snapshot() {
    let vm = DeterministicVm::from_snapshot(&booted(false)).expect("a machine");
    assert_eq!(vm.disk().expect("a disk").stats(), &DiskStats::default());
}
