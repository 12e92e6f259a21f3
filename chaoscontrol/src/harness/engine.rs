//! Which engine a test asks for, and which one it gets.
//!
//! The software CPU is the default on every host, so that a test's result does not depend on
//! where it runs. Who asks for KVM gets KVM or an error; who leaves the choice to the host is
//! told what it was and why.

use std::sync::Once;

use super::regression::Recorded;
use crate::cpu::Engine;
use crate::cpu::choice::HostKvm;

/// What a test asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineChoice {
    /// The software CPU.
    #[default]
    Soft,
    /// KVM, or an error.
    Kvm,
    /// KVM where a probe finds it fast, else the software CPU.
    Auto,
}

/// KVM was asked for and cannot run here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "engine = \"kvm\" cannot run here: {0}; engine = \"soft\" runs everywhere, \"auto\" chooses"
)]
pub struct NoEngine(String);

impl EngineChoice {
    /// All of them, in the order of [`EngineChoice::WORDS`].
    pub const ALL: [EngineChoice; 3] = [EngineChoice::Soft, EngineChoice::Kvm, EngineChoice::Auto];
    /// How they are written.
    pub const WORDS: [&str; 3] = ["soft", "kvm", "auto"];

    /// The choice that is written like this.
    pub fn by_name(name: &str) -> Option<EngineChoice> {
        let mut all = Self::WORDS.into_iter().zip(Self::ALL);
        all.find_map(|(word, choice)| (word == name).then_some(choice))
    }

    /// How it is written.
    pub fn name(self) -> &'static str {
        Self::WORDS[self as usize]
    }

    /// The engine that this is on this host. `say` hears, once in a process, of a choice that
    /// depends on the host, and of a KVM that is asked for although it is poor.
    ///
    /// # Errors
    /// KVM is asked for and cannot be used.
    pub fn settle(self, say: &dyn Fn(&str)) -> Result<Engine, NoEngine> {
        static SAID: Once = Once::new();
        if self == EngineChoice::Soft {
            return Ok(Engine::Soft);
        }
        let (engine, line) = self.on(HostKvm::look())?;
        if let Some(line) = line {
            SAID.call_once(|| say(&line));
        }
        Ok(engine)
    }

    /// The engine on such a host, and what there is to say of it.
    fn on(self, host: &HostKvm) -> Result<(Engine, Option<String>), NoEngine> {
        match (self, host) {
            (EngineChoice::Soft, _) => Ok((Engine::Soft, None)),
            (EngineChoice::Auto, host) => {
                let (engine, line) = host.chosen();
                Ok((engine, Some(line)))
            }
            (EngineChoice::Kvm, HostKvm::Usable(_)) => Ok((Engine::Kvm, None)),
            (EngineChoice::Kvm, HostKvm::Poor(line)) => {
                let line =
                    format!("warning: {line}: using it all the same, as engine = \"kvm\" asks");
                Ok((Engine::Kvm, Some(line)))
            }
            (EngineChoice::Kvm, HostKvm::Absent(why)) => Err(NoEngine(why.clone())),
        }
    }

    /// What to ask for to see `recorded` again, in a test that asks for `self`: the engine of
    /// the record, unless that is KVM, the test does not insist on it, and here it is no good.
    pub fn for_replay(self, recorded: &Recorded) -> EngineChoice {
        match recorded.settings.engine {
            Engine::Soft => EngineChoice::Soft,
            Engine::Kvm if self == EngineChoice::Kvm => EngineChoice::Kvm,
            Engine::Kvm => match HostKvm::look() {
                HostKvm::Usable(_) => EngineChoice::Kvm,
                HostKvm::Poor(_) | HostKvm::Absent(_) => EngineChoice::Soft,
            },
        }
    }
}

/// Why `recorded` did not run on its own engine but on `engine`, if so.
pub fn missing(recorded: &Recorded, engine: Engine) -> Option<String> {
    if recorded.settings.engine == engine {
        return None;
    }
    let (HostKvm::Usable(line) | HostKvm::Poor(line) | HostKvm::Absent(line)) = HostKvm::look();
    Some(format!(
        "it was recorded on engine \"{}\", which is missing here: {line}; it was run on engine \"{}\"",
        recorded.settings.engine.name(),
        engine.name()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_choice_on_each_host() {
        let hosts = [HostKvm::Usable, HostKvm::Poor, HostKvm::Absent];
        let got = |choice: EngineChoice| {
            hosts.map(|host| match choice.on(&host("/dev/kvm is".into())) {
                Ok((engine, line)) => format!("{} {}", engine.name(), line.unwrap_or_default()),
                Err(error) => error.to_string(),
            })
        };
        assert_eq!(got(EngineChoice::Soft), ["soft "; 3]);
        let [usable, poor, absent] = got(EngineChoice::Kvm);
        assert_eq!(usable, "kvm ");
        assert!(
            poor.starts_with("kvm warning: /dev/kvm is: using it all the same"),
            "{poor}"
        );
        assert!(
            absent.starts_with("engine = \"kvm\" cannot run here: /dev/kvm is;"),
            "{absent}"
        );
        assert_eq!(
            got(EngineChoice::Auto),
            [
                "kvm /dev/kvm is: using it",
                "soft /dev/kvm is: using the software CPU",
                "soft /dev/kvm is: using the software CPU"
            ]
        );
    }
}
