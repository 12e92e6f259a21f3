//! N machines on one virtual timeline.
