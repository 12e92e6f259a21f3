//! The test harness: registry, configuration, progress, report, regression files.
