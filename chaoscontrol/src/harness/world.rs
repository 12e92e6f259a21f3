//! What a test's branches run in: its settings resolved, its kernel found, its executable
//! packed, and the machine booted, once per process for all tests that want the same one.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::disk::Disk;
use super::engine::NoEngine;
use super::entry::Package;
use super::registry::{Attributes, TestCase};
use super::regression::Decisive;
use super::settings::{Settings, SettingsError, Sources};
use super::unwithheld::unwithheld;
use crate::cluster::{self, BootFailure, ClusterConfig};
use crate::cpu::soft::coverage::CodeMap;
use crate::cpu::{Engine, UnsupportedHost, supported};
use crate::explore::simulation::Scenario;
use crate::fault::{Aim, Class, Generator, Preset, Tolerance, Whom, with_undoing};
use crate::image::disk::{self, BaseImage, DiskError};
use crate::image::fetched::FetchError;
use crate::image::kernel::{self, KernelError, KernelImage, KernelRequest, Variant};
use crate::image::packages;
use crate::image::{Contents, Initramfs, InitramfsError};
use crate::machine::{DiskConfig, VmConfig, VmSnapshot, traps_rdtsc};

/// The variable by which somebody insists on a kernel that lets RDTSC through to the host.
const UNPATCHED: &str = "CHAOS_UNPATCHED_KERNEL";

/// Why a test cannot run at all.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// Nothing here could run a machine.
    #[error(transparent)]
    Host(#[from] UnsupportedHost),
    /// The engine that was asked for is not there.
    #[error(transparent)]
    Engine(#[from] NoEngine),
    /// On KVM, a kernel without the patch that answers RDTSC.
    #[error(
        "the guest kernel {0} lets programs read the host's time stamp counter, which KVM cannot keep from them; unset CHAOS_KERNEL and `kernel` for the one that chaoscontrol builds, take engine = \"soft\", or set {UNPATCHED}=1 for runs that cannot be reproduced"
    )]
    Unpatched(String),
    /// A setting.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// No guest kernel.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The executable cannot be packed.
    #[error(transparent)]
    Initramfs(#[from] InitramfsError),
    /// No disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Packages cannot be fetched.
    #[error(transparent)]
    Packages(#[from] FetchError),
    /// The executable cannot be found.
    #[error("the test executable's own path is unknown: {0}")]
    Executable(std::io::Error),
    /// The guest did not come up.
    #[error("with the guest kernel {kernel}: {source}")]
    Boot {
        /// The kernel's file.
        kernel: String,
        /// What went wrong.
        source: BootFailure,
    },
    /// A fault's name.
    #[error("faults = [..]: {0}")]
    Fault(String),
    /// A preset's name, or a cluster too small for it.
    #[error("preset: {0}")]
    Preset(String),
    /// A limit of the tolerance.
    #[error("tolerance: {0}")]
    Tolerance(String),
}

/// A booted machine and what it was booted from.
#[derive(Clone, Debug)]
pub struct Booted {
    /// What executes its code.
    pub engine: Engine,
    /// The kernel.
    pub kernel: KernelImage,
    /// The test executable, packed.
    pub initramfs: Arc<Initramfs>,
    /// What disks hold when they are new, if there are any.
    pub disk: Option<BaseImage>,
    /// Whose code is whose, for coverage.
    pub code_map: Arc<CodeMap>,
    /// Why its runs cannot be reproduced, if so, in words.
    pub unreproducible: Option<&'static str>,
    /// The machine, before it has learnt which VM it is.
    pub snapshot: VmSnapshot,
    /// What in the packed programs the engine cannot withhold from them, a phrase each.
    pub unwithheld: Arc<[String]>,
}

/// All that a test's branches need.
#[derive(Clone, Debug)]
pub struct World {
    /// The test's settings.
    pub settings: Settings,
    /// The machine.
    pub booted: Booted,
    /// What all branches share.
    pub scenario: Arc<Scenario>,
    /// The faults that may be drawn.
    pub generator: Generator,
}

/// All that distinguishes booted machines within a process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Machine {
    engine: Engine,
    kernel: Option<PathBuf>,
    contents: Contents,
    memory: u64,
    disk: Option<Disk<PathBuf>>,
    epoch: u64,
    instruction_ns: u64,
}

static BOOTED: Mutex<BTreeMap<Machine, Booted>> = Mutex::new(BTreeMap::new());

/// The settings of `case`, from all their sources.
///
/// # Errors
/// The first that cannot be used.
pub fn settings(case: &TestCase, package: &Package) -> Result<Settings, SettingsError> {
    let path = format!("{}/{}/{}", package.name, package.target, case.name());
    let sources = Sources {
        environment: &|name| env::var(name).ok(),
        package: &package.folder(),
    };
    Settings::resolve(&path, &case.attributes, &sources)
}

