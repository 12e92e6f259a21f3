//! How much of the user's own code an exploration has seen, by function: what no branch has been
//! through is where nothing was looked for.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use iced_x86::{Decoder, DecoderOptions, FlowControl};
use object::{Object, ObjectSegment, ObjectSymbol, SymbolKind};

use crate::cpu::ram::PAGE_SIZE;
use crate::cpu::soft::coverage::{CodeOrigin, PageName};
use crate::explore::CoverageMap;
use crate::harness::symbolize::demangle;

/// The file's name.
pub(super) const FILE: &str = "coverage.txt";

/// The code that the test's authors wrote: some crates of an executable.
#[derive(Clone, Debug)]
pub struct OwnCode {
    /// Where the executable is on the host.
    pub executable: PathBuf,
    /// The crates, by the names that code knows them by.
    pub crates: Vec<String>,
}

impl OwnCode {
    /// Its functions; none if the executable cannot be read.
    pub fn functions(&self) -> Functions {
        let read = || {
            let data = fs::read(&self.executable).ok()?;
            let file = object::File::parse(&*data).ok()?;
            Some(Functions(functions(&file, &data, &self.crates)))
        };
        read().unwrap_or_default()
    }
}

/// The conditional branches of functions, by the number of the edge that is not to jump; the edge
/// behind it is to jump. Functions of one name, as generic ones have it, are one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Functions(BTreeMap<String, Vec<u32>>);

impl Functions {
    /// The file's text: of each function with conditional branches how many of their directions were
    /// taken, the least first. Empty if there is nothing to tell.
    pub fn render(&self, seen: &CoverageMap) -> String {
        let taken =
            |edge: &u32| usize::from(seen.is_taken(*edge)) + usize::from(seen.is_taken(edge + 1));
        let share = |(name, edges): (&String, &Vec<u32>)| {
            let taken: usize = edges.iter().map(taken).sum();
            (
                taken * 100 / (2 * edges.len()),
                taken,
                2 * edges.len(),
                name.clone(),
            )
        };
        let mut lines: Vec<_> = self.0.iter().map(share).collect();
        if lines.iter().all(|(_, taken, ..)| *taken == 0) {
            return String::new();
        }
        lines.sort_by(|a, b| (a.0, b.2, &a.3).cmp(&(b.0, a.2, &b.3)));
        let mut text = String::from(HEAD);
        for (percent, taken, of, name) in lines {
            writeln!(text, "{percent:4} %  {taken:5} of {of:5}  {name}")
                .expect("a String takes all");
        }
        text
    }
}

const HEAD: &str = "\
Directions of conditional branches that were taken, of those that there are, by function of the test's
own crates, the least first. What was inlined counts where it was inlined. All code of the executable
shares 65,536 counters, so one that was not taken may rarely count as taken.

";

fn functions(
    file: &object::File<'_>,
    data: &[u8],
    crates: &[String],
) -> BTreeMap<String, Vec<u32>> {
    let mut functions: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    // What is aliased or folded has several symbols at one address.
    let mut known: BTreeMap<u64, &str> = BTreeMap::new();
    for symbol in file
        .symbols()
        .filter(|s| s.kind() == SymbolKind::Text && s.size() > 0)
    {
        let Ok(mangled) = symbol.name() else { continue };
        let own = crates.iter().any(|name| mangled.contains(name.as_str()));
        if !own || known.insert(symbol.address(), mangled).is_some() {
            continue;
        }
        let name = demangle(mangled);
        if !crates.iter().any(|own| is_of(&name, own)) {
            continue;
        }
        let Some(offset) = offset(file, symbol.address()) else {
            continue;
        };
        let end = offset.saturating_add(symbol.size());
        let Some(code) = data.get(offset as usize..end as usize) else {
            continue;
        };
        let decoder = Decoder::with_ip(64, code, offset, DecoderOptions::NONE);
        let branches = decoder
            .into_iter()
            .filter(|i| i.flow_control() == FlowControl::ConditionalBranch);
        let edges: Vec<u32> = branches.map(|i| edge(i.ip())).collect();
        if !edges.is_empty() {
            functions.entry(name).or_default().extend(edges);
        }
    }
    functions
}

/// Whether a function is of a crate, or of a trait that a type of it implements.
fn is_of(name: &str, own: &str) -> bool {
    let name = name.trim_start_matches(['<', '&', '(', '[']);
    name.strip_prefix(own)
        .is_some_and(|rest| rest.starts_with("::"))
}

/// Where in the file the byte of `address` is.
fn offset(file: &object::File<'_>, address: u64) -> Option<u64> {
    let mut segments = file.segments();
    let holds = |s: &object::Segment<'_, '_>| {
        (s.address()..s.address() + s.file_range().1).contains(&address)
    };
    let segment = segments.find(holds)?;
    Some(segment.file_range().0 + (address - segment.address()))
}

/// The edge of the branch at `offset` in the test's executable, the first of the packed files.
fn edge(offset: u64) -> u32 {
    let page = offset & !(PAGE_SIZE - 1);
    let origin = CodeOrigin {
        file: 0,
        offset: page,
        region: 0,
    };
    PageName::user(origin).edge(offset - page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_of_a_crate_are_known_by_their_names() {
        assert!(is_of("raft::node::tick", "raft"));
        assert!(is_of("<raft::Bug as core::fmt::Debug>::fmt", "raft"));
        assert!(is_of("<&raft::Bug as core::fmt::Debug>::fmt", "raft"));
        assert!(!is_of("rafters::tick", "raft"));
        assert!(!is_of("core::ptr::drop_in_place<raft::Bug>", "raft"));
    }

    #[inline(never)]
    fn some_branches(number: u64) -> u64 {
        match std::hint::black_box(number) {
            0 => 7,
            more if more > 1000 => std::hint::black_box(more / 3),
            _ => std::hint::black_box(number) + 1,
        }
    }

    #[test]
    fn what_was_taken_least_comes_first() {
        assert_eq!(some_branches(1), 2);
        let own = OwnCode {
            executable: std::env::current_exe().unwrap(),
            crates: vec!["chaoscontrol".to_owned()],
        };
        let functions = own.functions();
        let is = |end: &str| functions.0.iter().find(|(name, _)| name.ends_with(end));
        let (this, edges) = is("::some_branches").expect("it has branches");
        let mut seen = CoverageMap::default();
        assert_eq!(functions.render(&seen), "");
        let taken: Vec<(u32, u32)> = edges.iter().flat_map(|e| [(*e, 1), (e + 1, 1)]).collect();
        seen.add(&taken);
        let text = functions.render(&seen);
        let last = text.lines().find(|line| line.ends_with(this)).unwrap();
        let all = 2 * edges.len();
        assert_eq!(
            last.trim_start(),
            format!("100 %  {all:5} of {all:5}  {this}")
        );
        let first = text.lines().nth(4).unwrap();
        assert!(first.starts_with("   0 %"), "{first}");
    }

    #[test]
    fn what_is_no_executable_has_no_functions() {
        let own = OwnCode {
            executable: PathBuf::from("/nowhere"),
            crates: vec!["a".to_owned()],
        };
        assert_eq!(own.functions(), Functions::default());
    }
}
