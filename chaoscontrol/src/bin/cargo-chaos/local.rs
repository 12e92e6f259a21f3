//! The verbs that need no test.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use chaoscontrol::cpu::choice::HostKvm;
use chaoscontrol::harness::folder::{self, Folder};
use chaoscontrol::image::kernel::{self, Variant};
use chaoscontrol::image::{KernelRequest, cache, disk};
use chaoscontrol::machine::{DeterministicVm, OutputKind, VmConfig};

use crate::target::{EXAMPLE, Target};

fn say(line: &str) {
    eprintln!("chaoscontrol: {line}");
}

/// `--name VALUE` out of `arguments`.
fn option<'a>(arguments: &'a [String], name: &str) -> Result<Option<&'a str>, String> {
    match arguments.iter().position(|a| a == name) {
        None => Ok(None),
        Some(at) => arguments
            .get(at + 1)
            .map(|value| Some(value.as_str()))
            .ok_or_else(|| format!("{name} wants a value")),
    }
}

/// `cargo chaos kernel`.
pub fn kernel(arguments: &[String]) -> Result<ExitCode, String> {
    let variant = option(arguments, "--variant")?.map(|name| {
        let unknown = || {
            let names = Variant::ALL.map(Variant::name).join(", ");
            format!("--variant is `{name}`, none of {names}")
        };
        Variant::by_name(name).ok_or_else(unknown)
    });
    let variant = variant.transpose()?;
    let image = match option(arguments, "--import")? {
        Some(file) => kernel::import(variant.unwrap_or_default(), file.as_ref()),
        None => match variant {
            Some(variant) => kernel::provide(variant, &say),
            None => kernel::locate(&KernelRequest::default(), &say),
        },
    }
    .map_err(|e| e.to_string())?;
    if let Some(file) = option(arguments, "--export")? {
        fs::write(file, &image.bytes).map_err(|e| format!("{file} cannot be written: {e}"))?;
    }
    println!("{} (hash {:032x})", image.path.display(), image.hash);
    Ok(ExitCode::SUCCESS)
}

/// `cargo chaos doctor`, of a test too if one is named.
pub fn doctor(arguments: &[String]) -> Result<ExitCode, String> {
    let mut fit = true;
    let mut row = |good: bool, what: &str, then: &str| {
        fit &= good;
        println!(
            "{} {what}{}",
            if good { "ok  " } else { "FAIL" },
            if good { "" } else { then }
        );
    };
    row(
        chaoscontrol::cpu::supported().is_ok(),
        "host is x86-64 Linux",
        ": chaos tests run only there",
    );
    // What engine = "auto" would take. The default needs no KVM, so none is no fault.
    row(true, &HostKvm::look().chosen().1, "");
    row(
        chaoscontrol::optimized(),
        "the library is optimized",
        ": add [profile.dev.package.chaoscontrol] opt-level = 3 to Cargo.toml",
    );
    let folder = cache::folder();
    let usable = fs::create_dir_all(&folder).is_ok();
    row(
        usable,
        &format!("cache folder {}", folder.display()),
        ": it cannot be made; set CHAOS_CACHE",
    );
    for variant in Variant::ALL {
        let name = variant.name();
        match kernel::cached(variant) {
            Ok(Some(image)) => {
                let path = image.path.display();
                row(true, &format!("guest kernel {name}: {path}"), "");
            }
            Ok(None) => {
                let what = "is not cached yet: the first test that wants it builds it";
                row(
                    true,
                    &format!("guest kernel {name} {what} (about 4 minutes)"),
                    "",
                );
            }
            Err(error) => row(false, &format!("guest kernel {name}: {error}"), ""),
        }
    }
    let maker = match disk::maker() {
        Some(version) => format!("file systems for `disk`: {version}"),
        None => "file systems for `disk`: the first test that wants one fetches mke2fs".into(),
    };
    row(true, &maker, "");
    for tool in ["gcc", "apt-get", "dpkg-deb", "tar"] {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).any(|folder| folder.join(tool).is_file());
        let then = ": needed to build the guest kernel; or set CHAOS_KERNEL to a vmlinux";
        row(found, &format!("{tool} is on PATH"), then);
    }
    if arguments.is_empty() {
        return Ok(ExitCode::from(u8::from(!fit)));
    }
    let test = Target::parse(arguments)?.run("doctor", EXAMPLE)?;
    Ok(if fit { test } else { ExitCode::FAILURE })
}

/// `cargo chaos boot`.
pub fn boot(arguments: &[String]) -> Result<ExitCode, String> {
    chaoscontrol::cpu::supported().map_err(|e| e.to_string())?;
    let read = |file: &str| fs::read(file).map_err(|e| format!("{file} cannot be read: {e}"));
    let kernel: Arc<[u8]> = match option(arguments, "--kernel")? {
        Some(file) => read(file)?.into(),
        None => {
            kernel::locate(&KernelRequest::default(), &say)
                .map_err(|e| e.to_string())?
                .bytes
        }
    };
    let initrd = option(arguments, "--initrd")?
        .map(read)
        .transpose()?
        .unwrap_or_default();
    let number = |name: &str, default: u64| match option(arguments, name)? {
        None => Ok(default),
        Some(text) => text
            .trim_end_matches('M')
            .parse()
            .map_err(|_| format!("{name} is `{text}`, no number")),
    };
    let config = VmConfig {
        kernel,
        initrd: initrd.into(),
        memory_size: number("--memory", 128)? << 20,
        cmdline: "loglevel=7".into(),
        ..VmConfig::default()
    };
    let mut vm = DeterministicVm::new(config).map_err(|e| e.to_string())?;
    let end = number("--seconds", 10)? * 1_000_000_000;
    while vm.time() < end && vm.off().is_none() {
        vm.run_until((vm.time() + 1_000_000).min(end));
        for output in vm.take_outputs() {
            if let OutputKind::Serial(line) = output.kind {
                println!("{}", String::from_utf8_lossy(&line));
            }
        }
    }
    let why = vm
        .off()
        .map_or_else(|| "still runs".to_owned(), |off| format!("is off: {off:?}"));
    eprintln!(
        "the machine {why} at +{:.3} s, after {} instructions",
        vm.time() as f64 / 1e9,
        vm.retired()
    );
    Ok(ExitCode::SUCCESS)
}

/// `cargo chaos report`: of folders, if some are named, else of a test.
pub fn report(arguments: &[String]) -> Result<ExitCode, String> {
    // The name of a package or a test has no slash.
    let is_folder = |word: &&String| word.contains('/');
    let folders: Vec<Folder> = arguments
        .iter()
        .filter(is_folder)
        .map(|word| Folder::at(Path::new(word)))
        .collect();
    if folders.is_empty() {
        return Target::parse(arguments)?.run("report", EXAMPLE);
    }
    let json = |word: &&String| *word == "--json";
    let known = |word: &&String| is_folder(word) || json(word);
    if let Some(word) = arguments.iter().find(|word| !known(word)) {
        return Err(format!("`{word}` is no folder; name folders, or a test"));
    }
    let kept = folder::merged(&folders).map_err(|e| e.to_string())?;
    print!("{}", kept.told(arguments.iter().any(|word| json(&word))));
    Ok(ExitCode::from(u8::from(kept.has_failed())))
}
