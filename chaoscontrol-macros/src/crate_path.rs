//! Where the `chaoscontrol` crate is for the crate being compiled: a dependency may be
//! renamed in Cargo.toml, and a procedural macro has no `$crate`.

use std::{env, fs, path::Path};

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;

/// The crate's name in the registry.
const NAME: &str = "chaoscontrol";

/// The path to the crate, by the manifest of the crate being compiled.
pub fn find() -> TokenStream {
    let manifest = env::var_os("CARGO_MANIFEST_DIR")
        .and_then(|folder| fs::read_to_string(Path::new(&folder).join("Cargo.toml")).ok());
    let name = manifest
        .and_then(|manifest| renamed(&manifest))
        .filter(|name| syn::parse_str::<Ident>(name).is_ok())
        .unwrap_or_else(|| NAME.to_owned());
    let name = Ident::new(&name, Span::call_site());
    quote!(::#name)
}

/// The name under which a manifest has the crate, if it is another. Reads just enough
/// TOML for the two forms in use: `name = { package = "chaoscontrol", .. }` and a table
/// of its own, `[dependencies.name]`.
fn renamed(manifest: &str) -> Option<String> {
    let mut table = "";
    for line in manifest.lines() {
        let line = line.split('#').next().unwrap_or("").trim();
        if let Some(header) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            table = header.trim();
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        let (key, value) = (key.trim(), value.trim());
        let name = if is_dependencies(table) && names_package(value) {
            key
        } else if key == "package" && unquoted(value) == NAME {
            match table.rsplit_once('.') {
                Some((parent, name)) if is_dependencies(parent) => name,
                _ => continue,
            }
        } else if is_dependencies(table)
            && let Some(name) = key.strip_suffix(".package")
            && unquoted(value) == NAME
        {
            name
        } else {
            continue;
        };
        return Some(unquoted(name.trim()).replace('-', "_"));
    }
    None
}

/// Whether a table holds dependencies, also those of a target.
fn is_dependencies(table: &str) -> bool {
    table.ends_with("dependencies")
}

/// Whether an inline table says `package = "chaoscontrol"`.
fn names_package(value: &str) -> bool {
    value
        .trim_matches(['{', '}'])
        .split(',')
        .filter_map(|pair| pair.split_once('='))
        .any(|(key, value)| key.trim() == "package" && unquoted(value.trim()) == NAME)
}

fn unquoted(text: &str) -> &str {
    text.trim_matches(['"', '\''])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renamed_dependencies_are_found() {
        for (manifest, expected) in [
            ("[dev-dependencies]\nchaoscontrol = \"0.1\"", None),
            (
                "[dev-dependencies]\ncha-os = { version = \"1\", package = \"chaoscontrol\" }",
                Some("cha_os"),
            ),
            (
                "[target.'cfg(unix)'.dependencies.chaos]\nversion = \"1\"\npackage = 'chaoscontrol' # why",
                Some("chaos"),
            ),
            (
                "[dependencies]\nchaos.package = \"chaoscontrol\"\nchaos.version = \"1\"",
                Some("chaos"),
            ),
            ("[package]\nname = \"chaoscontrol\"", None),
            (
                "[dependencies]\nx = { package = \"chaoscontrol-guest\" }",
                None,
            ),
        ] {
            assert_eq!(renamed(manifest).as_deref(), expected, "{manifest}");
        }
    }
}
