//! Recording of runs: state hashes a tick, and where two runs first differ.
