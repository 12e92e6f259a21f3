//! The search for failing fault schedules.

pub mod simulation;
