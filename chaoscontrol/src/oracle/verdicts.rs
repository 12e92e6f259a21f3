//! What many branches together have shown of each property.

use std::collections::{BTreeMap, BTreeSet};

use chaoscontrol_guest::protocol::PropertyKind;
use serde::{Deserialize, Serialize};

use super::branch::PropertyOracle;
use super::failure::{Failure, FailureKind, Place, Property};
use crate::encoding::pairs;

/// How a property fared. Counts are of branches: a process tells its host each good
/// outcome only once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Where it stands.
    pub places: BTreeSet<Place>,
    /// Branches that evaluated it.
    pub evaluated: u64,
    /// Branches in which it came out as it should.
    pub passed: u64,
    /// Branches in which it came out as it should not.
    pub failed: u64,
    /// Whether the test demands that it be met.
    pub required: bool,
}

/// Verdicts of an exploration. Branches are added in job order, though the sum does not depend on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdicts {
    #[serde(with = "pairs")]
    properties: BTreeMap<Property, Verdict>,
    required: BTreeSet<String>,
    branches: u64,
}

impl Verdicts {
    /// Verdicts of no branch, for a test that demands properties with these messages.
    pub fn new(required: impl IntoIterator<Item = String>) -> Self {
        Verdicts {
            required: required.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Lists a site of the executable's catalog. `required` if the test itself holds it.
    pub fn site(&mut self, kind: PropertyKind, message: &str, place: Place, required: bool) {
        let verdict = self
            .properties
            .entry(Property {
                message: message.to_owned(),
                kind,
            })
            .or_default();
        verdict.places.insert(place);
        verdict.required |= required;
    }

    /// Adds what a branch has shown.
    pub fn add(&mut self, branch: &PropertyOracle) {
        self.branches += 1;
        for (property, seen) in branch.properties() {
            let verdict = self.properties.entry(property.clone()).or_default();
            verdict.places.extend(seen.places.iter().cloned());
            verdict.evaluated += u64::from(seen.evaluated);
            verdict.passed += u64::from(seen.passed);
            verdict.failed += u64::from(seen.failed);
        }
    }

    /// Adds what other branches of the same test have shown.
    pub fn merge(&mut self, other: &Verdicts) {
        self.branches += other.branches;
        self.required.extend(other.required.iter().cloned());
        for (property, seen) in &other.properties {
            let verdict = self.properties.entry(property.clone()).or_default();
            verdict.places.extend(seen.places.iter().cloned());
            verdict.evaluated += seen.evaluated;
            verdict.passed += seen.passed;
            verdict.failed += seen.failed;
            verdict.required |= seen.required;
        }
    }

    /// Branches added.
    pub fn branches(&self) -> u64 {
        self.branches
    }

    /// All properties, by message.
    pub fn properties(&self) -> &BTreeMap<Property, Verdict> {
        &self.properties
    }

    /// Properties that stand in the executable and that no branch evaluated.
    pub fn never_exercised(&self) -> impl Iterator<Item = (&Property, &Verdict)> {
        self.properties.iter().filter(|(_, v)| v.evaluated == 0)
    }

    /// The failures that only a complete exploration can show: a `sometimes` that was
    /// evaluated and never true, and whatever was required and never met.
    pub fn judge(&self) -> Vec<Failure> {
        let mut failures = Vec::new();
        for (property, v) in &self.properties {
            let sometimes = property.kind == PropertyKind::Sometimes;
            let met = if sometimes {
                v.passed > 0
            } else {
                v.evaluated > 0
            };
            let required = self.required.contains(&property.message)
                || v.required
                    && matches!(
                        property.kind,
                        PropertyKind::Sometimes | PropertyKind::Reachable
                    );
            if !met && (required || sometimes && v.evaluated > 0) {
                let site = v.places.first().map(|p| (property.kind, p.clone()));
                failures.push(never_met(&property.message, site, v.evaluated));
            }
        }
        let known: BTreeSet<_> = self.properties.keys().map(|p| &p.message).collect();
        failures.extend(
            self.required
                .iter()
                .filter(|m| !known.contains(m))
                .map(|m| never_met(m, None, 0)),
        );
        failures
    }
}

fn never_met(message: &str, site: Option<(PropertyKind, Place)>, evaluated: u64) -> Failure {
    let message = message.to_owned();
    Failure {
        at: None,
        kind: FailureKind::NeverMet {
            message,
            site,
            evaluated,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::failure::Moment;
    use super::*;
    use chaoscontrol_guest::protocol::Message;

    fn place(line: u32) -> Place {
        Place {
            file: "tests/chaos.rs".to_owned(),
            line,
            column: 1,
        }
    }

    fn branch(evaluations: &[(&str, bool)]) -> PropertyOracle {
        let mut oracle = PropertyOracle::new();
        for &(message, condition) in evaluations {
            let kind = PropertyKind::Sometimes;
            let m = Message::Assert {
                kind,
                condition,
                line: 3,
                column: 1,
                file: "tests/chaos.rs",
                message,
                details: "",
            };
            oracle.message(Moment { time_ns: 1, vm: 0 }, &m);
        }
        oracle
    }

    fn judged(v: &Verdicts) -> Vec<String> {
        v.judge().iter().map(|f| f.describe(None)).collect()
    }

    #[test]
    fn a_sometimes_must_come_true_in_some_branch() {
        let mut v = Verdicts::new([]);
        v.add(&branch(&[("commits", false), ("retries", false)]));
        assert_eq!(v.judge().len(), 2);
        v.add(&branch(&[("commits", true), ("retries", false)]));
        assert_eq!(
            judged(&v),
            [
                "sometimes \"retries\" at tests/chaos.rs:3 was never true, in 2 branches that evaluated it"
            ]
        );
    }

    #[test]
    fn required_sites_must_be_met_and_others_are_only_listed() {
        let mut v = Verdicts::new(["demanded".to_owned(), "absent".to_owned()]);
        v.site(PropertyKind::Sometimes, "own", place(7), true);
        v.site(PropertyKind::Always, "own always", place(8), true);
        v.site(PropertyKind::Reachable, "foreign", place(9), false);
        v.site(PropertyKind::Reachable, "demanded", place(10), false);
        assert_eq!(
            judged(&v),
            [
                "reachable \"demanded\" at tests/chaos.rs:10 was never evaluated",
                "sometimes \"own\" at tests/chaos.rs:7 was never evaluated",
                "required property \"absent\" stands nowhere in what ran",
            ]
        );
        assert_eq!(v.never_exercised().count(), 4);
    }
}
