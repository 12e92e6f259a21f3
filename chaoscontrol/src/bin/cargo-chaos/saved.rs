//! `cargo chaos replay`, `reproduce` and `minimize`: a bundle is run here, with nothing around it;
//! what a package has saved is run by its test target.

use std::path::Path;
use std::process::ExitCode;

use chaoscontrol::harness::bundle::{self, Bundle};

use crate::target::{EXAMPLE, Target};

/// `cargo chaos replay`.
pub fn replay(arguments: &[String]) -> Result<ExitCode, String> {
    let is_bundle = |word: &&String| {
        Path::new(word)
            .extension()
            .is_some_and(|end| end == bundle::EXTENSION)
    };
    let Some(file) = arguments.iter().find(is_bundle) else {
        return of_test("replay", arguments);
    };
    if arguments.len() > 1 {
        return Err(format!(
            "{file} holds all that its replay needs: nothing else can be said"
        ));
    }
    let read = Bundle::read(Path::new(file)).map_err(|e| format!("{file} {e}"))?;
    let say = |line: &str| eprintln!("chaoscontrol: {line}");
    let replayed = bundle::replay(&read, &say)?;
    println!("{}", replayed.report);
    Ok(ExitCode::from(u8::from(!replayed.same)))
}

/// `cargo chaos reproduce`.
pub fn reproduce(arguments: &[String]) -> Result<ExitCode, String> {
    of_test("reproduce", arguments)
}

/// `cargo chaos minimize`.
pub fn minimize(arguments: &[String]) -> Result<ExitCode, String> {
    of_test("minimize", arguments)
}

/// The test target runs in its package's folder: files are named from the root.
fn of_test(verb: &str, arguments: &[String]) -> Result<ExitCode, String> {
    let absolute = |word: &String| {
        let path = Path::new(word).canonicalize().ok();
        let file = path.filter(|path| path.is_file() && word.ends_with(".toml"));
        file.map_or(word.clone(), |path| path.display().to_string())
    };
    let arguments: Vec<String> = arguments.iter().map(absolute).collect();
    Target::parse(&arguments)?.run(verb, EXAMPLE)
}
