use std::env;

use super::*;
use crate::image::elf;
use crate::image::{Contents, Initramfs};

/// Address of the code in [`file`].
const TEXT: u64 = 0x40_1000;
/// Where it begins in the file.
const OFFSET: u64 = 0x78;

/// `rdrand eax` and `rdseed eax`.
const RDRAND: [u8; 3] = [0x0F, 0xC7, 0xF0];
const RDSEED: [u8; 3] = [0x0F, 0xC7, 0xF8];

const FUNCTION: u8 = 2;
const OBJECT: u8 = 1;

/// An executable with `code` as its only segment and section, and symbols: name, kind,
/// offset in the code, size.
fn file(code: &[u8], symbols: &[(&str, u8, u64, u64)]) -> Vec<u8> {
    let mut names = b"\0.text\0.symtab\0.strtab\0".to_vec();
    let mut table = vec![0; 24];
    for (name, kind, offset, size) in symbols {
        table.extend((names.len() as u32).to_le_bytes());
        table.extend([0x10 | kind, 0, 1, 0]);
        table.extend((TEXT + offset).to_le_bytes());
        table.extend(size.to_le_bytes());
        names.extend(name.bytes().chain([0]));
    }
    let symbols_at = OFFSET + code.len() as u64;
    let names_at = symbols_at + table.len() as u64;
    let sections_at = names_at + names.len() as u64;

    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let words = |file: &mut Vec<u8>, words: &[u64]| {
        file.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    };
    // Executable, x86-64, version 1; entry, program headers, sections.
    file.extend([2, 0, 0x3E, 0, 1, 0, 0, 0]);
    words(&mut file, &[TEXT, 0x40, sections_at]);
    file.extend([0, 0, 0, 0, 0x40, 0, 56, 0, 1, 0, 0x40, 0, 4, 0, 3, 0]);
    // PT_LOAD, readable and executable.
    let length = code.len() as u64;
    words(
        &mut file,
        &[1 | 5 << 32, OFFSET, TEXT, TEXT, length, length, 0x1000],
    );
    file.extend(code);
    file.extend(&table);
    file.extend(&names);
    // Name and type, flags, address, offset, size, link and info, alignment, entry size.
    words(&mut file, &[0; 8]);
    words(&mut file, &[1 | 1 << 32, 6, TEXT, OFFSET, length, 0, 16, 0]);
    let size = table.len() as u64;
    words(
        &mut file,
        &[7 | 2 << 32, 0, 0, symbols_at, size, 3 | 1 << 32, 8, 24],
    );
    words(
        &mut file,
        &[15 | 3 << 32, 0, 0, names_at, names.len() as u64, 0, 1, 0],
    );
    file
}

/// Some code of each sort.
fn sample() -> Vec<u8> {
    let mut code = vec![0x90; 0x60];
    code[4..7].copy_from_slice(&RDRAND);
    code[8..11].copy_from_slice(&RDRAND);
    code[0x23..0x26].copy_from_slice(&RDRAND);
    // A table, and the first byte of what is no instruction before a function.
    code[0x30..0x33].copy_from_slice(&RDRAND);
    code[0x3F] = 0x48;
    code[0x40..0x43].copy_from_slice(&RDSEED);
    // Beyond all functions.
    code[0x58..0x5B].copy_from_slice(&RDSEED);
    let symbols = [
        ("seed", FUNCTION, 0x40, 0x10),
        ("draw", FUNCTION, 0, 0x10),
        ("alias_of_draw", FUNCTION, 0, 0x10),
        ("again", FUNCTION, 0x20, 0),
        ("table", OBJECT, 0x30, 0x0F),
    ];
    file(&code, &symbols)
}

fn place(symbol: &str, offset: u64) -> Place {
    Place {
        symbol: Some(symbol.into()),
        offset,
    }
}

fn found(name: &str, data: &[u8]) -> Vec<Finding> {
    gather(name, &sweep::sites(data).unwrap())
}

