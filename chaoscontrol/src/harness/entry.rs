//! Where a test executable begins: as a test VM's `/init`, as the worker of a
//! `cargo chaos` verb, or as the harness that `cargo test` calls.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

use super::registry::{HOST_TESTS, TESTS};
use super::{signals, trial, verbs};

/// The package of a test target, as it was when it was compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Package {
    /// The folder of its `Cargo.toml`.
    pub manifest_dir: &'static str,
    /// Its name.
    pub name: &'static str,
    /// The name of the test target.
    pub target: &'static str,
}

impl Package {
    /// The package's folder now: cargo and nextest say where it is, should it have moved.
    pub fn folder(&self) -> PathBuf {
        match env::var_os("CARGO_MANIFEST_DIR") {
            Some(folder) => folder.into(),
            None => self.manifest_dir.into(),
        }
    }

    /// The target's name in Cargo.toml, which may have hyphens where the crate's name has
    /// underscores.
    pub fn target_name(&self) -> String {
        let files = std::fs::read_dir(self.folder().join("tests"));
        let files = files.into_iter().flatten().flatten();
        let stems = files.filter_map(|file| {
            let path = file.path();
            Some(path.file_stem()?.to_string_lossy().into_owned())
        });
        let is_it = |name: &String| name.replace('-', "_") == self.target;
        let mut names: Vec<String> = stems.chain(self.declared()).filter(is_it).collect();
        names.sort();
        names.pop().unwrap_or_else(|| self.target.to_owned())
    }

    /// The names of the `[[test]]` tables of Cargo.toml.
    fn declared(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder().join("Cargo.toml"));
        let manifest = text
            .ok()
            .and_then(|text| toml::from_str::<toml::Table>(&text).ok());
        let tests = manifest.as_ref().and_then(|m| m.get("test")?.as_array());
        let name = |test: &toml::Value| Some(test.get("name")?.as_str()?.to_owned());
        tests.into_iter().flatten().filter_map(name).collect()
    }

    /// The folder for what belongs to a build and not to the source: the package's own in `chaos`
    /// in cargo's target folder.
    pub fn scratch(&self) -> PathBuf {
        let executable = env::current_exe().unwrap_or_default();
        let target = executable
            .ancestors()
            .find(|folder| folder.join("CACHEDIR.TAG").is_file());
        target
            .map_or_else(|| self.folder().join("target"), PathBuf::from)
            .join("chaos")
            .join(self.name)
    }
}

/// What [`crate::main!`] expands to.
pub fn main(package: Package) -> ExitCode {
    chaoscontrol_guest::agent::enter(&|name| {
        let case = TESTS.iter().find(|case| case.name() == name);
        case.map(|case| case.body).or_else(|| verbs::body(name))
    });
    if let Some(verb) = env::var(verbs::VERB).ok().filter(|verb| !verb.is_empty()) {
        return verbs::run(&verb, package);
    }
    let mut arguments = Arguments::from_args();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    // Chaos tests take turns anyway. With more than one thread a test's line is printed
    // as a whole, after what the test printed.
    arguments.test_threads.get_or_insert(cores.max(2));
    if !arguments.list {
        warn();
        signals::listen();
    }
    libtest_mimic::run(&arguments, trials(package, &arguments)).exit_code()
}

/// What a test target with the standard harness is to be told.
pub fn needs_harness_false(target: &str) -> String {
    format!(
        "chaos tests bring their own harness; add to Cargo.toml:\n\n    \
         [[test]]\n    name = \"{target}\"\n    harness = false\n"
    )
}

/// Says in one line if everything will take twenty times as long as it could.
fn warn() {
    if !crate::optimized() {
        eprintln!(
            "warning: chaoscontrol runs unoptimized, about 20 times slower; add to the workspace's \
             Cargo.toml: [profile.dev.package.chaoscontrol] opt-level = 3"
        );
    }
}

fn trials(package: Package, arguments: &Arguments) -> Vec<Trial> {
    let mut trials: Vec<Trial> = Vec::new();
    for case in TESTS {
        trials.push(trial::chaos(case, package, arguments));
    }
    for test in HOST_TESTS {
        trials.push(trial::host(test, arguments));
    }
    trials.sort_by(|a, b| a.name().cmp(b.name()));
    if TESTS.is_empty() {
        trials.push(Trial::test("chaos_tests_exist", move || {
            Err(Failed::from(format!(
                "test target `{}` has no #[chaos_test] function",
                package.target
            )))
        }));
    }
    trials
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scratch_folder_is_cargos() {
        let package = Package {
            manifest_dir: "/nowhere",
            name: "p",
            target: "t",
        };
        let scratch = package.scratch();
        assert!(scratch.ends_with("chaos/p"));
        let target = scratch.ancestors().nth(2).unwrap();
        assert!(env::current_exe().unwrap().starts_with(target));
    }

    #[test]
    fn the_standard_harness_is_told_what_to_add() {
        let text = needs_harness_false("chaos");
        assert!(text.contains("name = \"chaos\"\n    harness = false"));
    }
}
