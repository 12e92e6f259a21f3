//! Names for the return addresses of a guest's panic, from the debug information of the
//! executable on the host (the guest has none).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gimli::{EndianArcSlice, RunTimeEndian};
use object::{Object, ObjectSection, ObjectSymbol};

type Reader = EndianArcSlice<RunTimeEndian>;

/// The debug information of the files that were packed for the guest, read when asked for.
pub struct Symbolizer {
    hosts: BTreeMap<String, PathBuf>,
    files: BTreeMap<String, Option<Symbols>>,
}

struct Symbols {
    lines: Option<addr2line::Context<Reader>>,
    functions: BTreeMap<u64, String>,
}

impl Symbolizer {
    /// Knows the files `hosts`: guest path to host path.
    pub fn new(hosts: BTreeMap<String, PathBuf>) -> Symbolizer {
        Symbolizer {
            hosts,
            files: BTreeMap::new(),
        }
    }

    /// Renders a backtrace of lines `<guest file>+0x<offset>`, innermost first, one line a
    /// frame, without the frames of the panic machinery and of the runtime.
    pub fn backtrace(&mut self, raw: &str) -> Vec<String> {
        let frames: Vec<String> = raw.lines().flat_map(|line| self.frame(line)).collect();
        innermost(&frames).to_vec()
    }

    fn frame(&mut self, line: &str) -> Vec<String> {
        let unknown = || vec![line.to_owned()];
        let Some((file, offset)) = line.rsplit_once("+0x") else {
            return unknown();
        };
        let Ok(offset) = u64::from_str_radix(offset, 16) else {
            return unknown();
        };
        let hosts = &self.hosts;
        let symbols = self
            .files
            .entry(file.to_owned())
            .or_insert_with(|| hosts.get(file).and_then(|path| Symbols::read(path)));
        match symbols {
            // A return address belongs to the call before it.
            Some(symbols) => symbols
                .names(offset.saturating_sub(1))
                .unwrap_or_else(unknown),
            None => unknown(),
        }
    }
}

/// The frames that a reader wants to see: what the machinery of panics does comes before
/// them, what started the thread after.
fn innermost(frames: &[String]) -> &[String] {
    let is = |frame: &str, names: &[&str]| names.iter().any(|name| frame.contains(name));
    let caught = frames.iter().position(|frame| is(frame, &CATCHING));
    let frames = &frames[..caught.unwrap_or(frames.len())];
    let raised = frames.iter().rposition(|frame| is(frame, &PANIC_MACHINERY));
    let frames = &frames[raised.map_or(0, |at| at + 1)..];
    let started = frames.iter().position(|frame| is(frame, &RUNTIME));
    &frames[..started.unwrap_or(frames.len())]
}

/// The first of these ends what can be of interest.
const CATCHING: [&str; 2] = ["::catch_unwind", "__rust_begin_short_backtrace"];

/// Frames up to the last of these only raise the panic.
const PANIC_MACHINERY: [&str; 5] = [
    "core::panicking::",
    "std::panicking::",
    "core::option::unwrap_failed",
    "core::result::unwrap_failed",
    "rust_begin_unwind",
];

/// Frames from the first of these on only start the body.
const RUNTIME: [&str; 2] = ["chaoscontrol_guest::agent::", "std::rt::"];

impl Symbols {
    fn read(path: &Path) -> Option<Symbols> {
        let data = fs::read(path).ok()?;
        let file = object::File::parse(&*data).ok()?;
        let section = |id: gimli::SectionId| -> Result<Reader, gimli::Error> {
            let data = file
                .section_by_name(id.name())
                .and_then(|s| s.data().ok())
                .unwrap_or_default();
            Ok(EndianArcSlice::new(Arc::from(data), RunTimeEndian::Little))
        };
        let lines = gimli::Dwarf::load(section)
            .ok()
            .and_then(|d| addr2line::Context::from_dwarf(d).ok());
        let symbols = file.symbols().chain(file.dynamic_symbols());
        let functions = symbols
            .filter(|s| s.kind() == object::SymbolKind::Text && s.address() != 0)
            .filter_map(|s| Some((s.address(), demangle(s.name().ok()?))))
            .collect();
        Some(Symbols { lines, functions })
    }

    /// The functions at `address`, inlined ones first, each with its place.
    fn names(&self, address: u64) -> Option<Vec<String>> {
        let mut names = Vec::new();
        if let Some(lines) = &self.lines
            && let Ok(mut frames) = lines.find_frames(address).skip_all_loads()
        {
            while let Ok(Some(frame)) = frames.next() {
                let name = frame
                    .function
                    .as_ref()
                    .and_then(|f| f.raw_name().ok().map(|n| demangle(n.as_ref())));
                let Some(name) = name else { continue };
                let place = frame
                    .location
                    .and_then(|l| Some(format!("{}:{}", l.file?, l.line?)));
                names.push(match place {
                    Some(place) => format!("{name} at {place}"),
                    None => name,
                });
            }
        }
        if names.is_empty() {
            names.push(self.functions.range(..=address).next_back()?.1.clone());
        }
        Some(names)
    }
}

/// A readable form of a mangled name, without its hash; other names stay.
pub fn demangle(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mangled_names_are_readable() {
        assert_eq!(
            demangle("_ZN4core9panicking5panic17h0123456789abcdefE"),
            "core::panicking::panic"
        );
        assert_eq!(demangle("main"), "main");
        assert_eq!(
            demangle("_RNvNtCsgEmfK2I1SDS_4core9panicking9panic_fmt"),
            "core::panicking::panic_fmt"
        );
    }

    #[test]
    fn only_the_frames_between_panic_and_start_are_shown() {
        let frames = [
            "chaoscontrol_guest::agent::linux::body::report at body.rs:48",
            "std::panicking::panic_with_hook",
            "__rustc::rust_begin_unwind",
            "core::panicking::panic_fmt",
            "raft::deep at src/lib.rs:3",
            "chaos::test::body",
            "chaoscontrol_guest::agent::linux::body::live::{{closure}}",
            "std::panicking::catch_unwind::do_call",
            "std::panic::catch_unwind",
            "main",
        ]
        .map(str::to_owned);
        assert_eq!(innermost(&frames), &frames[4..6]);
        assert_eq!(innermost(&frames[4..5]), &frames[4..5]);
    }

    #[test]
    fn a_function_of_this_test_is_found_with_its_line() {
        let path = std::env::current_exe().unwrap();
        let data = fs::read(&path).unwrap();
        let file = object::File::parse(&*data).unwrap();
        let here = "a_function_of_this_test_is_found_with_its_line";
        let symbol = file
            .symbols()
            .find(|s| s.name().is_ok_and(|n| n.contains(here)))
            .unwrap();
        let raw = format!("/init+{:#x}", symbol.address() + 8);
        let mut symbolizer = Symbolizer::new(BTreeMap::from([("/init".into(), path)]));
        let text = symbolizer.backtrace(&raw).join("\n");
        assert!(text.contains(here), "{text}");
        assert_eq!(
            symbolizer.backtrace("/lib/other.so+0x10"),
            ["/lib/other.so+0x10"]
        );
    }
}
