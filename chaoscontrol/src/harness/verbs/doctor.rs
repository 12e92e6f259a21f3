//! `cargo chaos doctor` with a test: what its programs hold that hardware does not withhold
//! from a guest.

use std::process::ExitCode;

use super::Arguments;
use crate::harness::unwithheld::overview;
use crate::harness::world;

/// Answers the verb.
pub fn doctor(arguments: Arguments) -> Result<ExitCode, String> {
    let case = arguments.test()?;
    let say = |line: &str| eprintln!("{line}");
    let packed = world::pack(case, &arguments.package, &say).map_err(|e| e.to_string())?;
    let programs = packed.executables();
    let lines = overview(&programs);
    println!(
        "{} runs {} programs and libraries. With engine = \"kvm\":",
        case.name(),
        programs.len()
    );
    if lines.is_empty() {
        println!("  nothing in them that hardware does not withhold");
    }
    for line in lines {
        println!("  {line}");
    }
    Ok(ExitCode::SUCCESS)
}
