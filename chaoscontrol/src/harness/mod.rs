//! The test harness: registry, configuration, progress, report, regression files.

pub mod cores;
pub mod registry;
pub mod settings;
pub mod signals;
pub mod symbolize;
