//! Faults in words, "partition {0} | {1, 2}", and back. One form serves
//! reports, schedule files and regression files.

use std::fmt;
use std::str::FromStr;

use super::catalogue::{Fault, FaultKind, Parts};
use super::info::{Param, Shape};
use super::table::{Target, is_process_name};

/// Why a text is not a fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultParseError {
    /// No fault has this name.
    #[error("{0}")]
    Unknown(String),
    /// The part that says whom it hits is wrong.
    #[error("bad target in `{text}`: {trouble}")]
    Target {
        /// The whole fault as given.
        text: String,
        /// What is wrong.
        trouble: String,
    },
    /// The parameter is wrong or missing.
    #[error("bad amount in `{text}`: {trouble}")]
    Amount {
        /// The whole fault as given.
        text: String,
        /// What is wrong.
        trouble: String,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts {
            kind,
            target,
            amounts,
        } = self.parts();
        let info = kind.info();
        f.write_str(info.words)?;
        match (&target, info.shape) {
            (Target::Vm(vm), _) => write!(f, " vm {vm}")?,
            (Target::Process(vm, name), _) if name.is_empty() => write!(f, " in vm {vm}")?,
            (Target::Process(vm, name), _) => write!(f, " {name} in vm {vm}")?,
            (Target::Sides(a, b), Shape::Sides(sign)) => {
                write!(f, " {{{}}} {sign} {{{}}}", group(a), group(b))?;
            }
            _ => {}
        }
        let mut said = info.params.iter().zip(amounts);
        said.try_for_each(|(p, amount)| match amount {
            Some(amount) => write!(f, " {}", p.show(amount)),
            None => Ok(()),
        })
    }
}

fn group(vms: &[usize]) -> String {
    vms.iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

impl FromStr for Fault {
    type Err = FaultParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let (kind, rest) = split_kind(text)?;
        let info = kind.info();
        let target_error = |trouble| FaultParseError::Target {
            text: text.to_owned(),
            trouble,
        };
        let (target, rest) = match info.shape {
            Shape::All => (Target::All, rest),
            Shape::Vm => parse_vm(rest).map_err(target_error)?,
            Shape::Process => parse_process(rest).map_err(target_error)?,
            Shape::Sides(sign) => parse_sides(rest, sign).map_err(target_error)?,
        };
        let amounts =
            parse_amounts(rest, info.params).map_err(|trouble| FaultParseError::Amount {
                text: text.to_owned(),
                trouble,
            })?;
        Parts {
            kind,
            target,
            amounts,
        }
        .build()
        .ok_or_else(|| FaultParseError::Amount {
            text: text.to_owned(),
            trouble: "it does not fit this fault".to_owned(),
        })
    }
}

