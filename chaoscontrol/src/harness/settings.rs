//! The settings of one test: `CHAOS_*` environment before the attribute before
//! `[package.metadata.chaos]` before the default.

use std::collections::hash_map::RandomState;
use std::fmt::Display;
use std::hash::BuildHasher;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use super::disk::Disk;
use super::engine::EngineChoice;
use super::registry::Attributes;
use super::shard::Shard;
use crate::explore::Mode;

/// Why a test's settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A value that cannot be read or is out of range.
    #[error("{place} is `{value}`, and must be {wanted}")]
    Value {
        /// The variable or key.
        place: String,
        /// What it holds.
        value: String,
        /// What it may hold.
        wanted: &'static str,
    },
    /// A key of `[package.metadata.chaos]` that does not exist.
    #[error("[package.metadata.chaos] in {path} has no key `{key}`; there are {}, {DISK}", KEYS.each_ref().map(|k| k.name).join(", "))]
    Key {
        /// The manifest.
        path: String,
        /// The key.
        key: String,
    },
    /// A manifest that cannot be read.
    #[error("{path} cannot be read: {why}")]
    Manifest {
        /// The manifest.
        path: String,
        /// Why.
        why: String,
    },
    /// More clients than VMs.
    #[error("clients = {clients} leaves no server among vms = {vms}; raise vms or lower clients")]
    Clients {
        /// Clients.
        clients: u64,
        /// All VMs.
        vms: u64,
    },
}

/// Everything about a test that is a number, a switch or one of a few words, and its disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// VMs, 1..=16.
    pub vms: u64,
    /// How many of them, from the end, are clients.
    pub clients: u64,
    /// Rounds of exploration.
    pub rounds: u64,
    /// Branches a round.
    pub branches: u64,
    /// Virtual ns in which faults are applied.
    pub duration_ns: u64,
    /// Virtual ns of the quiet period.
    pub quiet_ns: u64,
    /// Master seed.
    pub seed: u64,
    /// Memory of a VM in bytes.
    pub memory: u64,
    /// A VM's disk, if it has one.
    pub disk: Option<Disk>,
    /// Wall time at boot, seconds since 1970.
    pub epoch: u64,
    /// Virtual ns of an instruction.
    pub instruction_ns: u64,
    /// Whether a body that still runs at the end fails the test.
    pub must_finish: bool,
    /// Cluster time in ns at which the setup counts as complete, whoever has said so; 0 is
    /// never.
    pub force_setup_ns: u64,
    /// Virtual ns of silence that fail the test; 0 is never.
    pub stall_ns: u64,
    /// Host ns after which exploration ends as a failure; 0 is never.
    pub wall_limit_ns: u64,
    /// Worker threads; 0 is one a free core.
    pub workers: u64,
    /// What executes the guests' code.
    pub engine: EngineChoice,
    /// What the search varies.
    pub mode: Mode,
    /// Whether each worker thread stays on a core of its own.
    pub pin: bool,
    /// The part of the exploration that is wanted; none is all of it.
    pub shard: Option<Shard>,
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Number,
    /// A number, or `random`.
    Seed,
    /// Seconds, or a number with `ns`, `us`, `ms`, `s`, `m`.
    Time,
    /// Bytes, or a number with `K`, `M`, `G`.
    Size,
    /// One of these, of which the value is the index.
    Word(&'static [&'static str]),
    /// `true` or `1`, `false` or `0`.
    Switch,
    /// A part of a whole, `2/8`.
    Shard,
}

/// A setting by its key in the manifest; the variable is `CHAOS_` and the key in capitals.
struct Key {
    name: &'static str,
    form: Form,
    least: u64,
    most: u64,
    default: u64,
    wanted: &'static str,
    attribute: fn(&Attributes) -> Option<u64>,
    set: fn(&mut Settings, u64),
}

const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 86_400 * SECOND;
const MIB: u64 = 1 << 20;
/// 2025-01-01T00:00:00Z.
const EPOCH: u64 = 1_735_689_600;

/// A key of a number: form, range, default, what is wanted, its field and the attribute's.
macro_rules! key {
    ($name:literal, $form:ident, $range:expr, $default:expr, $wanted:literal, $field:ident, $attribute:expr) => {
        Key {
            name: $name,
            form: Form::$form,
            least: *$range.start(),
            most: *$range.end(),
            default: $default,
            wanted: $wanted,
            attribute: $attribute,
            set: |settings, value| settings.$field = value,
        }
    };
}

/// A key of a few values, whose default is the first.
const fn choice(
    name: &'static str,
    form: Form,
    wanted: &'static str,
    attribute: fn(&Attributes) -> Option<u64>,
    set: fn(&mut Settings, u64),
) -> Key {
    let most = match form {
        Form::Word(words) => words.len() as u64 - 1,
        _ => 1,
    };
    Key {
        name,
        form,
        least: 0,
        most,
        default: 0,
        wanted,
        attribute,
        set,
    }
}

