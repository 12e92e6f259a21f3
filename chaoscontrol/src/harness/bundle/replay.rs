//! Runs what a bundle holds, in whatever folder and with whatever code around it.

use std::path::Path;
use std::sync::Arc;

use super::Bundle;
use crate::cluster;
use crate::harness::engine::{self, EngineChoice};
use crate::harness::report::Report;
use crate::harness::rerun::rerun;
use crate::harness::world;
use crate::machine::{DiskConfig, VmConfig};

/// What came of a replay.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// What there is to say of it.
    pub report: String,
    /// Whether it ended in the recorded state, and with the recorded failure.
    pub same: bool,
}

/// Boots the cluster from the bundle's bytes and follows its recipe; `say` hears of what the host
/// lacks.
///
/// # Errors
/// Trouble of the host, or a guest that does not start, in words.
pub fn replay(bundle: &Bundle, say: &dyn Fn(&str)) -> Result<Replayed, String> {
    let record = &bundle.record;
    let engine = EngineChoice::Auto.for_replay(record);
    let engine = engine.settle(say).map_err(|e| e.to_string())?;
    let settings = &record.settings;
    let boot = cluster::boot(VmConfig {
        memory_size: settings.memory,
        disk: bundle.disk.clone().map(DiskConfig::new),
        kernel: Arc::clone(&bundle.kernel),
        initrd: Arc::clone(&bundle.initramfs),
        epoch: settings.epoch,
        instruction_ns: settings.instruction_ns,
        engine,
        ..VmConfig::default()
    })
    .map_err(|e| e.to_string())?;
    let scenario = world::scenario(settings, bundle.test.clone(), boot);
    let stops = record.trail.ticks.iter().map(|tick| tick.time_ns);
    let stops: Vec<u64> = stops.collect();
    let branch = rerun(&Arc::new(scenario), &record.recipe, &stops).map_err(|e| e.to_string())?;
    let same_state = branch.state_hash == record.state;
    let id = branch.failure.as_ref().map(|failure| failure.id());
    let same_failure = id.as_ref() == Some(&record.bug);

    let (state, before) = (branch.state_hash, record.state);
    let mut notes = vec![format!("of test {}, {}", bundle.test, record.found)];
    notes.extend(engine::missing(record, engine));
    notes.push(match same_state {
        true => format!("replayed exactly: it ended in the recorded state {state:016x}"),
        false => format!("diverged: it ended in state {state:016x}, recorded was {before:016x}"),
    });
    if !same_state {
        let divergence = record.trail.compare(&branch.trail.short());
        notes.extend(divergence.map(|first| format!("by time after setup, {first}")));
        if record.version != env!("CARGO_PKG_VERSION") {
            notes.push(format!(
                "it was recorded by chaoscontrol {}, and this is {}, whose machines may differ: use that one",
                record.version,
                env!("CARGO_PKG_VERSION")
            ));
        }
    }
    if bundle.has_check {
        notes.push("the test's `check` is code of the host and is not in the bundle: what it would say is not known".to_owned());
    }
    let report = match &branch.failure {
        Some(failure) => {
            if !same_failure {
                let bug = &record.bug;
                notes.push(format!(
                    "another failure was recorded: {} {:?}",
                    bug.kind, bug.message
                ));
            }
            let report = Report {
                failure,
                start_ns: branch.start_ns,
                notes,
                schedule: &record.recipe.schedule,
                inputs: &record.recipe.inputs,
                timeline: &branch.timeline,
                vms: settings.vms as usize,
                remarks: branch.missing.clone(),
                backtrace: Vec::new(),
                state: Some(state),
                kernel: u128::from_str_radix(&record.kernel, 16).unwrap_or_default(),
                disk: u128::from_str_radix(&record.disk, 16).ok(),
                engine,
                saved: None,
                package: Path::new("/"),
                replay: None,
            };
            report.render()
        }
        None => {
            let recorded = bundle.failure.trim_end();
            format!(
                "it did not fail; recorded was:\n{recorded}\n  {}",
                notes.join("\n  ")
            )
        }
    };
    Ok(Replayed {
        report,
        same: same_state && (same_failure || bundle.has_check && id.is_none()),
    })
}
