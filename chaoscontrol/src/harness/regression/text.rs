//! The form of a file of recorded failures: TOML that a person can read and edit.
//!
//! It ends with a line of its own, since a file that was cut short between two failures is
//! as good a TOML file as the whole one.

use std::fmt::Write;

use toml::{Table, Value};

use super::record::{Decisive, Recorded};
use crate::cpu::Engine;
use crate::explore::{Input, NoInput, Recipe, Reseed};
use crate::fault::{FaultSchedule, ScheduledFault, Unit, format_time, parse_time};
use crate::harness::disk::Disk;
use crate::harness::labels::{Label, NoLabel};
use crate::oracle::FailureId;
use crate::replay::{HashRecord, NoTick, TickRecord};

/// The version of the form.
const VERSION: i64 = 1;

/// A key that may be absent: most tests force nothing.
const FORCE: &str = "force_setup_complete";
/// And two more: many tests have no disk.
const DISK: &str = "disk";
const DISK_HASH: &str = "new_disk";
/// Others settle no random value.
const INPUTS: &str = "inputs";
/// Faults may follow nothing that a guest said, and older records do not know.
const LABELS: &str = "labels";
/// Another: whoever finds it too long may remove it, and hears less of a divergence.
const TRAIL: &str = "trail";

const HEADER: &str = "\
# Failures that chaoscontrol found. Check this file in: they are tried first, newest first.
# Delete an entry whose bug is of no more interest.
";

/// The last line: the name of a table without contents.
const END: &str = "[end]";

/// Why a text is no file of recorded failures, to be read after the file's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It is not TOML, perhaps since it was cut short.
    #[error("is damaged or cut short: {0}")]
    Syntax(String),
    /// Its last line is missing.
    #[error(
        "does not end with the line `{END}`: it was cut short after {0} of its failures; restore the rest, or, if these are all there are, add that line"
    )]
    Cut(usize),
    /// It is of another version.
    #[error(
        "has version {0}, and this chaoscontrol reads version {VERSION}: upgrade chaoscontrol, or move the file away"
    )]
    Version(String),
    /// An entry is wrong.
    #[error("has a failure, number {number}, whose `{key}` {what}")]
    Entry {
        /// Which, from 1.
        number: usize,
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        what: String,
    },
}

/// Reads a file.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn read(text: &str) -> Result<Vec<Recorded>, ReadError> {
    let table: Table =
        toml::from_str(text).map_err(|e| ReadError::Syntax(e.to_string().trim().to_owned()))?;
    match table.get("version") {
        Some(Value::Integer(VERSION)) => {}
        Some(other) => return Err(ReadError::Version(shown(other))),
        None => return Err(ReadError::Syntax("it has no `version`".into())),
    }
    let failures = match table.get("failure") {
        None => &Vec::new(),
        Some(Value::Array(failures)) => failures,
        Some(_) => return Err(ReadError::Syntax("`failure` is no list".into())),
    };
    let entry = |(i, value): (usize, &Value)| {
        let number = i + 1;
        let wrong = |(key, what)| ReadError::Entry { number, key, what };
        match value.as_table() {
            Some(table) => Entry(table).read().map_err(wrong),
            None => Err(ReadError::Syntax(format!("failure {number} is no table"))),
        }
    };
    let failures = failures.iter().enumerate().map(entry).collect();
    match table.get("end") {
        Some(Value::Table(_)) => failures,
        _ => failures.and_then(|whole: Vec<Recorded>| Err(ReadError::Cut(whole.len()))),
    }
}

/// A file's text.
pub fn write(failures: &[Recorded]) -> String {
    let mut text = format!("{HEADER}version = {VERSION}\n");
    for failure in failures {
        text.push_str(&entry(failure));
    }
    text + "\n" + END + "\n"
}

fn shown(value: &Value) -> String {
    match value {
        Value::Integer(number) => number.to_string(),
        Value::String(text) => quoted(text),
        other => format!("a {}", other.type_str()),
    }
}

