//! What the packer has to know of an ELF executable: which libraries it asks for,
//! which of its bytes a loader reads, and where its code lies.

use std::ops::Range;
use std::path::Path;

use object::elf::{self, FileHeader64};
use object::endian::LittleEndian;
use object::read::elf::{Dyn, FileHeader, ProgramHeader};

/// Why a file is not a program that the guest can run.
#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    /// Not an ELF file, or a broken one.
    #[error("{path} is not a usable ELF file: {why}")]
    Broken {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// For another processor.
    #[error("{path} is built for {machine}, and the guest is x86-64")]
    Machine {
        /// The file.
        path: String,
        /// What it is for.
        machine: String,
    },
}

/// What a loader needs of an ELF file.
#[derive(Debug)]
pub struct Program {
    /// The program interpreter (`PT_INTERP`).
    pub interpreter: Option<String>,
    /// `DT_NEEDED`, in order.
    pub needed: Vec<String>,
    /// Folders of `DT_RUNPATH` or `DT_RPATH`, `$ORIGIN` replaced.
    pub search: Vec<String>,
    /// How many leading bytes of the file its program headers reach.
    pub loaded: usize,
    /// File ranges of executable segments.
    pub text: Vec<Range<u64>>,
}

impl Program {
    /// Reads the program headers and the dynamic section of `data`, the content of `path`.
    ///
    /// # Errors
    /// The file is no 64-bit little-endian ELF, is for another processor, or contradicts itself.
    pub fn parse(path: &Path, data: &[u8]) -> Result<Program, ElfError> {
        let name = || path.display().to_string();
        let broken = |why: String| ElfError::Broken { path: name(), why };
        let wrong = |e: object::Error| broken(e.to_string());
        let header = FileHeader64::<LittleEndian>::parse(data).map_err(wrong)?;
        let endian = header.endian().map_err(wrong)?;
        let machine = header.e_machine(endian);
        if machine != elf::EM_X86_64 {
            return Err(ElfError::Machine {
                path: name(),
                machine: format!("ELF machine {machine:?}"),
            });
        }
        let segments = header.program_headers(endian, data).map_err(wrong)?;
        let mut program = Program {
            interpreter: None,
            needed: Vec::new(),
            search: Vec::new(),
            loaded: 64,
            text: Vec::new(),
        };
        let mut strings: Vec<u64> = Vec::new();
        let mut paths: Vec<u64> = Vec::new();
        let mut table = 0;
        for segment in segments {
            let (start, size) = segment.file_range(endian);
            let end = start
                .checked_add(size)
                .filter(|&end| end <= data.len() as u64)
                .ok_or_else(|| broken("a segment lies beyond the end of the file".into()))?;
            program.loaded = program.loaded.max(end as usize);
            if segment.p_type(endian) == elf::PT_LOAD
                && segment.p_flags(endian).0 & elf::PF_X.0 != 0
            {
                program.text.push(start..end);
            }
            if let Some(interpreter) = segment.interpreter(endian, data).map_err(wrong)? {
                program.interpreter = Some(String::from_utf8_lossy(interpreter).into_owned());
            }
            for entry in segment
                .dynamic(endian, data)
                .map_err(wrong)?
                .unwrap_or_default()
            {
                match entry.tag(endian) {
                    elf::DT_NEEDED => strings.push(entry.val(endian)),
                    elf::DT_RUNPATH | elf::DT_RPATH => paths.push(entry.val(endian)),
                    elf::DT_STRTAB => table = entry.val(endian),
                    _ => {}
                }
            }
        }
        let table = segments
            .iter()
            .filter(|s| s.p_type(endian) == elf::PT_LOAD)
            .find(|s| {
                (s.p_vaddr(endian)..s.p_vaddr(endian).saturating_add(s.p_filesz(endian)))
                    .contains(&table)
            })
            .map(|s| (table - s.p_vaddr(endian) + s.p_offset(endian)) as usize);
        let string = |offset: &u64| -> Result<String, ElfError> {
            let start = table.and_then(|t| t.checked_add(*offset as usize));
            let bytes = start
                .and_then(|s| data.get(s..))
                .ok_or_else(|| broken("a dynamic string lies outside".into()))?;
            let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
            Ok(String::from_utf8_lossy(&bytes[..end]).into_owned())
        };
        program.needed = strings.iter().map(string).collect::<Result<_, _>>()?;
        let origin = path
            .parent()
            .unwrap_or(Path::new("/"))
            .display()
            .to_string();
        for list in paths.iter().map(string) {
            let list = list?
                .replace("$ORIGIN", &origin)
                .replace("${ORIGIN}", &origin);
            program
                .search
                .extend(list.split(':').filter(|p| !p.is_empty()).map(str::to_owned));
        }
        Ok(program)
    }
}

/// The part of an executable that a guest needs: without sections, so without symbols
/// and debug information, which the host keeps for symbolizing.
pub fn stripped(data: &[u8], program: &Program) -> Vec<u8> {
    /// Offsets of `e_shoff`, and of `e_shentsize`, `e_shnum`, `e_shstrndx` in the file header.
    const SECTION_FIELDS: [Range<usize>; 2] = [0x28..0x30, 0x3A..0x40];
    let mut kept = data[..program.loaded].to_vec();
    for field in SECTION_FIELDS {
        kept[field].fill(0);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_program_is_understood() {
        let path = std::env::current_exe().unwrap();
        let data = std::fs::read(&path).unwrap();
        let program = Program::parse(&path, &data).unwrap();
        assert!(
            program
                .interpreter
                .as_deref()
                .unwrap()
                .contains("ld-linux-x86-64")
        );
        assert!(program.needed.iter().any(|l| l.starts_with("libc.so")));
        assert!(!program.text.is_empty());
        let small = stripped(&data, &program);
        assert!(small.len() < data.len() / 2);
        let again = Program::parse(&path, &small).unwrap();
        assert_eq!(again.needed, program.needed);
    }

    #[test]
    fn other_files_are_refused_by_name() {
        let error = Program::parse(Path::new("/some/script"), b"#!/bin/sh\n").unwrap_err();
        assert!(error.to_string().contains("/some/script"));
        let cut = &std::fs::read(std::env::current_exe().unwrap()).unwrap()[..4096];
        assert!(Program::parse(Path::new("cut"), cut).is_err());
    }
}