#[rustfmt::skip]
static KEYS: [Key; 19] = [
    key!("vms", Number, 1..=16, 3, "a number from 1 to 16", vms, |a| a.vms.map(u64::from)),
    key!("clients", Number, 0..=15, 0, "a number from 0 to 15", clients, |a| a.clients.map(u64::from)),
    key!("rounds", Number, 1..=u32::MAX as u64, 100, "a number of at least 1", rounds, |a| a.rounds.map(u64::from)),
    key!("branches", Number, 1..=4096, 8, "a number from 1 to 4096", branches, |a| a.branches.map(u64::from)),
    key!("duration", Time, 1_000_000..=DAY, 10 * SECOND, "a time from 1ms to 86400s, such as 10s", duration_ns, |a| a.duration_ns),
    key!("quiet", Time, 0..=DAY, 5 * SECOND, "a time up to 86400s, such as 5s", quiet_ns, |a| a.quiet_ns),
    key!("seed", Seed, 0..=u64::MAX, 0, "a number or `random`", seed, |a| a.seed),
    key!("memory", Size, 32 * MIB..=3072 * MIB, 128 * MIB, "a size from 32M to 3072M", memory, |a| a.memory),
    key!("epoch", Number, 0..=4_102_444_800, EPOCH, "seconds from 1970 to 2100", epoch, |a| a.epoch),
    key!("instruction_ns", Number, 1..=1000, 10, "a number from 1 to 1000", instruction_ns, |a| a.instruction_ns),
    key!("force_setup_complete", Time, 0..=59 * SECOND, 0, "a time up to 59s, such as 2s", force_setup_ns, |a| a.force_setup_ns),
    key!("stall", Time, 0..=DAY, 0, "a time up to 86400s, such as 30s", stall_ns, |a| a.stall_ns),
    key!("wall_limit", Time, 0..=DAY, 0, "a time up to 86400s, such as 300s", wall_limit_ns, |a| a.wall_limit_ns),
    key!("workers", Number, 0..=1024, 0, "a number up to 1024", workers, |_| None),
    choice("must_finish", Form::Switch, "true or false", |a| a.must_finish.map(u64::from), |s, v| s.must_finish = v == 1),
    choice("engine", Form::Word(&EngineChoice::WORDS), "`soft`, `kvm` or `auto`", |a| a.engine.map(|e| e as u64), |s, v| s.engine = EngineChoice::ALL[v as usize]),
    Key { name: "shard", form: Form::Shard, least: 0, most: u64::MAX, default: 0, wanted: Shard::WANTED, attribute: |_| None, set: |s, v| s.shard = Shard::from_bits(v) },
    choice("mode", Form::Word(&Mode::WORDS), "`faults`, `inputs` or `hybrid`", |a| a.mode.map(|m| m as u64), |s, v| s.mode = Mode::ALL[v as usize]),
    choice("pin", Form::Switch, "true or false", |_| None, |s, v| s.pin = v == 1),
];

/// The key whose value is neither a number nor one of a few words.
const DISK: &str = "disk";

/// Where settings come from besides the attribute.
pub struct Sources<'a> {
    /// Looks up an environment variable.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
    /// The package's folder with its `Cargo.toml`.
    pub package: &'a Path,
}

impl Settings {
    /// The settings of the test `path` (package, target and name, from which the default
    /// seed derives). `CHAOS_SEED=random` draws one.
    ///
    /// # Errors
    /// The first value that cannot be used, and where it stands.
    pub fn resolve(
        path: &str,
        attributes: &Attributes,
        sources: &Sources<'_>,
    ) -> Result<Settings, SettingsError> {
        let manifest = metadata(sources.package)?;
        let manifest_path = sources.package.join("Cargo.toml").display().to_string();
        let known = |name: &String| name == DISK || KEYS.iter().any(|key| key.name == name);
        if let Some(key) = manifest.keys().find(|name| !known(name)) {
            return Err(SettingsError::Key {
                path: manifest_path,
                key: key.clone(),
            });
        }
        let mut settings = Settings::default();
        for key in &KEYS {
            let value = if let Some((variable, text)) = sources.variable(key.name) {
                key.read(&variable, &text)?
            } else if let Some(value) = (key.attribute)(attributes) {
                key.check(value)
                    .ok_or_else(|| key.wrong(in_attribute(key.name), value))?
            } else if let Some(value) = manifest.get(key.name) {
                let text = shown(value);
                key.read(&in_manifest(key.name), &text)?
            } else if key.form == Form::Seed {
                xxh3_64(path.as_bytes())
            } else {
                key.default
            };
            (key.set)(&mut settings, value);
        }
        settings.disk = disk(attributes, sources, &manifest)?;
        if settings.clients >= settings.vms {
            return Err(SettingsError::Clients {
                clients: settings.clients,
                vms: settings.vms,
            });
        }
        Ok(settings)
    }
}