fn entry(failure: &Recorded) -> String {
    let Decisive {
        vms,
        clients,
        seed: test_seed,
        duration_ns,
        quiet_ns,
        memory,
        disk,
        epoch,
        instruction_ns,
        must_finish,
        force_setup_ns,
        stall_ns,
        engine,
    } = &failure.settings;
    let time = |ns: &u64| quoted(&Unit::Time.show(i64::try_from(*ns).unwrap_or(i64::MAX)));
    let schedule = list(
        failure
            .recipe
            .schedule
            .faults()
            .iter()
            .map(ToString::to_string),
    );
    let reseeds = &failure.recipe.reseeds;
    let reseeds = list(
        reseeds
            .iter()
            .map(|r| format!("{} {:#018x}", format_time(r.at_ns), r.seed)),
    );
    let lines = [
        ("id", quoted(&failure.id)),
        ("kind", quoted(&failure.bug.kind)),
        ("message", quoted(&failure.bug.message)),
        ("found", quoted(&failure.found)),
        ("schedule", schedule),
        (LABELS, list(failure.labels.iter().map(label_text))),
        ("seed", quoted(&format!("{:#018x}", failure.recipe.seed))),
        ("reseeds", reseeds),
        (
            INPUTS,
            list(failure.recipe.inputs.iter().map(ToString::to_string)),
        ),
        ("test_seed", quoted(&format!("{test_seed:#018x}"))),
        ("vms", vms.to_string()),
        ("clients", clients.to_string()),
        ("duration", time(duration_ns)),
        ("quiet", time(quiet_ns)),
        ("memory", memory.to_string()),
        (
            DISK,
            disk.as_ref()
                .map_or(String::new(), |disk| quoted(&disk.to_string())),
        ),
        ("epoch", epoch.to_string()),
        ("instruction_ns", instruction_ns.to_string()),
        ("must_finish", must_finish.to_string()),
        (FORCE, time(force_setup_ns)),
        ("stall", time(stall_ns)),
        ("engine", quoted(engine.name())),
        ("kernel", quoted(&failure.kernel)),
        ("executable", quoted(&failure.executable)),
        (DISK_HASH, quoted(&failure.disk)),
        ("chaoscontrol", quoted(&failure.version)),
        (
            TRAIL,
            list(failure.trail.ticks.iter().map(ToString::to_string)),
        ),
        ("state", quoted(&format!("{:#018x}", failure.state))),
    ];
    let mut text = String::from("\n[[failure]]\n");
    for (key, value) in lines {
        let absent = match key {
            FORCE => *force_setup_ns == 0,
            DISK | DISK_HASH => disk.is_none(),
            INPUTS => failure.recipe.inputs.is_empty(),
            LABELS => failure.labels.iter().all(Option::is_none),
            TRAIL => failure.trail.ticks.is_empty(),
            _ => false,
        };
        if !absent {
            let _ = writeln!(text, "{key} = {value}");
        }
    }
    text
}

/// A TOML string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

/// A TOML list of strings, one a line.
fn list(items: impl Iterator<Item = String>) -> String {
    let lines: String = items
        .map(|item| format!("    {},\n", quoted(&item)))
        .collect();
    match lines.as_str() {
        "" => "[]".into(),
        lines => format!("[\n{lines}]"),
    }
}

/// A table of one failure.
struct Entry<'a>(&'a Table);

