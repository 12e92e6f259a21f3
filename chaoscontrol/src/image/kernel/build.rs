//! The build: fetch, unpack, patch, configure, compile, keep.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use super::{KernelError, Say, Variant, fetch, recipe};
use crate::image::apt::{self, Apt};
use crate::image::cache;
use crate::image::steps::{Steps, Stop, tail};

/// Files that `make` compiles for the whole build, for the percentage shown: 880 with
/// Linux 6.12. Their number grows as evenly with time as that of no other lines does.
const EXPECTED_FILES: usize = 880;

/// The line that `make` prints of a file that it compiles begins with this.
const COMPILES: &str = "  CC ";

/// Bytes of room below which a build that failed did so since the disk was full: the
/// compiler removes what it could not finish.
const LITTLE_ROOM: u64 = 64 << 20;

/// Builds a kernel into `home`. The caller holds the lock.
pub fn build(variant: Variant, home: &Path, say: Say<'_>) -> Result<(), KernelError> {
    let cache_error = |source| KernelError::Cache {
        path: home.display().to_string(),
        source,
    };
    fs::create_dir_all(home).map_err(cache_error)?;
    let work = home.join("build");
    // What an interrupted build left behind.
    let _ = fs::remove_dir_all(&work);
    fs::create_dir_all(&work).map_err(cache_error)?;
    say(&format!(
        "building the guest kernel ({}), once for this machine; this takes about 4 minutes",
        variant.name()
    ));
    let steps = Steps::new(home.join("build.log"), say);
    let result = make(variant, home, &work, &steps);
    let room = cache::room(home).unwrap_or(u64::MAX);
    let _ = fs::remove_dir_all(&work);
    result.map_err(|Stop { step, why, full }| {
        if full || room < LITTLE_ROOM {
            let path = home.display().to_string();
            let room = room >> 20;
            return KernelError::Full {
                path,
                room,
                step,
                why,
            };
        }
        KernelError::Step {
            step,
            why,
            tail: tail(steps.log()),
            log: steps.log().display().to_string(),
        }
    })
}

fn make(variant: Variant, home: &Path, work: &Path, steps: &Steps<'_>) -> Result<(), Stop> {
    let apt = fetch::packages(work.join("apt"));
    let mut apt = apt.map_err(|e| Stop::new("making folders", e))?;
    let variables = fetch::tools(&mut apt, &work.join("tools"), steps)?;
    let tree = source(work, &mut apt, &variables, steps)?;
    patch(variant, &tree)?;
    let make = |target: &[&str]| {
        let mut make = Command::new("make");
        for noise in [
            "MAKEFLAGS",
            "MAKELEVEL",
            "MFLAGS",
            "ARCH",
            "CROSS_COMPILE",
            "KCFLAGS",
            "O",
        ] {
            make.env_remove(noise);
        }
        make.args(target)
            .current_dir(&tree)
            .envs(recipe::FIXED)
            .envs(variables.iter().cloned());
        make
    };
    steps.run("configuring the guest kernel", &mut make(&["tinyconfig"]))?;
    let config = tree.join(".config");
    File::options()
        .append(true)
        .open(&config)
        .and_then(|mut file| file.write_all(variant.config().as_bytes()))
        .map_err(|e| Stop::new("writing the configuration", e))?;
    steps.run("settling the configuration", &mut make(&["olddefconfig"]))?;
    let settled =
        fs::read_to_string(&config).map_err(|e| Stop::new("reading the configuration", e))?;
    if let Some(lost) = variant
        .required()
        .find(|wanted| !settled.lines().any(|line| line == *wanted))
    {
        return Err(Stop::new(
            "settling the configuration",
            format!("this source does not take `{lost}`"),
        ));
    }
    let cores = thread::available_parallelism().map_or(1, |n| n.get());
    let mut files = 0;
    let mut shown = 0;
    steps.watch(
        "compiling the guest kernel",
        &mut make(&[&format!("-j{cores}"), "vmlinux"]),
        |line| {
            files += usize::from(line.starts_with(COMPILES));
            let percent = (files * 100 / EXPECTED_FILES).min(99);
            if percent >= shown + 10 {
                shown = percent / 10 * 10;
                steps.say(&format!("compiling the guest kernel: {shown} %"));
            }
        },
    )?;
    let small = work.join("vmlinux");
    let mut strip = Command::new("strip");
    steps.run(
        "stripping the guest kernel",
        strip.arg("-o").arg(&small).arg(tree.join("vmlinux")),
    )?;
    keep(home, &tree, &small).map_err(|e| Stop::new("keeping the guest kernel", e))?;
    steps.say("the guest kernel is built and cached");
    Ok(())
}

