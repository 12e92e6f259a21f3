//! `cargo chaos report` of a test: what its exploration has left, or its shards together. Folders
//! that are named are the front's, which needs no test for them.

use std::process::ExitCode;

use super::Arguments;
use crate::harness::folder::{Folder, merged};

/// Answers the verb.
pub fn report(mut arguments: Arguments) -> Result<ExitCode, String> {
    let json = arguments.switch("--json");
    let name = arguments.test()?.name();
    let folder = Folder::of(&arguments.package, &name, None);
    let kept = merged(&[folder]).map_err(|e| e.to_string())?;
    print!("{}", kept.told(json));
    Ok(ExitCode::from(u8::from(kept.has_failed())))
}
