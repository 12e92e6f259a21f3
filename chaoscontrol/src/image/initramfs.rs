//! The initramfs: the test executable as `/init`, and the programs and files that a test
//! names; programs with the shared libraries that their ELF headers ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chaoscontrol_guest::protocol::PROGRAMS;
use object::elf::ELFMAG;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::cpio::Cpio;
use super::elf::{self, ElfError, Program};
use super::libraries::{Object, Search, plain};
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
    /// Two programs have one name.
    #[error(
        "two programs are called {name}: {first} and {second}; `node.command` finds a program by its file name, so pack one of them under another"
    )]
    Name {
        /// The name.
        name: String,
        /// The program that was packed first.
        first: String,
        /// The other one.
        second: String,
    },
    /// Two files of the host would be one in the guest.
    #[error("{first} and {second} would both be {guest} in the guest; leave one of them out")]
    Place {
        /// The path in the guest.
        guest: String,
        /// The file that was packed first.
        first: String,
        /// The other one.
        second: String,
    },
}

/// What a guest finds in its file system besides the test executable.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Contents {
    /// Programs on the host, to be packed with their libraries.
    pub programs: Vec<PathBuf>,
    /// Files and folders on the host, and their paths in the guest.
    pub files: Vec<(PathBuf, String)>,
    /// A folder that lies over the host's file system: what is below it is taken instead.
    pub root: Option<PathBuf>,
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

/// Folders of the system, whose programs find their data by their own path and so keep it.
const SYSTEM: [&str; 5] = ["/usr", "/bin", "/sbin", "/lib", "/opt"];

/// Where other programs go, since the path of a checkout is not to be part of a run.
const PROGRAM_FOLDER: &str = "/usr/local/bin";

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
    /// Packs `executable` as `/init` with its libraries, and `contents`.
    ///
    /// # Errors
    /// See [`InitramfsError`].
    pub fn pack(executable: &Path, contents: &Contents) -> Result<Initramfs, InitramfsError> {
        let mut packer = Packer::new(contents.root.clone());
        packer.program(executable, "/init")?;
        let mut named: BTreeMap<String, &Path> = BTreeMap::new();
        let mut list = String::new();
        for program in &contents.programs {
            let guest = place(program);
            let name = guest.rsplit('/').next().unwrap_or_default().to_owned();
            if let Some(first) = named.get(&name) {
                return Err(InitramfsError::Name {
                    name,
                    first: first.display().to_string(),
                    second: program.display().to_string(),
                });
            }
            packer.program(program, &guest)?;
            list.push_str(&guest);
            list.push('\n');
            named.insert(name, program);
        }
        for (host, guest) in &contents.files {
            packer.tree(host, guest)?;
        }
        if !list.is_empty() {
            packer.content(PROGRAMS, list.into_bytes());
        }
        Ok(packer.finish())
    }
}

/// Where in the guest a program of the host goes.
fn place(program: &Path) -> String {
    if SYSTEM.iter().any(|folder| program.starts_with(folder)) {
        return plain(&program.display().to_string());
    }
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    format!("{PROGRAM_FOLDER}/{name}")
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
pub struct Packer {
    search: Search,
    programs: Vec<PackedFile>,
    data: BTreeMap<String, Vec<u8>>,
    others: Vec<opcodes::Program>,
    /// What on the host each path in the guest is.
    packed: BTreeMap<String, PathBuf>,
}

impl Default for Packer {
    fn default() -> Packer {
        Packer::new(None)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, InitramfsError> {
    fs::read(path).map_err(|source| InitramfsError::Read {
        path: path.display().to_string(),
        source,
    })
}

impl Packer {
    /// An empty one, which takes files below `root` before those of the host.
    pub fn new(root: Option<PathBuf>) -> Packer {
        Packer {
            search: Search::new(root),
            programs: Vec::new(),
            data: BTreeMap::new(),
            others: Vec::new(),
            packed: BTreeMap::new(),
        }
    }

    /// Adds the executable `host` as `guest`, with its interpreter and the shared libraries
    /// that it and they ask for.
    ///
    /// # Errors
    /// See [`InitramfsError`].
    pub fn program(&mut self, host: &Path, guest: &str) -> Result<(), InitramfsError> {
        let mut objects = vec![self.object(host, guest, None)?];
        let start = &objects[0].program;
        if let Some(interpreter) = start.interpreter.clone() {
            let wanted = Path::new(&interpreter);
            if !self.search.host(wanted).is_file() {
                let folder = wanted.parent().unwrap_or(wanted).display().to_string();
                return Err(missing(&interpreter, host, folder));
            }
            self.object(wanted, &interpreter, Some(0))?;
        } else if !start.needed.is_empty() {
            let why = "it is a shared library, not a program".to_owned();
            let path = host.display().to_string();
            return Err(ElfError::Broken { path, why }.into());
        }
        let mut loaded = BTreeSet::new();
        let mut asking = 0;
        while let Some(object) = objects.get(asking) {
            for library in object.program.needed.clone() {
                if objects[0].program.interpreter_is(&library) || !loaded.insert(library.clone()) {
                    continue;
                }
                let found = self.search.find(&library, &objects, asking);
                let (file, guest) =
                    found.map_err(|searched| missing(&library, &objects[asking].host, searched))?;
                objects.push(self.object(&file, &guest, Some(asking))?);
            }
            asking += 1;
        }
        Ok(())
    }

    /// Adds the ELF file `host` as `guest`, if it is not there yet.
    fn object(
        &mut self,
        host: &Path,
        guest: &str,
        loader: Option<usize>,
    ) -> Result<Object, InitramfsError> {
        let host = self.search.host(host);
        let data = read(&host)?;
        let program = Program::parse(&host, &data)?;
        if self.is_new(&host, guest)? {
            self.programs.push(PackedFile {
                host_path: host.clone(),
                guest_path: guest.to_owned(),
                content: elf::stripped(&data, &program).into(),
                text: program.text.clone(),
            });
        }
        Ok(self.search.object(program, &host, guest, loader))
    }

    /// Whether `guest` is not taken yet; if it is, it must be by `host`.
    fn is_new(&mut self, host: &Path, guest: &str) -> Result<bool, InitramfsError> {
        match self.packed.get(guest) {
            None => {
                self.packed.insert(guest.to_owned(), host.to_owned());
                Ok(true)
            }
            Some(first) if first == host => Ok(false),
            Some(first) => Err(InitramfsError::Place {
                guest: guest.to_owned(),
                first: first.display().to_string(),
                second: host.display().to_string(),
            }),
        }
    }

    /// Adds the file `host` as `guest`, or the folder with all that it holds.
    ///
    /// # Errors
    /// Something of it cannot be read.
    pub fn tree(&mut self, host: &Path, guest: &str) -> Result<(), InitramfsError> {
        let host = &self.search.host(host);
        let failed = |source| InitramfsError::Read {
            path: host.display().to_string(),
            source,
        };
        let kind = fs::metadata(host).map_err(failed)?;
        if kind.is_dir() {
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
        } else if !kind.is_file() {
            return Err(failed(io::Error::other(
                "it is neither a file nor a folder",
            )));
        } else if self.is_new(host, guest)? {
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

fn missing(library: &str, wanted_by: &Path, searched: String) -> InitramfsError {
    InitramfsError::Library {
        library: library.to_owned(),
        wanted_by: wanted_by.display().to_string(),
        searched,
    }
}

#[cfg(test)]
mod tests;
