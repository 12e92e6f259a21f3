//! Times and rates as people write them: `+1.204 s`, `20 ms`, `40 %`.
//! Writing is exact and in one form; reading accepts every unit.

use std::fmt;

use super::info::Unit;

/// 1 % in ppm.
const PERCENT: u64 = 10_000;

impl Unit {
    /// The names of its multiples and what they stand for, greatest first: the last is the one
    /// that amounts are counted in.
    const fn multiples(self) -> &'static [(&'static str, u64)] {
        match self {
            Unit::Time => &[
                ("min", 60_000_000_000),
                ("s", 1_000_000_000),
                ("ms", 1_000_000),
                ("us", 1_000),
                ("ns", 1),
            ],
            Unit::Rate => &[("%", PERCENT), ("ppm", 1)],
            Unit::Speed => &[
                ("GB/s", 1_000_000_000),
                ("MB/s", 1_000_000),
                ("kB/s", 1_000),
                ("B/s", 1),
            ],
            Unit::Instructions => &[("instructions", 1)],
            Unit::Number => &[("", 1)],
        }
    }
}

/// Writes `value` / `unit` in decimals without trailing zeros; exact for units that are powers of ten.
fn decimal(value: u64, unit: u64) -> String {
    if unit == 1 {
        return value.to_string();
    }
    let digits = unit.ilog10() as usize;
    let text = format!("{}.{:0digits$}", value / unit, value % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A point of time in seconds, `+1.204 s`, with at least milliseconds shown.
pub fn format_time(ns: u64) -> String {
    let exact = decimal(ns, 1_000_000_000);
    let (whole, part) = exact.split_once('.').unwrap_or((&exact, ""));
    format!("+{whole}.{part:0<3} s")
}

/// Reads what [`format_time`] writes, and any unit of `min`, `s`, `ms`, `us`, `ns`.
///
/// # Errors
/// A phrase that names what is wrong with `text`.
pub fn parse_time(text: &str) -> Result<u64, String> {
    let ns = Unit::Time.parse(text)?;
    u64::try_from(ns).map_err(|_| format!("negative time `{}`", text.trim()))
}

impl Unit {
    /// The name of what amounts are counted in; empty for plain numbers.
    pub fn base(self) -> &'static str {
        self.multiples().last().map_or("", |m| m.0)
    }

    /// `amount` in words, exact.
    pub fn show(self, amount: i64) -> String {
        let sign = if amount < 0 { "-" } else { "" };
        let size = amount.unsigned_abs();
        let mut fitting = self.multiples().iter();
        let (name, unit) = match (self, size) {
            (Unit::Rate, _) => ("%", PERCENT),
            (Unit::Time, 0) => ("ms", 1_000_000),
            (Unit::Time, 60_000_000_000..) => ("s", 1_000_000_000),
            _ => *fitting
                .find(|(_, unit)| *unit <= size.max(1))
                .expect("the last is 1"),
        };
        let space = if name.is_empty() { "" } else { " " };
        format!("{sign}{}{space}{name}", decimal(size, unit))
    }

    /// Reads an amount: a decimal number with optional sign, and a unit.
    ///
    /// # Errors
    /// A phrase that names what is wrong with `text`.
    pub fn parse(self, text: &str) -> Result<i64, String> {
        let text = text.trim();
        let split = text.find(|c: char| !matches!(c, '+' | '-' | '.' | '_' | '0'..='9'));
        let (number, unit) = text.split_at(split.unwrap_or(text.len()));
        let unit = unit.trim();
        let mut multiples = self.multiples().iter();
        let scale = multiples.find(|(name, _)| *name == unit).map(|m| m.1);
        let Some(scale) = scale else {
            let what = if unit.is_empty() {
                "no unit".to_owned()
            } else {
                format!("unknown unit `{unit}`")
            };
            return Err(format!("{what} in `{text}`, expected {self}"));
        };
        scaled(number, scale)
            .ok_or_else(|| format!("`{number}` in `{text}` is not a number of this unit"))
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.multiples() {
            [("", _)] => f.write_str("a plain number"),
            [(name, _)] => f.write_str(name),
            several => {
                let names: Vec<_> = several.iter().map(|m| m.0).collect();
                write!(f, "one of {}", names.join(", "))
            }
        }
    }
}

/// `number` times `scale`, if that is a whole number that fits.
fn scaled(number: &str, scale: u64) -> Option<i64> {
    let (negative, digits) = match number.as_bytes().first()? {
        b'-' => (true, &number[1..]),
        b'+' => (false, &number[1..]),
        _ => (false, number),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if !plain(whole) || !(part.is_empty() || plain(part)) || part.len() > 18 {
        return None;
    }
    let scale = i128::from(scale);
    let tens = 10i128.pow(part.len() as u32);
    let fraction = if part.is_empty() {
        0
    } else {
        part.parse::<i128>().ok()? * scale
    };
    if fraction % tens != 0 {
        return None;
    }
    let size = i128::from(whole.parse::<u64>().ok()?) * scale + fraction / tens;
    i64::try_from(if negative { -size } else { size }).ok()
}

#[cfg(test)]
mod tests {
    use super::super::Stream;
    use super::*;

    #[test]
    fn times_read_as_they_are_written() {
        assert_eq!(format_time(1_204_000_000), "+1.204 s");
        assert_eq!(format_time(0), "+0.000 s");
        assert_eq!(format_time(3_000_000_001), "+3.000000001 s");
        assert_eq!(parse_time("+1.204 s"), Ok(1_204_000_000));
        assert_eq!(parse_time("2min"), Ok(120_000_000_000));
        assert_eq!(Unit::Rate.show(-25_000), "-2.5 %");
        assert_eq!(Unit::Time.show(20_000_000), "20 ms");
        assert_eq!(Unit::Time.show(-3_000_000_000), "-3 s");
        let mut s = Stream::new(1, "amount", &[]);
        for _ in 0..2000 {
            let shift = s.below(63) as u32;
            let n = s.range(i64::MIN + 1, i64::MAX) >> shift;
            for unit in [
                Unit::Time,
                Unit::Rate,
                Unit::Speed,
                Unit::Instructions,
                Unit::Number,
            ] {
                assert_eq!(unit.parse(&unit.show(n)), Ok(n));
            }
            let at = n.unsigned_abs();
            assert_eq!(parse_time(&format_time(at)), Ok(at));
        }
    }

    #[test]
    fn bad_amounts_name_the_trouble() {
        let err = |t| parse_time(t).unwrap_err();
        assert_eq!(err("-1 s"), "negative time `-1 s`");
        assert!(err("5").contains("no unit"));
        assert!(err("5 parsecs").contains("unknown unit `parsecs`"));
        for bad in [
            "s",
            "1..2 s",
            "1.0000000001 s",
            "99999999999999 s",
            "--1 s",
            "+ s",
            "1. 5 s",
            "1_0 s",
        ] {
            parse_time(bad).unwrap_err();
        }
    }
}
