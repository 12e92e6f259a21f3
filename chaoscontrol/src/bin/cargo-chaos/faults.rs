//! `cargo chaos faults`: the catalogue, for people as a table and for programs as data.

use std::process::ExitCode;

use chaoscontrol::fault::{FaultInfo, FaultKind, Param, Preset, Shape};

/// Prints the catalogue.
pub fn faults(arguments: &[String]) -> Result<ExitCode, String> {
    let kinds: Vec<_> = FaultKind::all().map(FaultKind::info).collect();
    match arguments {
        [] => print!("{}", table(&kinds)),
        [json] if json == "--json" => print!("{}", json_lines(&kinds)),
        [other, ..] => return Err(format!("`faults` takes --json, not `{other}`")),
    }
    Ok(ExitCode::SUCCESS)
}

fn table(kinds: &[&FaultInfo]) -> String {
    let name = kinds.iter().map(|info| info.name.len()).max().unwrap_or(0);
    let said = kinds.iter().map(|info| form(info).len()).max().unwrap_or(0);
    let mut text = String::new();
    let mut class = None;
    for info in kinds {
        if class.replace(info.class) != Some(info.class) {
            let space = if text.is_empty() { "" } else { "\n" };
            text.push_str(&format!("{space}{}\n", info.class.name()));
        }
        let (kind, words, incident) = (info.name, form(info), info.incident);
        text.push_str(&format!("  {kind:name$}  {words:said$}  {incident}\n"));
        for param in info.params {
            text.push_str(&format!("  {:name$}    {}\n", "", range(param)));
        }
    }
    let presets: Vec<_> = Preset::all().map(Preset::name).collect();
    text.push_str(&format!("\npresets: {}\n", presets.join(", ")));
    text
}

/// How a schedule says it, with the default amounts.
fn form(info: &FaultInfo) -> String {
    let target = match info.shape {
        Shape::All => String::new(),
        Shape::Vm => " vm 1".to_owned(),
        Shape::Sides(sign) => format!(" {{0}} {sign} {{1, 2}}"),
        Shape::Process => " NAME in vm 1".to_owned(),
    };
    let said = info.params.iter().map(|p| {
        let amount = format!("{} {}", p.word, p.unit.show(p.default));
        if p.optional {
            format!(" [{amount}]")
        } else {
            format!(" {amount}")
        }
    });
    format!("{}{target}{}", info.words, said.collect::<String>())
}

fn range(p: &Param) -> String {
    let (min, max) = (p.unit.show(p.min), p.unit.show(p.max));
    let (low, high) = (p.unit.show(p.usual.0), p.unit.show(p.usual.1));
    format!("{}: {min} to {max}, usually {low} to {high}", p.word)
}

fn json_lines(kinds: &[&FaultInfo]) -> String {
    let entries: Vec<String> = kinds.iter().map(|info| entry(info)).collect();
    format!("[\n{}\n]\n", entries.join(",\n"))
}

fn entry(info: &FaultInfo) -> String {
    let target = match info.shape {
        Shape::All => "cluster",
        Shape::Vm => "vm",
        Shape::Sides(_) => "two groups of vms",
        Shape::Process => "process",
    };
    let params: Vec<String> = info.params.iter().map(param).collect();
    format!(
        "  {{\"name\": {:?}, \"class\": {:?}, \"words\": {:?}, \"target\": {target:?}, \"example\": {:?}, \
         \"params\": [{}], \"incident\": {:?}}}",
        info.name,
        info.class.name(),
        info.words,
        form(info),
        params.join(", "),
        info.incident
    )
}

fn param(p: &Param) -> String {
    let unit = p.unit.base();
    let (low, high) = p.usual;
    format!(
        "{{\"word\": {:?}, \"unit\": {unit:?}, \"min\": {}, \"max\": {}, \"usual\": [{low}, {high}], \
         \"default\": {}, \"optional\": {}}}",
        p.word, p.min, p.max, p.default, p.optional
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<&'static FaultInfo> {
        FaultKind::all().map(FaultKind::info).collect()
    }

    #[test]
    fn the_table_says_each_fault_as_a_schedule_would() {
        let text = table(&all());
        for info in all() {
            let said = form(info).replace(['[', ']'], "");
            let fault: chaoscontrol::fault::Fault = said.parse().unwrap();
            assert_eq!(fault.to_string(), said);
            assert!(text.contains(&form(info)) && text.contains(info.incident));
        }
    }

    #[test]
    fn the_data_is_json_with_every_kind() {
        let text = json_lines(&all());
        assert_eq!(text.matches("\"name\"").count(), all().len());
        // TOML's inline tables are JSON's objects but for the colon.
        let toml = text.replace("\": ", "\" = ").replace('\n', "");
        let data: toml::Table = toml::from_str(&format!("faults = {toml}")).unwrap();
        let first = &data["faults"].as_array().unwrap()[0];
        assert_eq!(first["name"].as_str(), Some("partition"));
    }
}
