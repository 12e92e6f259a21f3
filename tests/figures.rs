//! What `cargo chaos bench --json` prints, read the same way on both engines.

use std::collections::BTreeMap;

/// The figures that it has on every engine.
pub const FIGURES: [&str; 15] = [
    "boot_instructions",
    "boot_seconds",
    "branches",
    "branches_failed",
    "branches_per_minute",
    "events_per_branch",
    "exits_per_second",
    "instructions_per_branch",
    "mips_boot",
    "mips_mixed",
    "packed_mib",
    "peak_memory_mib",
    "restores_per_second_1vm",
    "restores_per_second_3vm",
    "simulated_seconds_per_second",
];

/// The figures in `printed`, of which one line is the object.
///
/// # Panics
/// They are not [`FIGURES`], or one that cannot be zero is.
pub fn figures(printed: &str) -> BTreeMap<String, f64> {
    let object = printed
        .lines()
        .find_map(|line| line.strip_prefix('{')?.strip_suffix('}'))
        .unwrap_or_else(|| panic!("no object in\n{printed}"));
    let figures: BTreeMap<String, f64> = object
        .split(", ")
        .filter_map(|field| {
            let (name, value) = field.split_once(": ")?;
            Some((name.trim_matches('"').to_owned(), value.parse().ok()?))
        })
        .collect();
    let names: Vec<&str> = figures.keys().map(String::as_str).collect();
    assert_eq!(names, FIGURES, "{printed}");
    for (name, value) in &figures {
        let may_be_zero = ["branches_failed", "events_per_branch"].contains(&name.as_str());
        assert!(may_be_zero || *value > 0.0, "{name} is {value}");
    }
    figures
}