impl Sources<'_> {
    /// The environment variable of a key and what it holds, if that is something.
    fn variable(&self, key: &str) -> Option<(String, String)> {
        let variable = format!("CHAOS_{}", key.to_uppercase());
        let text = (self.environment)(&variable).filter(|text| !text.is_empty())?;
        Some((variable, text))
    }
}

/// The place of a key in a test's attribute, in words.
fn in_attribute(key: &str) -> String {
    format!("{key} of the attribute")
}

/// The place of a key in the manifest, in words.
fn in_manifest(key: &str) -> String {
    format!("{key} of [package.metadata.chaos]")
}

/// The disk, from the same sources.
fn disk(
    attributes: &Attributes,
    sources: &Sources<'_>,
    manifest: &toml::Table,
) -> Result<Option<Disk>, SettingsError> {
    let given = sources.variable(DISK);
    let (place, text) = match (given, attributes.disk, manifest.get(DISK)) {
        (Some(given), _, _) => given,
        (None, Some(disk), _) => (in_attribute(DISK), disk.map(str::to_owned).to_string()),
        (None, None, Some(value)) => (in_manifest(DISK), shown(value)),
        (None, None, None) => return Ok(None),
    };
    if text.trim() == Disk::<String>::NONE {
        return Ok(None);
    }
    match Disk::read(&text) {
        Some(disk) => Ok(Some(disk)),
        None => Err(SettingsError::Value {
            place,
            value: text,
            wanted: Disk::<String>::WANTED,
        }),
    }
}

impl Key {
    fn read(&self, place: &str, text: &str) -> Result<u64, SettingsError> {
        parse(self.form, text.trim())
            .and_then(|value| self.check(value))
            .ok_or_else(|| self.wrong(place.to_owned(), text))
    }

    fn check(&self, value: u64) -> Option<u64> {
        (self.least..=self.most).contains(&value).then_some(value)
    }

    fn wrong(&self, place: String, value: impl Display) -> SettingsError {
        SettingsError::Value {
            place,
            value: value.to_string(),
            wanted: self.wanted,
        }
    }
}

impl Settings {
    /// A seed as a variable holds it; `random` draws one.
    pub fn read_seed(text: &str) -> Option<u64> {
        parse(Form::Seed, text)
    }

    /// The ns of a time as a variable holds it, up to a day.
    pub fn read_time(text: &str) -> Option<u64> {
        parse(Form::Time, text).filter(|ns| (1..=DAY).contains(ns))
    }
}

/// Bytes of a text like `64M`.
pub(super) fn size(text: &str) -> Option<u64> {
    parse(Form::Size, text)
}

fn parse(form: Form, text: &str) -> Option<u64> {
    let units: &[(&str, u64)] = match form {
        Form::Word(words) => return words.iter().position(|w| *w == text).map(|i| i as u64),
        Form::Switch => {
            let words = ["false", "true", "0", "1"];
            return words.iter().position(|w| *w == text).map(|i| i as u64 % 2);
        }
        Form::Shard => return text.parse::<Shard>().ok().map(Shard::to_bits),
        Form::Number => &[("", 1)],
        Form::Seed if text == "random" => {
            return Some(RandomState::new().hash_one(std::process::id()));
        }
        Form::Seed => match text.strip_prefix("0x") {
            Some(hex) => return u64::from_str_radix(hex, 16).ok(),
            None => &[("", 1)],
        },
        Form::Time => &[
            ("ns", 1),
            ("us", 1000),
            ("ms", 1_000_000),
            ("s", SECOND),
            ("m", 60 * SECOND),
            ("", SECOND),
        ],
        Form::Size => &[("K", 1 << 10), ("M", MIB), ("G", 1 << 30), ("", 1)],
    };
    units.iter().find_map(|(suffix, unit)| {
        let number = text.strip_suffix(suffix)?.trim().replace('_', "");
        number.parse::<u64>().ok()?.checked_mul(*unit)
    })
}

/// A value of the manifest as a variable would hold it.
fn shown(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Boolean(switch) => switch.to_string(),
        other => format!("a {}", other.type_str()),
    }
}

/// The table `[package.metadata.chaos]`; empty where there is none.
fn metadata(package: &Path) -> Result<toml::Table, SettingsError> {
    let path = package.join("Cargo.toml");
    let wrong = |why: String| SettingsError::Manifest {
        path: path.display().to_string(),
        why,
    };
    // A packed-up test run may be without its sources.
    let Ok(text) = std::fs::read_to_string(&path) else {
        return Ok(toml::Table::new());
    };
    if !text.contains("metadata.chaos") {
        return Ok(toml::Table::new());
    }
    let manifest: toml::Table = toml::from_str(&text).map_err(|e| wrong(e.to_string()))?;
    let section = ["package", "metadata", "chaos"]
        .iter()
        .try_fold(&manifest, |table, name| table.get(*name)?.as_table());
    Ok(section.cloned().unwrap_or_default())
}

#[cfg(test)]
#[path = "../../../chaoscontrol-macros/src/keys.rs"]
#[allow(dead_code, unreachable_pub)]
mod attribute_keys;

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
