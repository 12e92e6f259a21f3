//! How likely a branch is to find a bug, and how many green branches make a fix credible.

use serde::{Deserialize, Serialize};

/// What remains improbable: statements hold in 95 of 100 cases.
const DOUBT: f64 = 0.05;

/// An estimate from branches that were run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Findability {
    /// Branches run.
    pub branches: u64,
    /// How many of them failed.
    pub failed: u64,
    /// Edges that only one of them took.
    pub singletons: u64,
}

impl Findability {
    /// The most that a branch's probability to fail can be, in 95 of 100 cases: without any
    /// failure about 3 / branches (the rule of three), else by Wilson's upper bound.
    pub fn at_most(&self) -> f64 {
        let n = self.branches as f64;
        if self.branches == 0 {
            return 1.0;
        }
        if self.failed == 0 {
            return 1.0 - DOUBT.powf(1.0 / n);
        }
        let (p, z) = (self.failed as f64 / n, 1.645);
        let centre = p + z * z / (2.0 * n);
        let spread = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
        ((centre + spread) / (1.0 + z * z / n)).min(1.0)
    }

    /// Good and Turing's estimate of how many edges never seen before the next branch takes.
    pub fn new_edges_per_branch(&self) -> f64 {
        if self.branches == 0 {
            0.0
        } else {
            self.singletons as f64 / self.branches as f64
        }
    }

    /// Green branches after which a fix of the bug found is credible (a bug as rare as this
    /// one would have shown by then in 95 of 100 cases); `None` without a failure.
    pub fn green_branches_for_a_fix(&self) -> Option<u64> {
        if self.failed == 0 {
            return None;
        }
        let p = self.failed as f64 / self.branches.max(self.failed) as f64;
        if p >= 1.0 {
            Some(1)
        } else {
            Some((DOUBT.ln() / (1.0 - p).ln()).ceil() as u64)
        }
    }

    /// The same in rounds of `branches` branches.
    pub fn green_rounds_for_a_fix(&self, branches: u64) -> Option<u64> {
        let green = self.green_branches_for_a_fix()?;
        Some(green.div_ceil(branches.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn green_branches_bound_what_may_hide() {
        let green = |branches| Findability {
            branches,
            failed: 0,
            singletons: 0,
        };
        assert_eq!(green(0).at_most(), 1.0);
        assert!((green(800).at_most() - 3.0 / 800.0).abs() < 1e-4);
        assert_eq!(green(800).green_branches_for_a_fix(), None);
    }

    #[test]
    fn a_found_bug_says_how_much_green_a_fix_needs() {
        let found = Findability {
            branches: 100,
            failed: 10,
            singletons: 50,
        };
        assert!(found.at_most() > 0.1 && found.at_most() < 0.2);
        assert_eq!(found.green_branches_for_a_fix(), Some(29));
        assert_eq!(found.green_rounds_for_a_fix(8), Some(4));
        assert_eq!(found.new_edges_per_branch(), 0.5);
        let always = Findability {
            branches: 4,
            failed: 4,
            singletons: 0,
        };
        assert_eq!(always.green_branches_for_a_fix(), Some(1));
    }
}
