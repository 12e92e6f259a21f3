//! Records as text: a line that says the version, then one line for each instant.

use std::fmt;
use std::str::FromStr;

use super::record::{HashRecord, TickRecord, VmHashes};

const HEADER: &str = "chaoscontrol hashes 1";

/// Why a text is not a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It is something else, or of another version.
    #[error("not a record of state hashes of version 1: it begins with `{0}`")]
    Header(String),
    /// A line is damaged, or the last was cut short.
    #[error("line {0} of the record is damaged")]
    Line(usize),
}

impl fmt::Display for TickRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:08x}", self.time_ns, self.fabric)?;
        for vm in &self.vms {
            match vm {
                Some(v) => write!(f, " {:08x}:{:08x}:{:08x}", v.cpu, v.devices, v.memory)?,
                None => write!(f, " off")?,
            }
        }
        write!(f, " .")
    }
}

impl fmt::Display for HashRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        self.ticks.iter().try_for_each(|tick| writeln!(f, "{tick}"))
    }
}

impl FromStr for HashRecord {
    type Err = RecordError;

    fn from_str(text: &str) -> Result<Self, RecordError> {
        let mut lines = text.lines();
        let header = lines.next().unwrap_or_default();
        if header != HEADER {
            return Err(RecordError::Header(header.chars().take(40).collect()));
        }
        let ticks = lines
            .enumerate()
            .map(|(i, line)| line.parse().map_err(|_: NoTick| RecordError::Line(i + 2)));
        Ok(HashRecord {
            ticks: ticks.collect::<Result<_, _>>()?,
        })
    }
}

fn hex(text: &str) -> Option<u64> {
    (text.len() >= 8).then(|| u64::from_str_radix(text, 16).ok())?
}

/// A text that is not an instant of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no whole line of state hashes")]
pub struct NoTick;

impl FromStr for TickRecord {
    type Err = NoTick;

    fn from_str(line: &str) -> Result<Self, NoTick> {
        tick(line).ok_or(NoTick)
    }
}

fn tick(line: &str) -> Option<TickRecord> {
    // The full stop tells a whole line from one that was cut short.
    let mut words = line.strip_suffix(" .")?.split(' ');
    let time_ns = words.next()?.parse().ok()?;
    let fabric = hex(words.next()?)?;
    let vm = |word: &str| match word {
        "off" => Some(None),
        _ => {
            let mut parts = word.split(':').map(hex);
            let hashes = VmHashes {
                cpu: parts.next()??,
                devices: parts.next()??,
                memory: parts.next()??,
            };
            parts.next().is_none().then_some(Some(hashes))
        }
    };
    Some(TickRecord {
        time_ns,
        fabric,
        vms: words.map(vm).collect::<Option<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> HashRecord {
        let vm = |n| VmHashes {
            cpu: n,
            devices: u64::MAX - n,
            memory: n << 32,
        };
        let tick = |t| TickRecord {
            time_ns: t,
            vms: vec![Some(vm(t)), None],
            fabric: !t,
        };
        HashRecord {
            ticks: (0..5).map(tick).collect(),
        }
    }

    #[test]
    fn a_record_survives_its_text() {
        assert_eq!(record().to_string().parse(), Ok(record()));
        assert_eq!(
            HashRecord::default().to_string().parse(),
            Ok(HashRecord::default())
        );
    }

    #[test]
    fn damage_is_noticed_and_placed() {
        let text = record().to_string();
        let error = |t: &str| t.parse::<HashRecord>().unwrap_err();
        assert_eq!(error(&text[..text.len() - 3]), RecordError::Line(6));
        assert_eq!(error(&text.replacen("off", "of", 1)), RecordError::Line(2));
        assert!(
            error("chaoscontrol hashes 2\n")
                .to_string()
                .contains("hashes 2")
        );
        assert!(matches!(error(""), RecordError::Header(_)));
        for cut in 0..text.len() {
            let _ = text[..cut].parse::<HashRecord>();
        }
    }
}