/// Splits the leading name (catalogue name or words) off.
fn split_kind(text: &str) -> Result<(FaultKind, &str), FaultParseError> {
    let known = FaultKind::all()
        .flat_map(|kind| [kind.info().name, kind.info().words].map(|name| (kind, name)))
        .filter_map(|(kind, name)| {
            let rest = text.strip_prefix(name)?;
            let ends = rest.is_empty() || rest.starts_with([' ', '\t', '{']);
            ends.then_some((kind, rest.trim_start()))
        })
        .min_by_key(|(_, rest)| rest.len());
    known.map(Ok).unwrap_or_else(|| {
        // What stands before the target is what was meant as the name.
        let end = text
            .find(['{', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9'])
            .unwrap_or(text.len());
        let name = text[..end].trim();
        let name = name.strip_suffix(" vm").unwrap_or(name);
        Err(FaultParseError::Unknown(
            FaultKind::by_name(name)
                .err()
                .unwrap_or_else(|| format!("`{text}` does not separate the fault from its target")),
        ))
    })
}

fn parse_vm(rest: &str) -> Result<(Target, &str), String> {
    let after = rest
        .strip_prefix("vm")
        .ok_or("expected `vm` and its number")?
        .trim_start();
    let end = after
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(after.len());
    let (number, rest) = after.split_at(end);
    Ok((Target::Vm(vm_number(number)?), rest.trim_start()))
}

fn vm_number(text: &str) -> Result<usize, String> {
    text.parse::<u16>()
        .map(usize::from)
        .map_err(|_| format!("`{text}` is not the number of a VM"))
}

/// Reads `redis-server in vm 2`, or `in vm 2` for the body's process.
fn parse_process(rest: &str) -> Result<(Target, &str), String> {
    let wanted = "expected `NAME in vm` and its number, or without a name, for the body's process";
    let (name, rest) = match rest.strip_prefix("in ") {
        Some(rest) => ("", rest),
        None => rest.split_once(" in ").ok_or(wanted)?,
    };
    let name = name.trim();
    if !is_process_name(name) {
        return Err(format!("`{name}` is not the name of a process"));
    }
    match parse_vm(rest.trim_start())? {
        (Target::Vm(vm), rest) => Ok((Target::Process(vm, name.to_owned()), rest)),
        _ => Err(wanted.to_owned()),
    }
}

fn parse_sides<'a>(rest: &'a str, sign: &str) -> Result<(Target, &'a str), String> {
    let (a, b) = rest
        .split_once(sign)
        .ok_or_else(|| format!("expected `{{..}} {sign} {{..}}`"))?;
    let end = b.find('}').map_or(b.len(), |at| at + 1);
    let (b, rest) = b.split_at(end);
    let sides = Target::Sides(parse_group(a)?, parse_group(b)?);
    Ok((sides, rest.trim_start()))
}

fn parse_group(text: &str) -> Result<Vec<usize>, String> {
    let text = text.trim();
    let inner = text
        .strip_prefix('{')
        .and_then(|t| t.strip_suffix('}'))
        .ok_or_else(|| format!("`{text}` is not a group of VMs such as {{0, 1}}"))?;
    if inner.trim().is_empty() {
        return Err("a side is empty".to_owned());
    }
    inner.split(',').map(|n| vm_number(n.trim())).collect()
}

/// Reads `by 40 % every 20 ms`: an amount for each of `params`, in their order. What is not said
/// has its default; the first word may be left out.
fn parse_amounts(rest: &str, params: &[Param]) -> Result<Vec<Option<i64>>, String> {
    let mut rest = rest;
    let mut amounts = Vec::new();
    for (i, p) in params.iter().enumerate() {
        let later = &params[i + 1..];
        let begins = |text: &str, p: &Param| {
            let after = text.strip_prefix(p.word);
            after.is_some_and(|after| after.starts_with(char::is_whitespace))
        };
        let given = match rest {
            "" => false,
            _ => begins(rest, p) || (i == 0 && !later.iter().any(|p| begins(rest, p))),
        };
        if !given {
            amounts.push((!p.optional).then_some(p.default));
            continue;
        }
        let text = if begins(rest, p) {
            &rest[p.word.len()..]
        } else {
            rest
        };
        let spaces = text.match_indices(char::is_whitespace).map(|(at, _)| at);
        let mut ends =
            spaces.filter(|&at| later.iter().any(|p| begins(text[at..].trim_start(), p)));
        let (number, after) = text.split_at(ends.next().unwrap_or(text.len()));
        rest = after.trim_start();
        let amount = p.unit.parse(number)?;
        if !(p.min..=p.max).contains(&amount) {
            let show = |amount| p.unit.show(amount);
            let (min, max) = (show(p.min), show(p.max));
            return Err(format!("{} is outside {min} to {max}", show(amount)));
        }
        amounts.push(Some(amount));
    }
    match rest {
        "" => Ok(amounts),
        _ if params.is_empty() => Err(format!(
            "nothing is expected after the target, found `{rest}`"
        )),
        _ => Err(format!(
            "nothing is expected after the amounts, found `{rest}`"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_read_as_reports_write_them() {
        let f = |t: &str| t.parse::<Fault>().unwrap();
        let partition = Fault::NetworkPartition {
            side_a: vec![0],
            side_b: vec![1, 2],
        };
        assert_eq!(partition.to_string(), "partition {0} | {1, 2}");
        assert_eq!(f("partition {0}|{1,2}"), partition);
        let skew = Fault::ClockSkew {
            target: 1,
            ppm: 400_000,
        };
        assert_eq!(skew.to_string(), "clock skew vm 1 by 40 %");
        assert_eq!(f("skew vm 1 by 40 %"), skew);
        assert_eq!(f("clock skew vm 1 40%"), skew);
        assert_eq!(f("kill vm 2").to_string(), "kill vm 2");
        assert_eq!(
            f("pause vm 0"),
            Fault::ProcessPause {
                target: 0,
                duration_ns: None
            }
        );
        assert_eq!(
            f("pause vm 0 for 1.5 s").to_string(),
            "pause vm 0 for 1.5 s"
        );
        assert_eq!(
            f("wall-clock jump vm 3 by -3 s").to_string(),
            "wall-clock jump vm 3 by -3 s"
        );
        assert_eq!(
            f("one-way partition {2} -> {0}").to_string(),
            "one-way partition {2} -> {0}"
        );
        assert_eq!(f("loss vm 1").to_string(), "packet loss vm 1 of 30 %");
        assert_eq!(f("heal"), Fault::NetworkHeal);
    }

    #[test]
    fn errors_name_the_trouble() {
        let err = |t: &str| t.parse::<Fault>().unwrap_err().to_string();
        assert_eq!(err("kil vm 2"), "unknown fault `kil`, did you mean `kill`?");
        assert_eq!(
            err("partitoin {0} | {1}"),
            "unknown fault `partitoin`, did you mean `partition`?"
        );
        assert!(
            err("kill 2").contains("expected `vm` and its number"),
            "{}",
            err("kill 2")
        );
        assert!(err("kill vm x").contains("not the number of a VM"));
        assert!(err("partition {} | {1}").contains("a side is empty"));
        assert!(err("partition {0} {1}").contains("expected `{..} | {..}`"));
        assert!(err("partition 0 | 1").contains("not a group"));
        assert!(err("kill vm 1 by 3 s").contains("nothing is expected"));
        assert!(err("packet loss vm 1 of 130 %").contains("outside 0 % to 100 %"));
        assert!(err("latency vm 1 of -2 ms").contains("outside 0 ms to 60 s"));
        assert!(err("").starts_with("unknown fault"));
        assert!(err("heal vm 1").contains("nothing is expected"));
    }

    #[test]
    fn no_text_panics() {
        let mut s = super::super::Stream::new(3, "parse", &[]);
        let pieces = [
            "partition",
            "kill",
            "{",
            "}",
            "|",
            "->",
            "vm",
            " ",
            "1",
            "-",
            "%",
            "é",
            "for",
            ",",
            "99999999999",
        ];
        for _ in 0..5000 {
            let text: String = (0..s.below(8)).map(|_| *s.pick(&pieces).unwrap()).collect();
            if let Ok(fault) = text.parse::<Fault>() {
                assert_eq!(fault.to_string().parse::<Fault>(), Ok(fault));
            }
        }
    }
}
