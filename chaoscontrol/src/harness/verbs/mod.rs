//! The `cargo chaos` verbs that concern a test. The front builds the test executable and
//! calls it with the verb in its environment, so that they run on the engine and the code
//! that the test itself would run on.

mod bench;
mod doctor;
mod explore;
mod fault_cost;
mod mix;
mod report;
mod saved;
mod verify;
mod zoo;

use std::env;
use std::process::ExitCode;

use super::engine::EngineChoice;
use super::entry::Package;
use super::registry::{Body, TESTS, TestCase};
use super::settings::Settings;
use super::world::{self, World};

/// The environment variable that names the verb.
pub const VERB: &str = "CHAOS_VERB";

/// Answers a verb.
type Answer = fn(Arguments) -> Result<ExitCode, String>;

/// The verbs.
const VERBS: [(&str, Answer); 11] = [
    ("doctor", doctor::doctor),
    ("report", report::report),
    ("resume", explore::resume),
    ("run", explore::run),
    ("verify", verify::verify),
    ("verify-run", verify::run),
    ("bench", bench::bench),
    ("zoo", zoo::zoo),
    ("replay", saved::replay),
    ("reproduce", saved::reproduce),
    ("minimize", saved::minimize),
];

/// A body that belongs to a verb and to no test.
pub fn body(name: &str) -> Option<Body> {
    (name == mix::NAME).then_some(mix::body)
}

/// What a verb was called with.
pub struct Arguments {
    package: Package,
    words: Vec<String>,
    /// What `--engine` says, before all settings.
    engine: Option<EngineChoice>,
}

/// Answers `verb` with the process's arguments.
pub fn run(verb: &str, package: Package) -> ExitCode {
    let Some((_, answer)) = VERBS.iter().find(|(name, _)| *name == verb) else {
        eprintln!("error: this version of chaoscontrol has no verb `{verb}` for tests");
        return ExitCode::from(2);
    };
    let mut arguments = Arguments {
        package,
        words: env::args().skip(1).collect(),
        engine: None,
    };
    let answered = arguments.take_engine().and_then(|()| answer(arguments));
    answered.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::from(2)
    })
}

impl Arguments {
    /// Takes the switch `name` out.
    fn switch(&mut self, name: &str) -> bool {
        let at = self.words.iter().position(|word| word == name);
        at.map(|at| self.words.remove(at)).is_some()
    }

    /// Takes `name VALUE` out; `read` knows the value, which is to be `wanted`.
    fn value<T>(
        &mut self,
        name: &str,
        wanted: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, String> {
        let Some(at) = self.words.iter().position(|word| word == name) else {
            return Ok(None);
        };
        self.words.remove(at);
        if at >= self.words.len() {
            return Err(format!("{name} wants {wanted}"));
        }
        let text = self.words.remove(at);
        let value = read(&text).ok_or_else(|| format!("{name} is `{text}`, and must be {wanted}"));
        value.map(Some)
    }

    /// Takes each `name TEXT` out.
    fn texts(&mut self, name: &str) -> Result<Vec<String>, String> {
        let mut texts = Vec::new();
        while let Some(text) = self.value(name, "a name", |text| Some(text.to_owned()))? {
            texts.push(text);
        }
        Ok(texts)
    }

    /// Refuses what no option has taken.
    fn nothing_left(&self) -> Result<(), String> {
        match self.words.first() {
            Some(word) => Err(format!("nothing is known of `{word}`")),
            None => Ok(()),
        }
    }

    /// Takes `name NUMBER` out.
    fn number(&mut self, name: &str) -> Result<Option<u64>, String> {
        self.value(name, "a number", |text| text.parse().ok())
    }

    /// Takes `--engine ENGINE` out, which all verbs have.
    fn take_engine(&mut self) -> Result<(), String> {
        self.engine = self.value("--engine", "soft, kvm or auto", EngineChoice::by_name)?;
        Ok(())
    }

    /// The test that what is left names; without a name the first that is to pass.
    fn test(&self) -> Result<&'static TestCase, String> {
        if let Some(flag) = self.words.iter().find(|word| word.starts_with('-')) {
            return Err(format!("there is no option `{flag}`"));
        }
        let mut cases: Vec<&TestCase> = TESTS.iter().collect();
        cases.sort_by_key(|case| case.name());
        let found = match self.words.first() {
            Some(name) => cases.iter().find(|case| case.name() == *name),
            None => cases
                .iter()
                .find(|case| case.should_panic.is_none() && case.ignore.is_none()),
        };
        found.copied().ok_or_else(|| {
            let names: Vec<String> = cases.iter().map(|case| case.name()).collect();
            format!("there is no such test; there are {}", names.join(", "))
        })
    }

    /// The world of the test that is named, its settings changed by `change`.
    fn world(&self, change: impl FnOnce(&mut Settings)) -> Result<World, String> {
        self.world_of(self.test()?, change)
    }

    /// The world of `case`, its settings changed by `change`.
    fn world_of(
        &self,
        case: &TestCase,
        change: impl FnOnce(&mut Settings),
    ) -> Result<World, String> {
        let mut settings = world::settings(case, &self.package).map_err(|e| e.to_string())?;
        settings.engine = self.engine.unwrap_or(settings.engine);
        change(&mut settings);
        let say = |line: &str| eprintln!("chaoscontrol: {line}");
        World::new(case, &self.package, settings, &say).map_err(|e| e.to_string())
    }
}
