//! Where a program's shared libraries are: on the host, to be packed, and in the guest, to
//! be found by the loader that is packed with them. Both follow ld.so(8).
//!
//! The guest gets no cache of libraries and no `LD_LIBRARY_PATH`: what the host finds by
//! those goes to a folder in which every loader looks unasked.

use std::collections::BTreeSet;
use std::env;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use super::elf::{self, Program};

/// Where the dynamic loaders of common distributions look unasked.
const FOLDERS: [&str; 6] = [
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
];

/// What the host's loader has been told besides.
const CONFIGURATION: &str = "/etc/ld.so.conf";

/// A program or library that a process loads.
pub struct Object {
    /// Its ELF header.
    pub program: Program,
    /// Its file on the host.
    pub host: PathBuf,
    /// The folder on the host that `$ORIGIN` stands for.
    origin: String,
    /// The same in the guest.
    guest_origin: String,
    /// Index of the object that asked for it; none for the program itself.
    loader: Option<usize>,
}

/// A folder to look in: on the host, and where a library found there goes in the guest.
type Folder = (String, String);

/// The folders of this host.
pub struct Search {
    /// A folder that lies over the host's file system.
    root: Option<PathBuf>,
    /// `LD_LIBRARY_PATH`.
    environment: Vec<String>,
    /// `/etc/ld.so.conf`.
    configured: Vec<String>,
}

impl Search {
    /// The folders of this host, and before each of them the same below `root`.
    pub fn new(root: Option<PathBuf>) -> Search {
        let environment = env::var("LD_LIBRARY_PATH").unwrap_or_default();
        let folders = environment.split([':', ';']).filter(|f| f.starts_with('/'));
        let mut configured = Vec::new();
        configuration(
            Path::new(CONFIGURATION),
            &mut configured,
            &mut BTreeSet::new(),
        );
        Search {
            root,
            environment: folders.map(str::to_owned).collect(),
            configured,
        }
    }

    /// The file that `path` of the host stands for: the one below the root if there is one.
    pub fn host(&self, path: &Path) -> PathBuf {
        let found = self.root.as_deref().and_then(|root| below(root, path));
        found.unwrap_or_else(|| path.to_owned())
    }

    /// `program`, the file `host` that is `guest` in the guest, as something that asks for
    /// libraries.
    pub fn object(
        &self,
        program: Program,
        host: &Path,
        guest: &str,
        loader: Option<usize>,
    ) -> Object {
        let file = fs::canonicalize(host).unwrap_or_else(|_| host.to_owned());
        let root = self
            .root
            .as_ref()
            .and_then(|root| fs::canonicalize(root).ok());
        let file = match root.and_then(|root| Some(file.strip_prefix(root).ok()?.to_owned())) {
            Some(below) => Path::new("/").join(below),
            None => file,
        };
        let folder = |path: &Path| path.parent().map(|p| p.display().to_string());
        Object {
            program,
            host: host.to_owned(),
            origin: folder(&file).unwrap_or_default(),
            guest_origin: folder(Path::new(guest)).unwrap_or_default(),
            loader,
        }
    }

    /// The library that `objects[asking]` asks for by the name `library`: its file on the
    /// host and its path in the guest.
    ///
    /// # Errors
    /// It is nowhere; where it was looked for.
    pub fn find(
        &self,
        library: &str,
        objects: &[Object],
        asking: usize,
    ) -> Result<(PathBuf, String), String> {
        if let Some((folder, name)) = library.rsplit_once('/') {
            let folders = objects[asking].expanded(&[folder.to_owned()]);
            return self.in_folders(name, folders);
        }
        self.in_folders(library, self.folders(objects, asking))
    }

    fn in_folders(&self, library: &str, folders: Vec<Folder>) -> Result<(PathBuf, String), String> {
        for (host, guest) in &folders {
            let host = self.host(&Path::new(host).join(library));
            if fits(&host) {
                return Ok((host, format!("{}/{library}", guest.trim_end_matches('/'))));
            }
        }
        let mut seen = BTreeSet::new();
        let names = folders.into_iter().map(|(host, _)| host);
        let names: Vec<String> = names.filter(|name| seen.insert(name.clone())).collect();
        Err(names.join(", "))
    }