impl World {
    /// The world of `case` with `settings`; `say` hears of what takes long.
    ///
    /// # Errors
    /// See [`WorldError`].
    pub fn new(
        case: &TestCase,
        package: &Package,
        settings: Settings,
        say: &dyn Fn(&str),
    ) -> Result<World, WorldError> {
        supported()?;
        let generator = generator(case, &settings)?;
        let folder = package.folder();
        let machine = Machine {
            engine: settings.engine.settle(say)?,
            kernel: case
                .attributes
                .kernel
                .map(|name| kernel_file(&folder, name)),
            contents: contents(&folder, &case.attributes, say)?,
            memory: settings.memory,
            disk: (settings.disk.clone()).map(|disk| disk.map(|name| folder.join(name))),
            epoch: settings.epoch,
            instruction_ns: settings.instruction_ns,
        };
        let booted = boot(&machine, say)?;
        let decisive = Decisive::of(&settings, booted.engine);
        let scenario = Scenario {
            code_map: Some(Arc::clone(&booted.code_map)),
            check: case.attributes.check,
            ..scenario(&decisive, case.name(), booted.snapshot.clone())
        };
        Ok(World {
            settings,
            booted,
            scenario: Arc::new(scenario),
            generator,
        })
    }
}

/// What branches of the test `name` share, where nobody counts edges and nobody has a `check`.
pub fn scenario(settings: &Decisive, name: String, boot: VmSnapshot) -> Scenario {
    Scenario {
        boot,
        cluster: ClusterConfig {
            vms: settings.vms as usize,
            clients: settings.clients as usize,
            seed: settings.seed,
            test: name,
            wall_ns: settings.epoch.saturating_mul(1_000_000_000),
            duration_ns: settings.duration_ns,
            quiet_ns: settings.quiet_ns,
            ..ClusterConfig::default()
        },
        code_map: None,
        force_setup_ns: settings.force_setup_ns,
        stall_ns: settings.stall_ns,
        must_finish: settings.must_finish,
        check: None,
    }
}

/// Packs what `case` runs.
///
/// # Errors
/// Something of it cannot be fetched, found or packed.
pub fn pack(
    case: &TestCase,
    package: &Package,
    say: &dyn Fn(&str),
) -> Result<Initramfs, WorldError> {
    packed(&contents(&package.folder(), &case.attributes, say)?)
}

fn packed(contents: &Contents) -> Result<Initramfs, WorldError> {
    let executable = env::current_exe().map_err(WorldError::Executable)?;
    Ok(Initramfs::pack(&executable, contents)?)
}

/// What a test wants packed besides its executable.
fn contents(
    package: &Path,
    attributes: &Attributes,
    say: &dyn Fn(&str),
) -> Result<Contents, WorldError> {
    let named = [attributes.binaries, attributes.files].concat();
    let absolute: Vec<&Path> = named.into_iter().map(Path::new).collect();
    let absolute: Vec<&Path> = absolute
        .into_iter()
        .filter(|path| path.is_absolute())
        .collect();
    let binaries = attributes.binaries.iter();
    Ok(Contents {
        programs: binaries.map(|name| package.join(name)).collect(),
        files: files(package, attributes.files),
        root: packages::unpacked(attributes.packages, &absolute, say)?,
    })
}

/// A kernel's file is named from the package's folder; the name of one of ours is no file.
fn kernel_file(package: &Path, name: &str) -> PathBuf {
    match Variant::by_name(name) {
        Some(_) => name.into(),
        None => package.join(name),
    }
}

/// Files to pack, each with its path in the guest: a relative one is found by the same path
/// from the body's working directory, the root.
fn files(package: &Path, names: &[&str]) -> Vec<(PathBuf, String)> {
    let guest = |name: &str| {
        let path = Path::new(name).components().filter_map(|part| match part {
            std::path::Component::Normal(part) => Some(part.to_string_lossy()),
            _ => None,
        });
        format!("/{}", path.collect::<Vec<_>>().join("/"))
    };
    names
        .iter()
        .map(|name| (package.join(name), guest(name)))
        .collect()
}

fn generator(case: &TestCase, settings: &Settings) -> Result<Generator, WorldError> {
    let attributes = &case.attributes;
    let presets = presets(attributes.presets, settings)?;
    let name = |path: &&str| Some(Path::new(path).file_name()?.to_str()?.to_owned());
    let hits_a_disk = |aim: &Aim| aim.kind.info().class == Class::Disk;
    let has_disk = settings.disk.is_some();
    let mut aims: Vec<Aim> = match attributes.faults {
        None if presets.is_empty() => Aim::usual()
            .into_iter()
            .filter(|aim| has_disk || !hits_a_disk(aim))
            .collect(),
        None => Vec::new(),
        Some(names) => {
            let aims: Result<_, _> = names.iter().map(|name| Aim::by_name(name)).collect();
            with_undoing(aims.map_err(WorldError::Fault)?)
        }
    };
    if settings.clients == 0
        && let Some(aim) = aims.iter().find(|aim| aim.whom == Whom::Clients)
    {
        let what = format!("`{aim}`, but the test has no clients: set `clients`, or remove it");
        return Err(WorldError::Fault(what));
    }
    if !has_disk && let Some(aim) = aims.iter().find(|aim| hits_a_disk(aim)) {
        let what = format!("`{aim}`, but the test has no disk: set `disk`, or remove it");
        return Err(WorldError::Fault(what));
    }
    for kind in presets.iter().flat_map(|preset| preset.kinds()) {
        if !aims.iter().any(|aim| aim.kind == *kind) {
            aims.push(Aim::of(*kind));
        }
    }
    Ok(Generator {
        aims,
        presets,
        tolerance: Tolerance::parse(attributes.tolerance).map_err(WorldError::Tolerance)?,
        vms: settings.vms as usize,
        clients: settings.clients as usize,
        duration_ns: settings.duration_ns,
        processes: attributes.binaries.iter().filter_map(name).collect(),
        ..Generator::default()
    })
}

