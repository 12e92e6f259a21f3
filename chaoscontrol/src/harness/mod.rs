//! The test harness: registry, configuration, progress, report, regression files.

pub mod artifacts;
pub mod bundle;
mod chaos;
mod compared;
pub mod cores;
mod count;
mod crew;
pub mod disk;
pub mod engine;
pub mod entry;
mod pin;
mod progress;
pub mod registry;
pub mod regression;
pub mod report;
pub mod rerun;
mod search;
pub mod settings;
pub mod signals;
mod summary;
pub mod symbolize;
mod timeline;
mod trial;
mod unwithheld;
pub mod verbs;
mod verdict;
pub mod world;
