//! The test harness: registry, configuration, progress, report, regression files.

mod chaos;
pub mod cores;
pub mod entry;
pub mod registry;
pub mod regression;
pub mod report;
pub mod rerun;
pub mod settings;
pub mod signals;
pub mod symbolize;
mod timeline;
mod trial;
pub mod world;