fn presets(names: &[&str], settings: &Settings) -> Result<Vec<Preset>, WorldError> {
    let presets: Result<Vec<Preset>, _> = names.iter().map(|name| Preset::by_name(name)).collect();
    let presets = presets.map_err(WorldError::Preset)?;
    let servers = settings.vms.saturating_sub(settings.clients) as usize;
    match presets.iter().find(|preset| preset.servers() > servers) {
        None => Ok(presets),
        Some(preset) => Err(WorldError::Preset(format!(
            "`{}` needs {} servers and there are {servers}: raise `vms`",
            preset.name(),
            preset.servers()
        ))),
    }
}

fn boot(machine: &Machine, say: &dyn Fn(&str)) -> Result<Booted, WorldError> {
    let mut booted = BOOTED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = booted.get(machine) {
        return Ok(known.clone());
    }
    let named = machine.kernel.clone();
    let request = KernelRequest {
        named: named.map(|path| (path, "the attribute".to_owned())),
    };
    let kernel = kernel::locate(&request, say)?;
    let unreproducible = unreproducible(machine.engine, &kernel, say)?;
    let initramfs = packed(&machine.contents)?;
    let unwithheld = match machine.engine {
        Engine::Soft => Vec::new(),
        Engine::Kvm => unwithheld(&initramfs.executables()),
    };
    unwithheld.iter().for_each(|line| say(line));
    let disk = match &machine.disk {
        None => None,
        Some(Disk::Empty(size)) => Some(disk::empty(*size, say)?),
        Some(Disk::Image(path)) => Some(disk::image(path)?),
    };
    let snapshot = cluster::boot(VmConfig {
        memory_size: machine.memory,
        disk: disk
            .as_ref()
            .map(|disk| DiskConfig::new(disk.image.clone())),
        kernel: Arc::clone(&kernel.bytes),
        initrd: Arc::clone(&initramfs.bytes),
        epoch: machine.epoch,
        instruction_ns: machine.instruction_ns,
        engine: machine.engine,
        ..VmConfig::default()
    })
    .map_err(|source| WorldError::Boot {
        kernel: kernel.path.display().to_string(),
        source,
    })?;
    let new = Booted {
        engine: machine.engine,
        unreproducible,
        kernel,
        code_map: Arc::new(initramfs.code_map()),
        initramfs: Arc::new(initramfs),
        disk,
        snapshot,
        unwithheld: unwithheld.into(),
    };
    booted.insert(machine.clone(), new.clone());
    Ok(new)
}

/// Why runs of `kernel` on `engine` cannot be reproduced, if so.
///
/// # Errors
/// They can't, and nobody has said that this is no matter.
fn unreproducible(
    engine: Engine,
    kernel: &KernelImage,
    say: &dyn Fn(&str),
) -> Result<Option<&'static str>, WorldError> {
    if engine == Engine::Soft || traps_rdtsc(&kernel.bytes) {
        return Ok(None);
    }
    let path = kernel.path.display().to_string();
    if env::var_os(UNPATCHED).is_none_or(|value| value.is_empty() || value == "0") {
        return Err(WorldError::Unpatched(path));
    }
    let why = "not reproducible: the guest kernel lets programs read the host's time stamp counter";
    say(&format!("warning: {why} ({path})"));
    Ok(Some(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_a_file_of_the_package_or_one_of_ours() {
        let found = |name| kernel_file(Path::new("/pkg"), name);
        assert_eq!(found("kcov"), Path::new("kcov"));
        assert_eq!(found("./kcov"), Path::new("/pkg/./kcov"));
        assert_eq!(found("/boot/vmlinux"), Path::new("/boot/vmlinux"));
    }

    #[test]
    fn packed_files_keep_their_path_in_the_guest() {
        let found = files(Path::new("/pkg"), &["tests/data", "./a", "../b/c"]);
        let guest: Vec<&str> = found.iter().map(|(_, guest)| guest.as_str()).collect();
        assert_eq!(guest, ["/tests/data", "/a", "/b/c"]);
        assert_eq!(found[0].0, Path::new("/pkg/tests/data"));
    }
}
