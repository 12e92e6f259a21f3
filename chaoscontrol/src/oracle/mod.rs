//! Properties and their verdicts across runs.
