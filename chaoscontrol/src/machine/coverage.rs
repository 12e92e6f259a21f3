//! Which branches a machine's guest took, counted outside of its state.

use std::sync::Arc;

use super::vm::DeterministicVm;
use crate::cpu::soft::coverage::{CodeMap, REGION, REGIONS};

/// Counters of a coverage map.
pub const COVERAGE: usize = REGION * REGIONS;

impl DeterministicVm {
    /// Counts the edges that the guest takes from now on; `map` names the code of packed files.
    pub fn count_edges(&mut self, map: &Arc<CodeMap>) {
        self.cpu.set_code_map(Arc::clone(map));
        self.cpu.set_coverage(true);
    }

    /// Adds what was counted since the last call to `total`, [`COVERAGE`] saturating
    /// counters, and begins anew.
    pub fn drain_edges(&mut self, total: &mut [u8]) {
        /// Counters looked at together: most are zero.
        const STRIDE: usize = 32;
        let counted = self.cpu.coverage();
        for (at, chunk) in counted.chunks_exact(STRIDE).enumerate() {
            if chunk != [0; STRIDE] {
                for (counter, total) in chunk.iter().zip(&mut total[at * STRIDE..]) {
                    *total = total.saturating_add(*counter);
                }
            }
        }
        self.cpu.clear_coverage();
    }
}