/// The unpacked source tree: a copy of `CHAOS_KERNEL_SOURCE`, or the distribution's.
fn source(
    work: &Path,
    apt: &mut Apt,
    variables: &[(&'static str, OsString)],
    steps: &Steps<'_>,
) -> Result<PathBuf, Stop> {
    const STEP: &str = "unpacking the kernel source";
    let tree = work.join("linux");
    fs::create_dir_all(&tree).map_err(|e| Stop::new(STEP, e))?;
    let tarball = match env::var_os("CHAOS_KERNEL_SOURCE").map(PathBuf::from) {
        Some(given) if given.is_dir() => {
            let mut copy = Command::new("cp");
            steps.run(
                "copying CHAOS_KERNEL_SOURCE",
                copy.arg("-a").arg(given.join(".")).arg(&tree),
            )?;
            steps.run(
                "cleaning the copy",
                Command::new("make")
                    .arg("mrproper")
                    .current_dir(&tree)
                    .envs(variables.iter().cloned()),
            )?;
            return Ok(tree);
        }
        Some(given) => given,
        None => {
            let package = fetch::source(apt, steps)?;
            let unpacked = work.join("package");
            apt::extract(STEP, &package, &unpacked, steps)?;
            let found = fs::read_dir(unpacked.join("usr/src")).map_err(|e| Stop::new(STEP, e))?;
            let found = found.flatten().map(|entry| entry.path());
            let mut tarballs = found.filter(|path| path.to_string_lossy().contains(".tar"));
            tarballs
                .next()
                .ok_or_else(|| Stop::new(STEP, "the package holds no tarball"))?
        }
    };
    let mut tar = Command::new("tar");
    tar.arg("-xf")
        .arg(&tarball)
        .arg("--strip-components=1")
        .arg("-C")
        .arg(&tree);
    tar.envs(variables.iter().cloned());
    steps.run(STEP, &mut tar)?;
    Ok(tree)
}

fn patch(variant: Variant, tree: &Path) -> Result<(), Stop> {
    const STEP: &str = "patching the source";
    for (file, from, to) in variant.patches() {
        let path = tree.join(file);
        let text =
            fs::read_to_string(&path).map_err(|e| Stop::new(STEP, format!("{file}: {e}")))?;
        if !text.contains(from) {
            return Err(Stop::new(
                STEP,
                format!("{file} of this source does not hold `{from}`"),
            ));
        }
        fs::write(&path, text.replacen(from, to, 1))
            .map_err(|e| Stop::new(STEP, format!("{file}: {e}")))?;
    }
    for (file, content) in variant.files() {
        fs::write(tree.join(file), content).map_err(|e| Stop::new(STEP, format!("{file}: {e}")))?;
    }
    Ok(())
}

/// Moves what is worth keeping to `home`, the kernel itself last.
fn keep(home: &Path, tree: &Path, kernel: &Path) -> io::Result<()> {
    for (name, file) in [
        ("config", tree.join(".config")),
        ("System.map", tree.join("System.map")),
    ] {
        cache::write_whole(&home.join(name), &fs::read(file)?)?;
    }
    cache::write_whole(&home.join("made-from"), made_from(tree).as_bytes())?;
    cache::write_whole(&home.join("vmlinux"), &fs::read(kernel)?)
}

/// Versions of source and compiler, for reports.
fn made_from(tree: &Path) -> String {
    let release =
        fs::read_to_string(tree.join("include/config/kernel.release")).unwrap_or_default();
    let compiler = Command::new("gcc").arg("--version").output();
    let compiler = compiler
        .map(|o| String::from_utf8_lossy(&o.stdout).into_owned())
        .unwrap_or_default();
    format!(
        "linux {}\n{}\n",
        release.trim(),
        compiler.lines().next().unwrap_or_default()
    )
}
