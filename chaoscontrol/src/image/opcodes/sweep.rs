//! Decodes all code of an ELF file, function by function.
//!
//! Each symbol is a place where an instruction begins for certain, so that what data there
//! is between functions leads the decoder astray only until the next one.

use std::collections::BTreeMap;

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic};
use object::{Architecture, Object, ObjectSection, ObjectSegment, ObjectSymbol};
use object::{SectionKind, SymbolKind};

use super::classes::Kinds;

/// An instruction of interest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Its kind's place in `KINDS`.
    pub kind: usize,
    /// Its address in the file.
    pub address: u64,
    /// The function that holds it, if a symbol says so, and where that begins.
    pub function: Option<(String, u64)>,
}

/// What a symbol says of the bytes that it begins.
struct Symbol<'a> {
    name: &'a str,
    /// Bytes; 0 if only the next symbol ends it.
    size: u64,
    code: bool,
}

impl Symbol<'_> {
    fn holds(&self, offset: u64) -> bool {
        self.size == 0 || offset < self.size
    }
}

/// All instructions of interest in `data`, an x86-64 ELF file, by address.
///
/// # Errors
/// What is wrong with the file.
pub fn sites(data: &[u8]) -> Result<Vec<Site>, String> {
    let file = object::File::parse(data).map_err(|e| e.to_string())?;
    if file.architecture() != Architecture::X86_64 {
        return Err(format!("it is built for {:?}", file.architecture()));
    }
    let symbols = symbols(&file);
    let mut sites = Vec::new();
    for (address, bytes) in code(&file)? {
        sweep(address, bytes, &symbols, &mut sites);
    }
    sites.sort_by_key(|site| site.address);
    sites.dedup();
    Ok(sites)
}

/// The file's code, each piece with its address: sections, else (in a file without) segments.
fn code<'a>(file: &object::File<'a>) -> Result<Vec<(u64, &'a [u8])>, String> {
    let sections = file.sections().filter(|s| s.kind() == SectionKind::Text);
    let mut pieces: Vec<_> = sections.map(|s| (s.address(), s.data())).collect();
    if pieces.is_empty() {
        let segments = file.segments().filter(|s| s.permissions().executable());
        pieces = segments.map(|s| (s.address(), s.data())).collect();
    }
    let readable = |(address, data): (u64, object::Result<&'a [u8]>)| match data {
        Ok(data) => Ok((address, data)),
        Err(e) => Err(format!("its code at {address:#x}: {e}")),
    };
    pieces.into_iter().map(readable).collect()
}

/// Symbols of code and of data by address. Where several say the same, a longer one and
/// then the first by name is taken, so that the order of the table does not matter.
fn symbols<'a>(file: &object::File<'a>) -> BTreeMap<u64, Symbol<'a>> {
    let mut known: BTreeMap<u64, Symbol<'a>> = BTreeMap::new();
    for symbol in file.symbols().chain(file.dynamic_symbols()) {
        let code = match symbol.kind() {
            SymbolKind::Text => true,
            SymbolKind::Data => false,
            _ => continue,
        };
        let Ok(name) = symbol.name() else { continue };
        if name.is_empty() || symbol.is_undefined() {
            continue;
        }
        let new = Symbol {
            name,
            size: symbol.size(),
            code,
        };
        let rank = |s: &Symbol<'a>| (s.code, s.size, std::cmp::Reverse(s.name));
        known
            .entry(symbol.address())
            .and_modify(|old| {
                if rank(&new) > rank(old) {
                    *old = Symbol { ..new };
                }
            })
            .or_insert(new);
    }
    known
}

/// Decodes `bytes`, which lie at `address`, from symbol to symbol.
fn sweep(address: u64, bytes: &[u8], symbols: &BTreeMap<u64, Symbol<'_>>, sites: &mut Vec<Site>) {
    let Some(end) = address.checked_add(bytes.len() as u64) else {
        return;
    };
    let mut here = address;
    let mut symbol = None;
    let starts = symbols.range(address..end).map(|(at, s)| (*at, Some(s)));
    for (next, following) in starts.chain([(end, None)]) {
        let (from, to) = ((here - address) as usize, (next - address) as usize);
        let region = Region {
            address: here,
            bytes: &bytes[from..to],
            symbol,
            whole: address..end,
        };
        region.decode(sites);
        (here, symbol) = (next, following);
    }
}

/// Bytes from one symbol to the next.
struct Region<'a> {
    address: u64,
    bytes: &'a [u8],
    symbol: Option<&'a Symbol<'a>>,
    /// Addresses of the piece of code that it is a part of.
    whole: std::ops::Range<u64>,
}

impl Region<'_> {
    fn decode(&self, sites: &mut Vec<Site>) {
        let (mut address, mut bytes) = (self.address, self.bytes);
        if let Some(table) = self.symbol.filter(|symbol| !symbol.code) {
            // A table among the code; what follows it is code again.
            let length = usize::try_from(table.size).unwrap_or(usize::MAX);
            bytes = bytes.get(length..).unwrap_or_default();
            address = address.saturating_add(table.size);
        }
        let kinds = Kinds::new();
        let mut decoder = Decoder::with_ip(64, bytes, address, DecoderOptions::NONE);
        let mut i = Instruction::default();
        while decoder.can_decode() {
            decoder.decode_out(&mut i);
            if let Some(kind) = kinds.of(i.code())
                && self.plausible(&i)
            {
                sites.push(Site {
                    kind,
                    address: i.ip(),
                    function: self.function(i.ip()),
                });
            }
        }
    }

    /// XBEGIN is short enough to be met in tables of random bytes, but then it leads to nowhere.
    fn plausible(&self, i: &Instruction) -> bool {
        i.mnemonic() != Mnemonic::Xbegin || self.whole.contains(&i.near_branch_target())
    }

    fn function(&self, address: u64) -> Option<(String, u64)> {
        let symbol = self.symbol.filter(|symbol| symbol.code)?;
        let held = symbol.holds(address - self.address);
        held.then(|| (symbol.name.to_owned(), self.address))
    }
}
