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
    /// A script.
    #[error(
        "{path} is a script for {interpreter} and no ELF file; pack {interpreter} as a program and the script as a file, and run the one with the path of the other"
    )]
    Script {
        /// The file.
        path: String,
        /// What its first line names.
        interpreter: String,
    },
}

/// Leading bytes of a file that [`check`] wants.
pub const START: usize = 20;

/// Processors that Linux programs are built for, by their `e_machine`.
const MACHINES: [(u16, &str); 10] = [
    (3, "32-bit x86"),
    (8, "MIPS"),
    (21, "64-bit PowerPC"),
    (22, "IBM Z"),
    (40, "32-bit Arm"),
    (43, "64-bit SPARC"),
    // Of the class with 32-bit pointers, as the others were found to be.
    (62, "x32, x86-64 with 32-bit pointers"),
    (183, "64-bit Arm"),
    (243, "RISC-V"),
    (258, "LoongArch"),
];

/// Whether a file that begins with `start` is an ELF file for the guest's processor.
///
/// # Errors
/// What it is instead.
pub fn check(path: &Path, start: &[u8]) -> Result<(), ElfError> {
    const CLASS_64: u8 = 2;
    const BIG_ENDIAN: u8 = 2;
    let path = || path.display().to_string();
    if let Some(line) = start.strip_prefix(b"#!") {
        let line = line.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        let interpreter = line.split_whitespace().next().unwrap_or("nothing");
        return Err(ElfError::Script {
            path: path(),
            interpreter: interpreter.to_owned(),
        });
    }
    let Some(start) = start.get(..START).filter(|s| s.starts_with(&elf::ELFMAG)) else {
        let why = "it does not begin with an ELF header".to_owned();
        return Err(ElfError::Broken { path: path(), why });
    };
    let machine = [start[18], start[19]];
    let machine = match start[5] {
        BIG_ENDIAN => u16::from_be_bytes(machine),
        _ => u16::from_le_bytes(machine),
    };
    if start[4] == CLASS_64 && machine == elf::EM_X86_64.0 {
        return Ok(());
    }
    let known = MACHINES.iter().find(|(number, _)| *number == machine);
    Err(ElfError::Machine {
        path: path(),
        machine: known.map_or_else(|| format!("machine {machine}"), |(_, name)| (*name).into()),
    })
}

/// What a loader needs of an ELF file.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// The program interpreter (`PT_INTERP`).
    pub interpreter: Option<String>,
    /// `DT_NEEDED`, in order.
    pub needed: Vec<String>,
    /// Folders of `DT_RUNPATH`, as they are written.
    pub runpath: Vec<String>,
    /// Folders of `DT_RPATH`, as they are written.
    pub rpath: Vec<String>,
    /// How many leading bytes of the file its program headers reach.
    pub loaded: usize,
    /// File ranges of executable segments.
    pub text: Vec<Range<u64>>,
}

impl Program {
    /// Reads the program headers and the dynamic section of `data`, the content of `path`.
    ///
    /// # Errors
    /// The file is no ELF file of a program or library, is for another processor, or
    /// contradicts itself.
    pub fn parse(path: &Path, data: &[u8]) -> Result<Program, ElfError> {
        check(path, data)?;
        let broken = |why: String| ElfError::Broken {
            path: path.display().to_string(),
            why,
        };
        let wrong = |e: object::Error| broken(e.to_string());
        let header = FileHeader64::<LittleEndian>::parse(data).map_err(wrong)?;
        let endian = header.endian().map_err(wrong)?;
        if ![elf::ET_EXEC, elf::ET_DYN].contains(&header.e_type(endian)) {
            return Err(broken(
                "it is neither a program nor a shared library".into(),
            ));
        }
        let segments = header.program_headers(endian, data).map_err(wrong)?;
        let mut program = Program {
            loaded: 64,
            ..Program::default()
        };
        let [mut needed, mut runpath, mut rpath] = [const { Vec::<u64>::new() }; 3];
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
                    elf::DT_NEEDED => needed.push(entry.val(endian)),
                    elf::DT_RUNPATH => runpath.push(entry.val(endian)),
                    elf::DT_RPATH => rpath.push(entry.val(endian)),
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
        program.needed = needed.iter().map(string).collect::<Result<_, _>>()?;
        for (offsets, folders) in [(runpath, &mut program.runpath), (rpath, &mut program.rpath)] {
            for list in offsets.iter().map(string) {
                let list = list?;
                folders.extend(list.split(':').filter(|f| !f.is_empty()).map(str::to_owned));
            }
        }
        Ok(program)
    }

    /// Whether musl's loader starts it.
    pub fn is_musl(&self) -> bool {
        let interpreter = self.interpreter.as_deref().unwrap_or_default();
        interpreter.contains("/ld-musl-")
    }

    /// Whether the interpreter itself is the library `name`.
    pub fn interpreter_is(&self, name: &str) -> bool {
        let interpreter = self.interpreter.as_deref().unwrap_or_default();
        let file = interpreter.rsplit('/').next().unwrap_or_default();
        interpreter == name || file == name || self.is_musl() && name.starts_with("libc.")
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
        let error = |bytes: &[u8]| {
            let error = Program::parse(Path::new("/some/file"), bytes).unwrap_err();
            let text = error.to_string();
            assert!(text.contains("/some/file"), "{text}");
            text
        };
        assert!(error(b"#!/bin/sh -e\n").contains("a script for /bin/sh and"));
        assert!(error(b"hello").contains("does not begin with an ELF header"));
        let mut other = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        other[18] = 183;
        assert!(error(&other).contains("built for 64-bit Arm"));
        other[18] = 77;
        assert!(error(&other).contains("built for machine 77"));
        (other[4], other[18]) = (1, 62);
        assert!(error(&other).contains("built for x32"));
        (other[4], other[16]) = (2, 1);
        assert!(error(&other).contains("neither a program nor"));
        let cut = &std::fs::read(std::env::current_exe().unwrap()).unwrap()[..4096];
        assert!(Program::parse(Path::new("cut"), cut).is_err());
    }
}
