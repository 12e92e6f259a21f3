//! Schedules as text: a TOML file with one `[[fault]]` table each, or one line
//! each, `+1.204 s  kill vm 2`. Both are read by the same parser, which names
//! the line that troubles it.

use std::fmt;
use std::str::FromStr;

use super::amount::{format_time, parse_time};
use super::catalogue::Fault;
use super::parse::FaultParseError;
use super::schedule::{FaultSchedule, ScheduledFault};
use crate::encoding::as_text;

/// The version of the file form.
const VERSION: u32 = 1;

/// Why a text is not a schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {trouble}")]
pub struct TextError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub trouble: String,
}

impl fmt::Display for ScheduledFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}", format_time(self.at_ns), self.fault)
    }
}

as_text!(ScheduledFault);

impl FromStr for ScheduledFault {
    type Err = String;

    /// Reads `+1.204 s  kill vm 2`.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let unit = text
            .find(|c: char| c.is_ascii_alphabetic())
            .ok_or("expected a time and a fault")?;
        let after = text[unit..]
            .find(|c: char| !c.is_ascii_alphabetic())
            .ok_or("a fault is missing after the time")?;
        let (at, fault) = text.split_at(unit + after);
        Ok(ScheduledFault {
            at_ns: parse_time(at)?,
            fault: fault.parse().map_err(|e: FaultParseError| e.to_string())?,
        })
    }
}

impl fmt::Display for FaultSchedule {
    /// One line each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.faults()
            .iter()
            .try_for_each(|fault| writeln!(f, "{fault}"))
    }
}

impl FaultSchedule {
    /// The schedule as a TOML file that [`FaultSchedule::from_str`] reads.
    pub fn to_toml(&self) -> String {
        let mut text = format!("version = {VERSION}\n");
        for f in self.faults() {
            text.push_str(&format!(
                "\n[[fault]]\nat = \"{}\"\nfault = \"{}\"\n",
                format_time(f.at_ns),
                f.fault
            ));
        }
        text
    }
}

impl FromStr for FaultSchedule {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let mut reader = Reader::default();
        for (i, line) in text.lines().enumerate() {
            reader.line(line).map_err(|trouble| TextError {
                line: i + 1,
                trouble,
            })?;
        }
        let end = text.lines().count().max(1);
        reader
            .close()
            .map_err(|trouble| TextError { line: end, trouble })?;
        Ok(FaultSchedule::new(reader.faults))
    }
}

#[derive(Default)]
struct Reader {
    faults: Vec<ScheduledFault>,
    /// The table being read, if a header was seen.
    table: Option<(Option<u64>, Option<Fault>)>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), String> {
        let line = without_comment(line).trim();
        if line.is_empty() {
            return Ok(());
        }
        if line == "[[fault]]" {
            self.close()?;
            self.table = Some((None, None));
            return Ok(());
        }
        let Some((key, value)) = line.split_once('=') else {
            if line.starts_with('[') {
                return Err(format!("unexpected `{line}`, only [[fault]] is known"));
            }
            self.close()?;
            self.faults.push(line.parse()?);
            return Ok(());
        };
        let (key, value) = (key.trim(), value.trim());
        if key == "version" && self.table.is_none() {
            return match value.parse::<u32>() {
                Ok(VERSION) => Ok(()),
                Ok(v) => Err(format!(
                    "version {v} is not known, this chaoscontrol reads version {VERSION}"
                )),
                Err(_) => Err(format!("`{value}` is not a version")),
            };
        }
        let Some((at, fault)) = &mut self.table else {
            return Err(format!("`{key}` stands outside of a [[fault]]"));
        };
        match key {
            "at" if at.is_some() => Err("`at` is given twice".to_owned()),
            "at" => parse_time(quoted(value)?).map(|ns| *at = Some(ns)),
            "fault" if fault.is_some() => Err("`fault` is given twice".to_owned()),
            "fault" => {
                *fault = Some(
                    quoted(value)?
                        .parse()
                        .map_err(|e: FaultParseError| e.to_string())?,
                );
                Ok(())
            }
            _ => Err(format!(
                "unknown key `{key}`, a [[fault]] has `at` and `fault`"
            )),
        }
    }

    /// Ends the table being read.
    fn close(&mut self) -> Result<(), String> {
        match self.table.take() {
            None => Ok(()),
            Some((Some(at_ns), Some(fault))) => {
                self.faults.push(ScheduledFault { at_ns, fault });
                Ok(())
            }
            Some((None, _)) => Err("the [[fault]] before has no `at`".to_owned()),
            Some((_, None)) => Err("the [[fault]] before has no `fault`".to_owned()),
        }
    }
}

