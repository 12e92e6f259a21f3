//! The initramfs: the test executable as `/init`, with the shared libraries that its
//! ELF header asks for and whatever files a test names.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object::elf::ELFMAG;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::cpio::Cpio;
use super::elf::{self, ElfError, Program};
use super::opcodes;
use crate::cpu::ram::PAGE_SIZE;
use crate::cpu::soft::coverage::{CodeMap, CodeOrigin};

/// Why an initramfs could not be packed.
#[derive(Debug, thiserror::Error)]
pub enum InitramfsError {
    /// A file to pack cannot be read.
    #[error("{path} cannot be packed for the guest: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the host said.
        source: io::Error,
    },
    /// An executable is not usable.
    #[error(transparent)]
    Elf(#[from] ElfError),
    /// A shared library is nowhere to be found.
    #[error(
        "the shared library {library}, which {wanted_by} asks for, is in none of {searched}; install it, or add its folder to LD_LIBRARY_PATH"
    )]
    Library {
        /// The library's name.
        library: String,
        /// The file whose ELF header names it.
        wanted_by: String,
        /// Where it was looked for.
        searched: String,
    },
}

/// An executable file inside of the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedFile {
    /// Where it is on the host.
    pub host_path: PathBuf,
    /// Where it is in the guest.
    pub guest_path: String,
    /// The bytes as packed.
    pub content: Arc<[u8]>,
    /// Ranges of `content` that are executable segments.
    pub text: Vec<Range<u64>>,
}

/// A packed initramfs.
#[derive(Clone, Debug)]
pub struct Initramfs {
    /// The archive, uncompressed.
    pub bytes: Arc<[u8]>,
    /// XXH3-128 of the archive.
    pub hash: u128,
    /// Executables and libraries in it; the first is `/init`.
    pub programs: Vec<PackedFile>,
    /// ELF files among those that the test named.
    others: Vec<opcodes::Program>,
}

/// Where the dynamic loaders of common distributions look.
const LIBRARY_FOLDERS: [&str; 6] = [
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
];

/// Directories that the agent mounts on or writes to.
const DIRECTORIES: [&str; 9] = [
    "/dev", "/proc", "/sys", "/tmp", "/run", "/etc", "/data", "/root", "/bin",
];