    /// All folders in the loader's order.
    fn folders(&self, objects: &[Object], asking: usize) -> Vec<Folder> {
        let own = &objects[asking];
        let same = |folder: &str| (folder.to_owned(), folder.to_owned());
        let moved = |folder: &str| match FOLDERS.contains(&folder) {
            true => same(folder),
            false => (folder.to_owned(), unasked(&objects[0].program)),
        };
        let mut folders = Vec::new();
        let mut next = Some(asking).filter(|_| own.program.runpath.is_empty());
        while let Some(object) = next.map(|index| &objects[index]) {
            if object.program.runpath.is_empty() {
                folders.extend(object.expanded(&object.program.rpath));
            }
            next = object.loader;
        }
        folders.extend(self.environment.iter().map(|folder| moved(folder)));
        folders.extend(own.expanded(&own.program.runpath));
        folders.extend(self.configured.iter().map(|folder| moved(folder)));
        folders.extend(FOLDERS.map(same));
        // No loader looks there, but it is where programs that were downloaded have them.
        folders.push(moved(&objects[0].origin));
        folders
    }
}

impl Object {
    /// Search folders with their `$ORIGIN` replaced. The loader takes a relative one from
    /// the working directory, which nobody knows here.
    fn expanded(&self, folders: &[String]) -> Vec<Folder> {
        let expand = |folder: &str, origin: &str| {
            plain(
                &folder
                    .replace("${ORIGIN}", origin)
                    .replace("$ORIGIN", origin),
            )
        };
        folders
            .iter()
            .filter(|folder| folder.starts_with('/') || folder.starts_with('$'))
            .map(|folder| {
                let host = expand(folder, &self.origin);
                (host, expand(folder, &self.guest_origin))
            })
            .collect()
    }
}

/// The file that `path` is if what lies below `root` lies over the host's file system; none
/// if nothing there has to do with it.
pub fn below(root: &Path, path: &Path) -> Option<PathBuf> {
    /// As many links in a row as the kernel follows.
    const LINKS: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        let file = root.join(path.strip_prefix("/").ok()?);
        if file.exists() {
            return Some(file);
        }
        // A link that leads nowhere may lead to another place below the root, or to a file
        // of the host.
        let target = path.parent()?.join(fs::read_link(&file).ok()?);
        path = plain(&target.display().to_string()).into();
        if path.exists() && !root.join(path.strip_prefix("/").ok()?).exists() {
            return Some(path);
        }
    }
    None
}

/// A folder in which the loader of `program` looks unasked.
fn unasked(program: &Program) -> String {
    let folder = match program.is_musl() {
        true => None,
        false => FOLDERS
            .into_iter()
            .find(|folder| Path::new(folder).join("libc.so.6").is_file()),
    };
    folder.unwrap_or("/lib").to_owned()
}

/// Whether it is a file that a loader takes; it passes over those of other processors.
fn fits(path: &Path) -> bool {
    let mut start = [0; elf::START];
    path.is_file()
        && File::open(path)
            .and_then(|mut file| file.read_exact(&mut start))
            .is_ok()
        && elf::check(path, &start).is_ok()
}

/// A path without `.` and `..`: no link of the host lies on a guest's path.
pub fn plain(path: &str) -> String {
    let mut parts = Vec::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(part) => parts.push(part.to_string_lossy()),
            Component::ParentDir => drop(parts.pop()),
            _ => {}
        }
    }
    format!("/{}", parts.join("/"))
}

/// Adds the folders that the file `path` names; a file that is not there names none.
fn configuration(path: &Path, folders: &mut Vec<String>, read: &mut BTreeSet<PathBuf>) {
    if !read.insert(path.to_owned()) {
        return;
    }
    for line in fs::read_to_string(path).unwrap_or_default().lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        match line.strip_prefix("include ") {
            Some(patterns) => {
                for file in patterns.split_whitespace().flat_map(matching) {
                    configuration(&file, folders, read);
                }
            }
            None if line.starts_with('/') => folders.push(line.to_owned()),
            None => {}
        }
    }
}