fn without_comment(line: &str) -> &str {
    line.split_once('#').map_or(line, |(text, _)| text)
}

fn quoted(value: &str) -> Result<&str, String> {
    let inner = |q| value.strip_prefix(q).and_then(|v: &str| v.strip_suffix(q));
    inner('"')
        .or_else(|| inner('\''))
        .ok_or_else(|| format!("{value} is not a quoted string"))
}

#[cfg(test)]
mod tests {
    use super::super::{Aim, FaultKind, Generator, Stream};
    use super::*;

    #[test]
    fn generated_schedules_survive_both_text_forms() {
        let g = Generator {
            aims: FaultKind::all().map(Aim::of).collect(),
            vms: 4,
            clients: 1,
            ..Generator::default()
        };
        let mut kinds = std::collections::BTreeSet::new();
        for seed in 0..500 {
            let schedule = g.generate(&mut Stream::new(seed, "text", &[]));
            kinds.extend(schedule.faults().iter().map(|f| f.fault.kind()));
            assert_eq!(schedule.to_toml().parse(), Ok(schedule.clone()));
            assert_eq!(schedule.to_string().parse(), Ok(schedule));
        }
        assert!(kinds.len() >= FaultKind::all().len() - 1, "{kinds:?}");
    }

    #[test]
    fn troubles_name_their_line() {
        let err = |t: &str| t.parse::<FaultSchedule>().unwrap_err().to_string();
        assert_eq!(
            err("version = 1\n\n[[fault]]\nat = \"1 s\"\nfault = \"kil vm 1\"\n"),
            "line 5: unknown fault `kil`, did you mean `kill`?"
        );
        assert_eq!(
            err("[[fault]]\nat = \"-1 s\"\n"),
            "line 2: negative time `-1 s`"
        );
        assert!(err("version = 9").contains("version 9 is not known"));
        assert!(err("[[fault]]\nfault = \"heal\"\n").contains("has no `at`"));
        assert!(
            err("[[fault]]\nat = \"1 s\"\n[[fault]]")
                .contains("line 3: the [[fault]] before has no `fault`")
        );
        let twice = "[[fault]]\nat = \"1 s\"\nat = \"2 s\"\n";
        assert_eq!(err(twice), "line 3: `at` is given twice");
        assert!(err("[[fault]]\nat = 1").contains("not a quoted string"));
        assert!(err("[[fault]]\nwhen = \"1 s\"").contains("unknown key `when`"));
        assert!(err("at = \"1 s\"").contains("outside of a [[fault]]"));
        assert!(err("[faults]").contains("only [[fault]]"));
        assert!(err("+1 s").contains("a fault is missing"));
        assert!(err("soon kill vm 1").contains("line 1"));
    }

    #[test]
    fn comments_and_blank_lines_are_free() {
        let s: FaultSchedule = "# a crash\n\n+1 s kill vm 0  # the leader\n+2.5 s restart vm 0\n"
            .parse()
            .unwrap();
        assert_eq!(
            s.to_string(),
            "+1.000 s  kill vm 0\n+2.500 s  restart vm 0\n"
        );
    }
}
