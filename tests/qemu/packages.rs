//! QEMU and the machine's kernel, from the distribution's packages, in the cache folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use chaoscontrol::image::apt;
use chaoscontrol::image::fetched::{FetchError, Wanted, made};
use chaoscontrol::image::steps::{Say, Steps, Stop};

/// The folder of the cache for both.
const FOLDER: &str = "in-qemu";
/// QEMU's program.
const PROGRAM: &str = "qemu-system-x86_64";
/// Where it comes from unless it is on PATH.
const QEMU: Wanted<'static> = Wanted {
    what: "the QEMU for tests of KVM",
    place: (FOLDER, "qemu"),
    package: "qemu-system-x86",
    way_out: "install QEMU, so that qemu-system-x86_64 is on PATH; run on a host whose own /dev/kvm runs Linux",
};
/// The distribution's present kernel for virtual machines; the package only stands for it.
const KERNEL: Wanted<'static> = Wanted {
    what: "the kernel for tests of KVM",
    place: (FOLDER, "kernel"),
    package: "linux-image-cloud-amd64",
    way_out: "add a Debian mirror to apt's sources, which has that package; run on a host whose own /dev/kvm runs Linux",
};
/// What the name of the kernel itself begins with.
const KERNEL_PREFIX: &str = "linux-image-";
/// The module that brings up `/dev/kvm`.
const MODULE: &str = "kvm-amd";
/// The file that lists the kept modules in their order.
const MODULES: &str = "modules";

/// A QEMU that can be started.
pub struct Qemu {
    program: PathBuf,
    root: Option<PathBuf>,
}

impl Qemu {
    /// The one on PATH, or else that of the distribution's package.
    pub fn locate(say: Say<'_>) -> Result<Qemu, FetchError> {
        if apt::on_path(PROGRAM) {
            return Ok(Qemu {
                program: PROGRAM.into(),
                root: None,
            });
        }
        let folder = made(&QEMU, say, runs, |apt, folder, steps| {
            apt.unpack("QEMU", &[QEMU.package], &folder.join("root"), steps)?;
            Ok(QEMU.package.to_owned())
        })?;
        Ok(Qemu::below(&folder))
    }

    fn below(folder: &Path) -> Qemu {
        let root = folder.join("root");
        Qemu {
            program: root.join("usr/bin").join(PROGRAM),
            root: Some(root),
        }
    }

    /// The command that starts it, with its libraries, modules and firmware.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(root) = &self.root {
            command.env("LD_LIBRARY_PATH", apt::library_path(root));
            command.env("QEMU_MODULE_DIR", root.join(apt::LIBRARIES).join("qemu"));
            for firmware in ["usr/share/qemu", "usr/share/seabios"] {
                command.arg("-L").arg(root.join(firmware));
            }
        }
        command
    }
}

/// Whether the QEMU below `folder` starts: libraries of the system may have gone.
fn runs(folder: &Path) -> bool {
    let mut version = Qemu::below(folder).command();
    version
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    version.status().is_ok_and(|status| status.success())
}

/// A distribution's kernel, and the modules that KVM needs.
pub struct Kernel {
    folder: PathBuf,
}

impl Kernel {
    /// The distribution's present one, or the one that was so when it was fetched.
    pub fn locate(say: Say<'_>) -> Result<Kernel, FetchError> {
        let whole = |folder: &Path| {
            let kernel = Kernel::in_folder(folder);
            kernel.image().is_file() && kernel.modules().is_ok()
        };
        let folder = made(&KERNEL, say, whole, |apt, folder, steps| {
            let name = apt.dependency(KERNEL.package, KERNEL_PREFIX, steps)?;
            let package = apt.download(&name, "27 MB", steps)?;
            let root = folder.join("root");
            apt::extract("unpacking the kernel", &package, &root, steps)?;
            keep(&root, folder, steps)?;
            let _ = fs::remove_dir_all(root);
            Ok(name)
        })?;
        Ok(Kernel::in_folder(&folder))
    }

    fn in_folder(folder: &Path) -> Kernel {
        Kernel {
            folder: folder.to_owned(),
        }
    }

    /// The kernel's file.
    pub fn image(&self) -> PathBuf {
        self.folder.join("vmlinuz")
    }