/// The files of a pattern with at most one `*`, in its last part, by name.
fn matching(pattern: &str) -> Vec<PathBuf> {
    let pattern = Path::new("/etc").join(pattern);
    let name = pattern.file_name().unwrap_or_default().to_string_lossy();
    let Some((start, end)) = name.split_once('*') else {
        return vec![pattern];
    };
    let folder = pattern.parent().unwrap_or(Path::new("/"));
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let fits = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
    };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(fits).collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(runpath: &str, rpath: &str) -> Program {
        let list = |text: &str| text.split(':').map(str::to_owned).collect();
        Program {
            runpath: if runpath.is_empty() {
                vec![]
            } else {
                list(runpath)
            },
            rpath: if rpath.is_empty() {
                vec![]
            } else {
                list(rpath)
            },
            ..Program::default()
        }
    }

    fn folders(chain: &[(&str, Program)]) -> Vec<Folder> {
        let search = Search {
            root: None,
            environment: vec!["/environment".into()],
            configured: vec!["/configured".into()],
        };
        let objects: Vec<Object> = chain
            .iter()
            .enumerate()
            .map(|(index, (path, program))| {
                let host = PathBuf::from(format!("/host{path}"));
                search.object(program.clone(), &host, path, index.checked_sub(1))
            })
            .collect();
        search.folders(&objects, objects.len() - 1)
    }

    fn hosts(folders: &[Folder]) -> Vec<&str> {
        let own = folders.iter().map(|(host, _)| host.as_str());
        own.filter(|host| !FOLDERS.contains(host)).collect()
    }

    #[test]
    fn folders_are_in_the_loaders_order() {
        let found = folders(&[("/bin/a", program("$ORIGIN/../lib:relative", "/ignored"))]);
        assert_eq!(
            hosts(&found),
            ["/environment", "/host/lib", "/configured", "/host/bin"]
        );
        assert_eq!(found[1].1, "/lib", "$ORIGIN is another folder in the guest");
        assert!(FOLDERS.contains(&found[0].1.as_str()), "{found:?}");
    }

    #[test]
    fn an_rpath_is_inherited_and_a_runpath_is_not() {
        let library = || ("/lib/b", program("", "/b"));
        let found = folders(&[("/bin/a", program("", "/a")), library()]);
        assert_eq!(hosts(&found)[..3], ["/b", "/a", "/environment"]);
        let found = folders(&[("/bin/a", program("/run", "/a")), library()]);
        assert_eq!(hosts(&found)[..2], ["/b", "/environment"]);
        let found = folders(&[
            ("/bin/a", program("", "/a")),
            ("/lib/b", program("/run", "")),
        ]);
        assert_eq!(hosts(&found)[..2], ["/environment", "/run"]);
    }

    #[test]
    fn paths_are_made_plain() {
        assert_eq!(plain("/usr/bin/../lib/./x"), "/usr/lib/x");
        assert_eq!(plain("/../lib"), "/lib");
    }

    #[test]
    fn the_loaders_configuration_includes_other_files() {
        let folder = env::temp_dir().join(format!("chaoscontrol-ld-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let own = folder.display();
        let write = |name: &str, text: String| fs::write(folder.join(name), text).unwrap();
        write(
            "main",
            format!("/first # why\ninclude {own}/*.conf\n/last\n"),
        );
        write("b.conf", "/b\n".into());
        write("a.conf", format!("/a\ninclude {own}/main\n"));
        write("a.other", "/other\n".into());
        let mut found = Vec::new();
        configuration(&folder.join("main"), &mut found, &mut BTreeSet::new());
        assert_eq!(found, ["/first", "/a", "/b", "/last"]);
        let long = folder.join("b.c*.conf");
        assert!(
            matching(long.to_str().unwrap()).is_empty(),
            "no part is used twice"
        );
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_root_lies_over_the_host() {
        let root = env::temp_dir().join(format!("chaoscontrol-over-{}", std::process::id()));
        fs::create_dir_all(root.join("lib64")).unwrap();
        fs::copy(env::current_exe().unwrap(), root.join("lib64/libover.so")).unwrap();
        fs::write(root.join("lib64/libtext.so"), "no library ".repeat(100)).unwrap();
        let search = Search::new(Some(root.clone()));
        let objects = [search.object(program("", ""), Path::new("/bin/a"), "/bin/a", None)];
        let (host, guest) = search.find("libover.so", &objects, 0).unwrap();
        assert_eq!(host, root.join("lib64/libover.so"));
        assert_eq!(guest, "/lib64/libover.so");
        let link = |target: &str| {
            let path = root.join("lib64/link");
            let _ = fs::remove_file(&path);
            std::os::unix::fs::symlink(target, path).unwrap();
            below(&root, Path::new("/lib64/link"))
        };
        assert_eq!(
            link("/lib64/libtext.so"),
            Some(root.join("lib64/libtext.so"))
        );
        assert_eq!(link("../etc/passwd"), Some("/etc/passwd".into()));
        assert_eq!((link("link"), link("absent")), (None, None));
        let searched = search.find("libtext.so", &objects, 0).unwrap_err();
        assert!(searched.contains("/lib64, "), "{searched}");
        fs::remove_dir_all(root).unwrap();
    }
}
