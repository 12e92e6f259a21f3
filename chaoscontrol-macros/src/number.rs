//! Quantities written as text: times, sizes and dates.

/// Units of a time, in nanoseconds.
const TIMES: [(&str, u64); 6] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("min", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Units of a size, in bytes.
const SIZES: [(&str, u64); 3] = [("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30)];

/// Nanoseconds of a text like `500ms`.
pub fn time(text: &str) -> Option<u64> {
    with_unit(text, &TIMES)
}

/// Bytes of a text like `128M`, `128MB` or `128MiB`, all of which are binary.
pub fn size(text: &str) -> Option<u64> {
    let short = text
        .strip_suffix("iB")
        .or_else(|| text.strip_suffix('B'))
        .unwrap_or(text);
    with_unit(short, &SIZES)
}

fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// Seconds from 1970 to a text like `2026-01-31` or `2026-01-31T12:30:00Z`, in UTC.
pub fn date(text: &str) -> Option<u64> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (date, time) = match text.split_once(['T', ' ']) {
        Some((date, time)) => (date, time),
        None => (text, "00:00:00"),
    };
    let [year, month, day] = fields(date, '-')?;
    let [hour, minute, second] = fields(time, ':')?;
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let months = [
        31,
        28 + u64::from(leap(year)),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    let valid = (1970..=2400).contains(&year)
        && (1..=12).contains(&month)
        && (1..=months[month as usize - 1]).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !valid {
        return None;
    }
    let days = (1970..year)
        .map(|year| 365 + u64::from(leap(year)))
        .sum::<u64>()
        + months[..month as usize - 1].iter().sum::<u64>()
        + day
        - 1;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

/// Three numbers with a separator between them.
fn fields(text: &str, separator: char) -> Option<[u64; 3]> {
    let mut fields = text.split(separator).map(|field| {
        let digits = field.bytes().all(|byte| byte.is_ascii_digit());
        if digits { field.parse().ok() } else { None }
    });
    let three = [fields.next()??, fields.next()??, fields.next()??];
    fields.next().is_none().then_some(three)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_need_a_unit() {
        assert_eq!(time("500ms"), Some(500_000_000));
        assert_eq!(time("10 s"), Some(10_000_000_000));
        assert_eq!(time("2min"), Some(120_000_000_000));
        for wrong in ["", "10", "s", "-1s", "1.5s", "1m", "99999999999999h"] {
            assert_eq!(time(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes_are_binary() {
        for text in ["128M", "128MB", "128MiB", "131072K"] {
            assert_eq!(size(text), Some(128 << 20), "{text}");
        }
        for wrong in ["", "128", "M", "128X", "B", "iB"] {
            assert_eq!(size(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn dates_become_seconds() {
        assert_eq!(date("1970-01-01"), Some(0));
        assert_eq!(date("2000-03-01T00:00:01Z"), Some(951_868_801));
        assert_eq!(date("2026-11-22 01:02:03"), Some(1_795_309_323));
        for wrong in [
            "2026",
            "2026-13-01",
            "2026-02-29",
            "2026-0a-01",
            "2026-01-01T24:00:00",
            "",
        ] {
            assert_eq!(date(wrong), None, "{wrong}");
        }
    }
}
