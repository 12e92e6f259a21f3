//! The fault catalogue, schedules, and the engine that fires them.
//!
//! Everything here is pure: a schedule is data, the engine says what is due at
//! which instant, and whoever owns the machines and the network applies it.
//! That keeps one description of each fault (its name, parameters, words and
//! ranges) for generation, text files, reports and shrinking alike.

mod aim;
mod amount;
mod catalogue;
mod engine;
mod generate;
mod kind;
mod parse;
mod request;
mod schedule;
mod stream;
mod text;

pub use aim::{Aim, Whom};
pub use amount::{format_time, parse_time};
pub use catalogue::{FaultInfo, Param, Shape, Unit};
pub use engine::{Cause, FaultEngine, Firing, Phase, Timing};
pub use generate::Generator;
pub use kind::{Fault, FaultKind, Parts, Target};
pub use parse::FaultParseError;
pub use schedule::{FaultSchedule, FaultScheduleBuilder, ScheduleError, ScheduledFault};
pub use stream::Stream;
pub use text::TextError;
