//! All properties of a test with how they fared, for programs that follow them over time.

use serde::Serialize;

use crate::oracle::{Property, Verdict, Verdicts};
use chaoscontrol_guest::protocol::PropertyKind;

/// The file's name.
pub(super) const FILE: &str = "assertions.json";

/// A property as the file tells of it. Counts are of branches.
#[derive(Serialize)]
struct Assertion<'a> {
    kind: &'static str,
    message: &'a str,
    places: Vec<String>,
    verdict: &'static str,
    evaluated: u64,
    passed: u64,
    failed: u64,
    required: bool,
}

/// The file's text.
pub(super) fn json(verdicts: &Verdicts) -> String {
    let assertions: Vec<Assertion<'_>> = verdicts
        .properties()
        .iter()
        .map(|(property, seen)| Assertion {
            kind: property.kind.name(),
            message: &property.message,
            places: seen.places.iter().map(ToString::to_string).collect(),
            verdict: word(property, seen),
            evaluated: seen.evaluated,
            passed: seen.passed,
            failed: seen.failed,
            required: seen.required,
        })
        .collect();
    serde_json::to_string_pretty(&assertions).expect("texts and numbers are JSON") + "\n"
}

/// How a property fared so far.
fn word(property: &Property, seen: &Verdict) -> &'static str {
    match property.kind {
        _ if seen.evaluated == 0 => "never exercised",
        // It is no failure of a branch that it is false there.
        PropertyKind::Sometimes if seen.passed == 0 => "never true",
        PropertyKind::Sometimes => "passed",
        _ if seen.failed > 0 => "failed",
        _ => "passed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_property_has_its_word() {
        let seen = |evaluated, passed, failed| Verdict {
            evaluated,
            passed,
            failed,
            ..Verdict::default()
        };
        let of = |kind, seen| {
            let message = String::new();
            word(&Property { message, kind }, &seen)
        };
        use PropertyKind::{Always, Sometimes};
        assert_eq!(of(Always, seen(0, 0, 0)), "never exercised");
        assert_eq!(of(Always, seen(3, 3, 0)), "passed");
        assert_eq!(of(Always, seen(3, 3, 1)), "failed");
        assert_eq!(of(Sometimes, seen(3, 0, 3)), "never true");
        assert_eq!(of(Sometimes, seen(3, 1, 3)), "passed");
    }
}