/// Small files that C libraries read.
const TEXT_FILES: [(&str, &str); 3] = [
    ("/etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    ("/etc/nsswitch.conf", "hosts: files\n"),
    (
        "/etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    ),
];

impl Initramfs {
    /// Packs `executable` as `/init` with its libraries, and `files` (host path, guest
    /// path; folders with all they hold).
    ///
    /// # Errors
    /// See [`InitramfsError`].
    pub fn pack(
        executable: &Path,
        files: &[(PathBuf, String)],
    ) -> Result<Initramfs, InitramfsError> {
        let mut packer = Packer::default();
        packer.program(executable, "/init")?;
        for (host, guest) in files {
            packer.tree(host, guest)?;
        }
        Ok(packer.finish())
    }
}

impl Initramfs {
    /// All files in it that may hold code.
    pub fn executables(&self) -> Vec<opcodes::Program> {
        let programs = self.programs.iter().map(|file| opcodes::Program {
            host: file.host_path.clone(),
            guest: file.guest_path.clone(),
        });
        programs.chain(self.others.iter().cloned()).collect()
    }

    /// Names each page of packed code by its content, as the CPU finds it in memory.
    pub fn code_map(&self) -> CodeMap {
        let mut map = CodeMap::new();
        for (file, program) in self.programs.iter().enumerate() {
            for range in &program.text {
                for offset in
                    (range.start & !(PAGE_SIZE - 1)..range.end).step_by(PAGE_SIZE as usize)
                {
                    let mut page = [0; PAGE_SIZE as usize];
                    let rest = &program.content[offset as usize..];
                    let length = rest.len().min(page.len());
                    page[..length].copy_from_slice(&rest[..length]);
                    let origin = CodeOrigin {
                        file: file as u32,
                        offset,
                        region: u8::from(file != 0),
                    };
                    map.entry(xxh3_64(&page)).or_insert(origin);
                }
            }
        }
        map
    }
}

/// An initramfs in the making; [`Initramfs::pack`] is what a test VM needs.
#[derive(Default)]
pub struct Packer {
    programs: Vec<PackedFile>,
    data: BTreeMap<String, Vec<u8>>,
    others: Vec<opcodes::Program>,
    libraries: BTreeSet<String>,
}

fn read(path: &Path) -> Result<Vec<u8>, InitramfsError> {
    fs::read(path).map_err(|source| InitramfsError::Read {
        path: path.display().to_string(),
        source,
    })
}

impl Packer {
    /// Adds the executable `host` as `guest`, and the shared libraries it asks for.
    ///
    /// # Errors
    /// See [`InitramfsError`].
    pub fn program(&mut self, host: &Path, guest: &str) -> Result<(), InitramfsError> {
        let data = read(host)?;
        let program = Program::parse(host, &data)?;
        self.programs.push(PackedFile {
            host_path: host.to_owned(),
            guest_path: guest.to_owned(),
            content: elf::stripped(&data, &program).into(),
            text: program.text.clone(),
        });
        if let Some(interpreter) = &program.interpreter
            && self.libraries.insert(interpreter.clone())
        {
            self.program(Path::new(interpreter), interpreter)?;
        }
        for library in &program.needed {
            // The interpreter is loaded by its path and found again by its name.
            let is_interpreter = |l: &String| l.ends_with(&format!("/{library}")) || l == library;
            if self.libraries.iter().any(is_interpreter) {
                continue;
            }
            let (found, guest) = find(library, &program, host)?;
            self.libraries.insert(library.clone());
            self.program(&found, &guest)?;
        }
        Ok(())
    }

    /// Adds the file `host` as `guest`, or the folder with all that it holds.
    ///
    /// # Errors
    /// Something of it cannot be read.
    pub fn tree(&mut self, host: &Path, guest: &str) -> Result<(), InitramfsError> {
        let failed = |source| InitramfsError::Read {
            path: host.display().to_string(),
            source,
        };
        if fs::metadata(host).map_err(failed)?.is_dir() {
            let mut names = Vec::new();
            for entry in fs::read_dir(host).map_err(failed)? {
                names.push(entry.map_err(failed)?.file_name());
            }
            names.sort();
            for name in names {
                self.tree(
                    &host.join(&name),
                    &format!("{guest}/{}", name.to_string_lossy()),
                )?;
            }
        } else {
            let data = read(host)?;
            if data.starts_with(&ELFMAG) {
                self.others.push(opcodes::Program {
                    host: host.to_owned(),
                    guest: guest.to_owned(),
                });
            }
            self.data.insert(guest.to_owned(), data);
        }
        Ok(())
    }

    /// Adds a file of these bytes.
    pub fn content(&mut self, guest: &str, bytes: Vec<u8>) {
        self.data.insert(guest.to_owned(), bytes);
    }

    /// Writes the archive.
    pub fn finish(self) -> Initramfs {
        let mut contents: BTreeMap<&str, &[u8]> = BTreeMap::new();
        contents.extend(TEXT_FILES.map(|(path, text)| (path, text.as_bytes())));
        contents.extend(
            self.data
                .iter()
                .map(|(path, data)| (path.as_str(), data.as_slice())),
        );
        contents.extend(
            self.programs
                .iter()
                .map(|p| (p.guest_path.as_str(), &p.content[..])),
        );
        let mut folders: BTreeSet<&str> = DIRECTORIES.into();
        for path in contents.keys() {
            let mut rest = *path;
            while let Some((parent, _)) = rest
                .rsplit_once('/')
                .filter(|(parent, _)| !parent.is_empty())
            {
                folders.insert(parent);
                rest = parent;
            }
        }
        let mut archive = Cpio::default();
        for folder in folders {
            archive.directory(folder);
        }
        archive.character_device("/dev/console", 5, 1);
        archive.character_device("/dev/null", 1, 3);
        for (path, content) in contents {
            archive.file(path, content);
        }
        let bytes: Arc<[u8]> = archive.finish().into();
        Initramfs {
            hash: xxh3_128(&bytes),
            bytes,
            programs: self.programs,
            others: self.others,
        }
    }
}

/// Finds `library` for `program` as the dynamic loader would; answers its host and guest path.
fn find(
    library: &str,
    program: &Program,
    wanted_by: &Path,
) -> Result<(PathBuf, String), InitramfsError> {
    let missing = |searched: String| InitramfsError::Library {
        library: library.to_owned(),
        wanted_by: wanted_by.display().to_string(),
        searched,
    };
    if let Some((folder, _)) = library.rsplit_once('/') {
        return match Path::new(library).is_file() {
            true => Ok((library.into(), library.to_owned())),
            false => Err(missing(folder.to_owned())),
        };
    }
    let environment = env::var("LD_LIBRARY_PATH").unwrap_or_default();
    let own = program.search.iter().map(String::as_str);
    let own = own.chain(environment.split(':').filter(|folder| !folder.is_empty()));
    for folder in own.clone() {
        let host = Path::new(folder).join(library);
        if host.is_file() {
            return Ok((host, format!("{}/{library}", guest_folder())));
        }
    }
    for folder in LIBRARY_FOLDERS {
        let host = Path::new(folder).join(library);
        if host.is_file() {
            return Ok((host, format!("{folder}/{library}")));
        }
    }
    let searched: Vec<&str> = own.chain(LIBRARY_FOLDERS).collect();
    Err(missing(searched.join(", ")))
}

/// The folder in which the host's own loader, which is packed too, finds libraries unasked.
fn guest_folder() -> &'static str {
    LIBRARY_FOLDERS
        .into_iter()
        .find(|folder| Path::new(folder).join("libc.so.6").is_file())
        .unwrap_or("/lib64")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_packs_are_equal_byte_for_byte() {
        let executable = env::current_exe().unwrap();
        let first = Initramfs::pack(&executable, &[]).unwrap();
        let second = Initramfs::pack(&executable, &[]).unwrap();
        assert_eq!(first.bytes, second.bytes);
        let names: Vec<&str> = first
            .programs
            .iter()
            .map(|p| p.guest_path.as_str())
            .collect();
        assert_eq!(names[0], "/init");
        assert!(names.iter().any(|n| n.ends_with("/libc.so.6")), "{names:?}");
        assert_eq!(
            names.iter().filter(|n| n.contains("ld-linux")).count(),
            1,
            "{names:?}"
        );
    }

    #[test]
    fn files_and_folders_are_packed_in_name_order() {
        let folder = env::temp_dir().join(format!("chaoscontrol-pack-{}", std::process::id()));
        fs::create_dir_all(folder.join("b")).unwrap();
        fs::write(folder.join("b/two"), "2").unwrap();
        fs::write(folder.join("a"), "1").unwrap();
        let executable = env::current_exe().unwrap();
        let packed =
            Initramfs::pack(&executable, &[(folder.clone(), "/tests/data".into())]).unwrap();
        assert!(packed.others.is_empty(), "{:?}", packed.others);
        let text = String::from_utf8_lossy(&packed.bytes);
        let a = text.find("tests/data/a\0").unwrap();
        let b = text.find("tests/data/b/two\0").unwrap();
        assert!(a < b);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_program_among_the_files_is_remembered() {
        let executable = env::current_exe().unwrap();
        let child = [(executable.clone(), "/bin/child".to_owned())];
        let packed = Initramfs::pack(&executable, &child).unwrap();
        let names: Vec<String> = packed.executables().into_iter().map(|p| p.guest).collect();
        assert_eq!(
            (names[0].as_str(), names.last().unwrap().as_str()),
            ("/init", "/bin/child")
        );
        assert_eq!(names.len(), packed.programs.len() + 1);
    }

    #[test]
    fn a_missing_library_is_named() {
        let program = Program {
            interpreter: None,
            needed: vec![],
            search: vec!["/nowhere".into()],
            loaded: 0,
            text: vec![],
        };
        let error = find("libmissing.so.1", &program, Path::new("/bin/thing"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("libmissing.so.1")
                && error.contains("/bin/thing")
                && error.contains("/nowhere")
        );
    }
}