#[test]
fn instructions_are_found_with_their_function() {
    let found = found("/init", &sample());
    let kinds: Vec<(&str, u64)> = found.iter().map(|f| (f.kind.name, f.count)).collect();
    assert_eq!(kinds, [("RDRAND", 3), ("RDSEED", 2)]);
    assert_eq!(
        found[0].places,
        [place("alias_of_draw", 4), place("again", 3)]
    );
    let nameless = Place {
        symbol: None,
        offset: TEXT + 0x58,
    };
    assert_eq!(found[1].places, [place("seed", 0), nameless]);
    assert!(!found[0].asks && !found[1].asks);
}

#[test]
fn a_file_without_sections_is_swept_by_segment() {
    let whole = sample();
    let program = elf::Program::parse(Path::new("sample"), &whole).unwrap();
    let stripped = elf::stripped(&whole, &program);
    let found = found("/init", &stripped);
    assert_eq!((found[0].kind.name, found[0].count), ("RDRAND", 4));
    assert_eq!(found[0].places[0].offset, TEXT + 4);
    assert!(found.iter().all(|f| f.places[0].symbol.is_none()));
}

#[test]
fn code_that_asks_first_is_known() {
    let library = found("/usr/lib/libstdc++.so.6", &sample());
    assert!(library.iter().all(|f| f.asks));
    let symbols = [("OPENSSL_ia32_rdrand_bytes", FUNCTION, 0, 3)];
    let linked = found("/init", &file(&RDRAND, &symbols));
    assert!(linked[0].asks);
}

#[test]
fn random_bytes_are_no_transactions() {
    // `xbegin` far beyond the code, and within it.
    let mut code = vec![0xC7, 0xF8, 0, 0, 0, 0x40];
    assert!(found("/init", &file(&code, &[])).is_empty());
    code[5] = 0;
    code.push(0x90);
    assert_eq!(found("/init", &file(&code, &[]))[0].kind.name, "XBEGIN");
}

#[test]
fn this_program_and_its_libraries_ask_before_they_use_the_hosts_randomness() {
    let executable = env::current_exe().unwrap();
    let packed = Initramfs::pack(&executable, &Contents::default()).unwrap();
    let (found, errors) = scan(&packed.executables());
    assert!(errors.is_empty(), "{errors:?}");
    let silent: Vec<_> = found
        .iter()
        .filter(|f| f.kind.class == Class::Host && !f.asks)
        .collect();
    assert!(silent.is_empty(), "{silent:?}");
    // Every C library counts trailing zeros.
    assert!(found.iter().any(|f| f.kind.name == "TZCNT"));
}

#[test]
fn what_is_no_program_is_named() {
    let (found, errors) = scan(&[
        Program {
            host: "/no/such/file".into(),
            guest: "/a".into(),
        },
        Program {
            host: concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml").into(),
            guest: "/b".into(),
        },
    ]);
    assert!(found.is_empty());
    let text: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert!(text[0].contains("/no/such/file") && text[1].contains("Cargo.toml"));
}

#[test]
fn damaged_files_are_errors_or_findings() {
    let whole = sample();
    for length in 0..whole.len() {
        let _ = sweep::sites(&whole[..length]);
    }
    // Sizes, offsets and addresses beyond all bounds.
    for at in 0..whole.len() - 8 {
        let mut damaged = whole.clone();
        damaged[at..at + 8].fill(0xFF);
        let _ = sweep::sites(&damaged);
    }
    // Every byte of the headers, tables and code, with values that sizes and offsets dislike.
    for at in 0..whole.len() {
        for value in [0, 1, 0x7F, 0x80, 0xFE, 0xFF, whole[at] ^ 0x10] {
            let mut damaged = whole.clone();
            damaged[at] = value;
            let _ = sweep::sites(&damaged);
            damaged[(at * 7 + 13) % whole.len()] = value;
            let _ = sweep::sites(&damaged);
        }
    }
}
