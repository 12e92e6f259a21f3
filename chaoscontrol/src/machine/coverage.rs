//! Which branches guests take, counted outside of their machines' state.

use std::sync::Arc;

use super::vm::DeterministicVm;
use crate::cpu::soft::coverage::{CodeMap, REGION, REGIONS};

/// Counters of a coverage map.
pub const COVERAGE: usize = REGION * REGIONS;

/// The saturating counters of edges. Machines that run in turn share one: what they
/// execute is mostly the same, and so the counters stay in the host's caches.
#[derive(Clone, Debug, Default)]
pub struct EdgeCounters(Box<[u8]>);

impl EdgeCounters {
    /// [`COVERAGE`] counters, all zero.
    pub fn new() -> EdgeCounters {
        EdgeCounters(vec![0; COVERAGE].into())
    }

    /// The counters.
    pub fn get(&self) -> &[u8] {
        &self.0
    }

    /// The counters, to begin anew or go on from others.
    pub fn get_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl DeterministicVm {
    /// Names the code of packed files; other user code is not counted.
    pub fn name_code(&mut self, map: &Arc<CodeMap>) {
        self.cpu.set_code_map(Arc::clone(map));
    }

    /// Exchanges this machine's counters, none at first, for `counters`. The edges that the
    /// guest takes are counted while there are any.
    pub fn swap_counters(&mut self, counters: &mut EdgeCounters) {
        self.cpu.swap_counters(&mut counters.0);
    }
}