    /// The modules with their names, in the order in which they are to be inserted.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub fn modules(&self) -> Result<Vec<(String, Vec<u8>)>, FetchError> {
        let read = |name: &str| {
            let path = self.folder.join(name);
            fs::read(&path).map_err(|source| FetchError::Cache {
                path: path.display().to_string(),
                source,
            })
        };
        let names = String::from_utf8_lossy(&read(MODULES)?).into_owned();
        let names = names.lines().map(str::to_owned);
        names.map(|name| Ok((name.clone(), read(&name)?))).collect()
    }
}

/// Copies kernel and modules from the unpacked package at `root` to `folder`.
fn keep(root: &Path, folder: &Path, steps: &Steps<'_>) -> Result<(), Stop> {
    const STEP: &str = "looking for kernel and modules";
    let failed = |e: io::Error| Stop::new(STEP, e);
    let mut files = Vec::new();
    walk(root, &mut files).map_err(failed)?;
    let image = files.iter().find(|path| stem(path).starts_with("vmlinuz"));
    let image = image.ok_or_else(|| Stop::new(STEP, "the package has no vmlinuz"))?;
    fs::copy(image, folder.join("vmlinuz")).map_err(failed)?;
    let mut order = Vec::new();
    insert(MODULE, &files, folder, &mut order, steps)?;
    fs::write(folder.join(MODULES), order.join("\n")).map_err(failed)
}

/// Copies the module `name` to `folder`, after those that it depends on.
fn insert(
    name: &str,
    files: &[PathBuf],
    folder: &Path,
    order: &mut Vec<String>,
    steps: &Steps<'_>,
) -> Result<(), Stop> {
    const STEP: &str = "copying modules";
    if order.iter().any(|known| known == name) {
        return Ok(());
    }
    let same =
        |path: &&PathBuf| stem(path).replace('_', "-") == name.replace('_', "-") && is_module(path);
    let Some(file) = files.iter().find(same) else {
        return Err(Stop::new(STEP, format!("the package has no module {name}")));
    };
    let to = folder.join(name);
    let failed = |e: io::Error| Stop::new(STEP, format!("{name}: {e}"));
    fs::copy(file, &to).map_err(failed)?;
    let packer = match file.extension().and_then(|e| e.to_str()) {
        Some("xz") => Some("xz"),
        Some("zst") => Some("zstd"),
        _ => None,
    };
    if let Some(packer) = packer {
        let packed = file
            .extension()
            .map(|e| to.with_extension(e))
            .unwrap_or_default();
        fs::rename(&to, &packed).map_err(failed)?;
        steps.run(STEP, Command::new(packer).arg("-df").arg(&packed))?;
    }
    let bytes = fs::read(&to).map_err(failed)?;
    for other in depends(&bytes) {
        insert(&other, files, folder, order, steps)?;
    }
    order.push(name.to_owned());
    Ok(())
}

/// The modules that a module asks for, from its `.modinfo`.
fn depends(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(start) = module.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let list = module[start + KEY.len()..].split(|&b| b == 0).next();
    let list = String::from_utf8_lossy(list.unwrap_or_default()).into_owned();
    list.split(',')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

fn is_module(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.to_string_lossy().contains(".ko"))
}

/// A file's name up to the first dot.
fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.split('.').next().unwrap_or_default().to_owned()
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => walk(&entry.path(), files)?,
            false => files.push(entry.path()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_tells_what_it_depends_on() {
        let info = b"\x7fELF\0depends=kvm,ccp\0intree=Y\0";
        assert_eq!(depends(info), ["kvm", "ccp"]);
        let none: [&str; 0] = [];
        assert_eq!(depends(b"license=GPL\0depends=\0name=irqbypass\0"), none);
        assert_eq!(depends(b"\x7fELF"), none);
    }

    #[test]
    fn modules_are_known_by_their_files() {
        let path = |name: &str| Path::new("/lib/kernel").join(name);
        assert_eq!(stem(&path("kvm-amd.ko.xz")), "kvm-amd");
        assert!(is_module(&path("kvm-amd.ko.xz")) && is_module(&path("kvm.ko")));
        assert!(!is_module(&path("kvm.rs")));
    }
}