/// The key and what is wrong with its value.
type Wrong = (&'static str, String);

impl Entry<'_> {
    fn read(&self) -> Result<Recorded, Wrong> {
        let (schedule, labels) = self.faults()?;
        Ok(Recorded {
            id: self.text("id")?.to_owned(),
            bug: FailureId {
                kind: self.text("kind")?.to_owned(),
                message: self.text("message")?.to_owned(),
            },
            found: self.text("found")?.to_owned(),
            recipe: Recipe {
                seed: self.seed("seed")?,
                reseeds: self.items("reseeds", reseed)?,
                schedule,
                inputs: match self.0.contains_key(INPUTS) {
                    true => self.items(INPUTS, input)?,
                    false => Vec::new(),
                },
            },
            labels,
            settings: Decisive {
                vms: self.number("vms", 1..=16)?,
                clients: self.number("clients", 0..=15)?,
                seed: self.seed("test_seed")?,
                duration_ns: self.time("duration")?,
                quiet_ns: self.time("quiet")?,
                memory: self.number("memory", 32 << 20..=3 << 30)?,
                disk: self.disk()?,
                epoch: self.number("epoch", 0..=1 << 33)?,
                instruction_ns: self.number("instruction_ns", 1..=1000)?,
                must_finish: self
                    .value("must_finish")?
                    .as_bool()
                    .ok_or(("must_finish", "is neither true nor false".into()))?,
                force_setup_ns: match self.0.contains_key(FORCE) {
                    true => self.time(FORCE)?,
                    false => 0,
                },
                stall_ns: self.time("stall")?,
                engine: self.engine()?,
            },
            kernel: self.text("kernel")?.to_owned(),
            executable: self.text("executable")?.to_owned(),
            disk: match self.0.contains_key(DISK_HASH) {
                true => self.text(DISK_HASH)?.to_owned(),
                false => String::new(),
            },
            version: self.text("chaoscontrol")?.to_owned(),
            trail: HashRecord {
                ticks: match self.0.contains_key(TRAIL) {
                    true => self.items(TRAIL, tick)?,
                    false => Vec::new(),
                },
            },
            state: self.seed("state")?,
        })
    }

    /// The schedule in order, and for each of its faults the label, if there are any.
    fn faults(&self) -> Result<(FaultSchedule, Vec<Option<Label>>), Wrong> {
        let faults = self.items("schedule", str::parse::<ScheduledFault>)?;
        if !self.0.contains_key(LABELS) {
            return Ok((FaultSchedule::new(faults), Vec::new()));
        }
        let labels = self.items(LABELS, label)?;
        if labels.len() != faults.len() {
            let (labels, faults) = (labels.len(), faults.len());
            let what = format!(
                "has {labels} entries for {faults} faults of `schedule`: give each fault one, \"\" for none, or remove the key"
            );
            return Err((LABELS, what));
        }
        let mut both: Vec<_> = faults.into_iter().zip(labels).collect();
        both.sort_by_key(|(fault, _)| fault.at_ns);
        let (faults, labels) = both.into_iter().unzip();
        Ok((FaultSchedule::new(faults), labels))
    }

    fn value(&self, key: &'static str) -> Result<&Value, Wrong> {
        self.0.get(key).ok_or((key, "is missing".to_owned()))
    }

    fn text(&self, key: &'static str) -> Result<&str, Wrong> {
        let text = self.value(key)?.as_str();
        text.ok_or((key, "is no text".to_owned()))
    }

    fn disk(&self) -> Result<Option<Disk>, Wrong> {
        if !self.0.contains_key(DISK) {
            return Ok(None);
        }
        let text = self.text(DISK)?;
        let disk = Disk::read(text);
        let wrong = || {
            (
                DISK,
                format!("is {text:?}, and not {}", Disk::<String>::WANTED),
            )
        };
        disk.map(Some).ok_or_else(wrong)
    }

    fn engine(&self) -> Result<Engine, Wrong> {
        let name = self.text("engine")?;
        let engine = Engine::ALL.into_iter().find(|engine| engine.name() == name);
        engine.ok_or_else(|| {
            let known = Engine::ALL.map(Engine::name).join(" and ");
            let what = format!(
                "is {name:?}, an engine that this chaoscontrol does not have (it has {known})"
            );
            ("engine", what)
        })
    }

    fn seed(&self, key: &'static str) -> Result<u64, Wrong> {
        let text = self.text(key)?;
        hexadecimal(text).ok_or((
            key,
            format!("is {text:?}, and no 64-bit hexadecimal number"),
        ))
    }

    fn time(&self, key: &'static str) -> Result<u64, Wrong> {
        parse_time(self.text(key)?).map_err(|what| (key, format!("is wrong: {what}")))
    }

    fn number(
        &self,
        key: &'static str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<u64, Wrong> {
        let number = self.value(key)?.as_integer();
        number
            .and_then(|n| u64::try_from(n).ok())
            .filter(|n| range.contains(n))
            .ok_or_else(|| (key, format!("is no number in {range:?}")))
    }

    fn items<T>(
        &self,
        key: &'static str,
        item: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, Wrong> {
        let list = self.value(key)?.as_array();
        let list = list.ok_or((key, "is no list".to_owned()))?;
        list.iter()
            .map(|value| match value.as_str() {
                None => Err((key, "holds something that is no text".to_owned())),
                Some(text) => item(text).map_err(|what| (key, format!("holds {text:?}: {what}"))),
            })
            .collect()
    }
}

fn hexadecimal(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

fn tick(text: &str) -> Result<TickRecord, String> {
    text.parse().map_err(|error: NoTick| error.to_string())
}

fn input(text: &str) -> Result<Input, String> {
    text.parse().map_err(|error: NoInput| error.to_string())
}

/// What stands for a fault's label, if it has one.
fn label_text(label: &Option<Label>) -> String {
    label.as_ref().map(Label::to_string).unwrap_or_default()
}

fn label(text: &str) -> Result<Option<Label>, String> {
    let label = (!text.is_empty()).then(|| text.parse());
    label
        .transpose()
        .map_err(|error: NoLabel| error.to_string())
}

/// Reads `+1.204 s 0x...`.
fn reseed(text: &str) -> Result<Reseed, String> {
    let (at, seed) = text
        .rsplit_once(' ')
        .ok_or("a time and a seed were expected")?;
    let seed = hexadecimal(seed).ok_or_else(|| format!("`{seed}` is no seed"))?;
    Ok(Reseed {
        at_ns: parse_time(at)?,
        seed,
    })
}

#[cfg(test)]
pub(in crate::harness) mod tests {
    use super::*;

    pub fn example() -> Recorded {
        Recorded {
            id: "0badcafe".into(),
            bug: FailureId {
                kind: "agree".into(),
                message: "one \"leader\"\nper term \\ \u{1}".into(),
            },
            found: "round 17, branch 4".into(),
            recipe: Recipe {
                seed: u64::MAX,
                reseeds: vec![Reseed {
                    at_ns: 1_500_000_000,
                    seed: 7,
                }],
                schedule: "+1.204 s partition {0} | {1, 2}\n+2.913 s skew vm 1 by 40 %"
                    .parse()
                    .unwrap_or_else(|e| panic!("{e}")),
                inputs: vec![Input {
                    vm: 1,
                    number: 3,
                    options: 5,
                    answer: 2,
                }],
            },
            labels: vec![
                None,
                Some(Label {
                    vm: 1,
                    name: "one \"leader\"\n 2 +1 s".into(),
                    occurrence: 16,
                    after_ns: 35_000_001,
                }),
            ],
            settings: Decisive {
                vms: 3,
                clients: 1,
                seed: 3,
                duration_ns: 10_000_000_000,
                quiet_ns: 0,
                memory: 128 << 20,
                disk: Some(Disk::Image("tests/\"disk\".img".into())),
                epoch: 1_735_689_600,
                instruction_ns: 10,
                must_finish: true,
                force_setup_ns: 2_000_000_000,
                stall_ns: 30_000_000_001,
                engine: Engine::Soft,
            },
            kernel: "00ff".into(),
            executable: "ff00".into(),
            disk: "0ff0".into(),
            version: "0.1.0".into(),
            trail: HashRecord {
                ticks: vec![
                    tick("0 00000001 00000002:00000003:00000004 off .")
                        .unwrap_or_else(|e| panic!("{e}")),
                ],
            },
            state: 0x1234,
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut second = example();
        second.recipe = Recipe::default();
        second.labels = Vec::new();
        second.settings.force_setup_ns = 0;
        second.settings.disk = None;
        second.disk = String::new();
        second.trail = HashRecord::default();
        second.settings.engine = Engine::Kvm;
        let failures = vec![example(), second];
        let text = write(&failures);
        assert_eq!(
            read(&text).unwrap_or_else(|e| panic!("{e}\n{text}")),
            failures
        );
        assert_eq!(read(&write(&[])), Ok(Vec::new()));
    }

    #[test]
    fn every_cut_is_noticed() {
        let text = write(&[example(), example()]);
        let whole = text.trim_end().len();
        for end in (0..whole).filter(|end| text.is_char_boundary(*end)) {
            assert!(read(&text[..end]).is_err(), "cut after:\n{}", &text[..end]);
        }
        let second = text.rfind("[[failure]]").unwrap();
        assert_eq!(read(&text[..second]), Err(ReadError::Cut(1)));
    }

    #[test]
    fn errors_say_what_to_do_or_what_is_wrong() {
        let error = |text: &str| read(text).unwrap_err().to_string();
        assert!(error("version = 9").contains("has version 9, and this chaoscontrol"));
        assert!(error("").contains("no `version`"));
        let text = write(&[example()]);
        let with = |from: &str, to: &str| {
            assert!(text.contains(from), "{from}");
            error(&text.replace(from, to))
        };
        assert!(with("\"soft\"", "\"warp\"").contains("number 1, whose `engine` is \"warp\""));
        assert!(with("vms = 3", "vms = 30").contains("`vms` is no number in 1..=16"));
        assert!(with("answers 2", "answers 5").contains("`inputs` holds \"vm 1's call 3"));
        assert!(
            with(" 16 +35.000001 ms", " 17 +1 ms").contains("1, whose `labels` holds \"vm 1 one")
        );
        assert!(with("    \"\",\n", "").contains("`labels` has 1 entries for 2 faults"));
        assert!(with("partition {0}", "partitoin {0}").contains("did you mean"));
        assert!(with("\"0xffffffffffffffff\"", "\"9\"").contains("`seed` is \"9\""));
    }
}
