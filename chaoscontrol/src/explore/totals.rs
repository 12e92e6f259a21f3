//! Sums over all branches of an exploration.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::runner::BranchResult;
use crate::fault::FaultKind;

/// Sums over branches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Branches run.
    pub branches: u64,
    /// Branches that failed.
    pub failed: u64,
    /// Branches in which a guest had to be meddled with.
    pub spun: u64,
    /// Faults applied, by kind.
    pub faults: BTreeMap<FaultKind, u64>,
    /// Packets by what became of them.
    pub packets: BTreeMap<String, u64>,
    /// Events by name.
    pub events: BTreeMap<String, u64>,
    /// Guest instructions.
    pub instructions: u64,
    /// Those of them that were executed; the others lie before the snapshots that branches began at.
    pub executed: u64,
    /// Virtual ns.
    pub simulated_ns: u64,
}

/// The most names of events that are told apart; guests choose them.
const EVENT_NAMES: usize = 1000;

impl Totals {
    /// Adds other branches' sums.
    pub fn merge(&mut self, other: &Totals) {
        let Totals {
            branches,
            failed,
            spun,
            faults,
            packets,
            events,
            instructions,
            executed,
            simulated_ns,
        } = other;
        self.branches += branches;
        self.failed += failed;
        self.spun += spun;
        for (kind, n) in faults {
            *self.faults.entry(*kind).or_default() += n;
        }
        for (cause, n) in packets {
            *self.packets.entry(cause.clone()).or_default() += n;
        }
        for (name, n) in events {
            if self.events.len() < EVENT_NAMES || self.events.contains_key(name) {
                *self.events.entry(name.clone()).or_default() += n;
            }
        }
        self.instructions = self.instructions.saturating_add(*instructions);
        self.executed = self.executed.saturating_add(*executed);
        self.simulated_ns = self.simulated_ns.saturating_add(*simulated_ns);
    }

    /// Adds a branch.
    pub fn add<S>(&mut self, result: &BranchResult<S>) {
        let stats = &result.stats;
        let packets = stats.packets.iter();
        self.merge(&Totals {
            branches: 1,
            failed: u64::from(result.failure.is_some()),
            spun: u64::from(stats.spun),
            faults: stats.faults.clone(),
            packets: packets
                .map(|(cause, n)| ((*cause).to_owned(), *n))
                .collect(),
            events: stats.events.clone(),
            instructions: stats.instructions,
            executed: stats.executed,
            simulated_ns: stats.simulated_ns,
        });
    }
}
