//! The fault catalogue, schedules, and the engine that fires them.
//!
//! Everything here is pure: a schedule is data, the engine says what is due at
//! which instant, and whoever owns the machines and the network applies it.
//! That keeps one description of each fault (its name, parameters, words and
//! ranges) for generation, text files, reports and shrinking alike.

mod activity;
mod aim;
mod amount;
mod catalogue;
mod engine;
mod generate;
mod info;
mod parse;
mod preset;
mod schedule;
mod stream;
mod table;
mod text;
mod tolerance;

pub use activity::Activity;
pub use aim::{Aim, Whom};
pub use amount::{format_time, parse_time};
pub use catalogue::{Fault, FaultKind, Parts};
pub use engine::{Cause, FaultEngine, Firing, Phase, Timing};
pub use generate::{Generator, with_undoing};
pub use info::{Class, Effect, FaultInfo, Param, Sense, Shape, Unit};
pub use parse::FaultParseError;
pub use preset::Preset;
pub use schedule::{
    FaultError, FaultSchedule, FaultScheduleBuilder, ScheduleError, ScheduledFault,
};
pub use stream::Stream;
pub use table::Target;
pub use text::TextError;
pub use tolerance::Tolerance;
