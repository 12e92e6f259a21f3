//! The machine's `/init`: makes a Linux system of an initramfs, brings KVM up, runs the
//! commands, and ends the machine.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::list::{self, News};
use super::process;

/// The serial port that carries output and news; the kernel's messages have the first.
const PORT: &str = "/dev/ttyS1";

/// What to mount, and its type.
const MOUNTS: [(&str, &str); 3] = [("/proc", "proc"), ("/sys", "sysfs"), ("/dev", "devtmpfs")];

/// Folders that have to be there. Nothing is mounted on them, which would hide what was packed
/// from a build below them.
const FOLDERS: [&str; 2] = ["/tmp", "/run"];

/// Variables of every command.
const VARIABLES: [(&str, &str); 2] = [("PATH", "/bin"), ("HOME", "/root")];

/// How long `/dev/kvm` may take to come up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Does not return if this process is the machine's first one.
pub fn enter() {
    if std::process::id() == 1 {
        let Err(why) = live();
        // The console: there may be no serial port to say it on.
        eprintln!("/init failed: {why}");
        end();
    }
}

fn live() -> Result<Infallible, String> {
    for (folder, kind) in MOUNTS {
        mount(folder, kind).map_err(|e| format!("{folder} cannot be mounted: {e}"))?;
    }
    for folder in FOLDERS {
        fs::create_dir_all(folder).map_err(|e| format!("{folder} cannot be made: {e}"))?;
    }
    let mut port = serial().map_err(|e| format!("{PORT} cannot be opened: {e}"))?;
    match prepare() {
        Err(why) => say(&mut port, &News::Trouble(why))?,
        Ok(commands) => {
            say(&mut port, &News::Ready)?;
            for mut command in commands {
                // What the command sets itself comes later, and goes before.
                let variables = VARIABLES.map(|(name, value)| (name.into(), value.into()));
                command.environment.splice(0..0, variables);
                let _ = fs::create_dir_all(&command.folder);
                let mut whole_line = true;
                let (ending, took) = process::run(&command, &mut |bytes| {
                    whole_line = bytes.ends_with(b"\n");
                    let _ = port.write_all(bytes);
                });
                if !whole_line {
                    let _ = port.write_all(b"\n");
                }
                say(&mut port, &News::Ended(ending, took))?;
            }
            say(&mut port, &News::Done)?;
        }
    }
    // SAFETY: `tcdrain` takes no pointers; the descriptor is open while `port` lives.
    unsafe { libc::tcdrain(port.as_raw_fd()) };
    end()
}

fn say(port: &mut File, news: &News) -> Result<(), String> {
    port.write_all(news.line().as_bytes())
        .map_err(|e| format!("{PORT} cannot be written: {e}"))
}

/// Brings `/dev/kvm` up; answers what to run.
fn prepare() -> Result<Vec<super::Command>, String> {
    let failed = |what: &str, e: io::Error| format!("{what}: {e}");
    let modules = fs::read_dir(list::MODULES).map_err(|e| failed(list::MODULES, e))?;
    let mut modules: Vec<_> = modules.flatten().map(|entry| entry.path()).collect();
    modules.sort();
    for module in modules {
        insert(&module)
            .map_err(|e| format!("the module {} cannot be inserted: {e}", module.display()))?;
    }
    let begun = Instant::now();
    while let Err(error) = File::options().read(true).write(true).open("/dev/kvm") {
        if begun.elapsed() > PATIENCE {
            return Err(format!("/dev/kvm cannot be opened: {error}"));
        }
        thread::sleep(Duration::from_millis(10));
    }
    let commands = fs::read(list::COMMANDS).map_err(|e| failed(list::COMMANDS, e))?;
    list::decode(&commands).ok_or_else(|| format!("{} is not understood", list::COMMANDS))
}

fn mount(folder: &str, kind: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let (target, kind) = (CString::new(folder)?, CString::new(kind)?);
    // SAFETY: all strings end with a zero byte and outlive the call, which keeps none of them;
    // the data may be null.
    let done = unsafe {
        libc::mount(
            kind.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            0,
            std::ptr::null(),
        )
    };
    check(done.into())
}

fn insert(module: &Path) -> io::Result<()> {
    let file = File::open(module)?;
    // SAFETY: the descriptor is open while `file` lives; the parameters are an empty string
    // with its zero byte, which the kernel copies.
    check(unsafe { libc::syscall(libc::SYS_finit_module, file.as_raw_fd(), c"".as_ptr(), 0) })
}

/// Opens the serial port so that bytes leave as they are.
fn serial() -> io::Result<File> {
    let port = File::options().read(true).write(true).open(PORT)?;
    // SAFETY: all-zero bytes are a valid `termios`, which is plain data.
    let mut mode: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open while `port` lives; `mode` is exclusively borrowed.
    check(unsafe { libc::tcgetattr(port.as_raw_fd(), &mut mode) }.into())?;
    // SAFETY: `mode` is exclusively borrowed and initialized.
    unsafe { libc::cfmakeraw(&mut mode) };
    // SAFETY: as above; the call reads `mode` and keeps no pointer.
    check(unsafe { libc::tcsetattr(port.as_raw_fd(), libc::TCSANOW, &mode) }.into())?;
    Ok(port)
}

fn check(answer: libc::c_long) -> io::Result<()> {
    match answer {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Resets the machine, which ends QEMU.
fn end() -> ! {
    // SAFETY: `reboot` takes no pointers. It returns only if it is refused.
    unsafe { libc::reboot(libc::RB_AUTOBOOT) };
    // The kernel then panics, which resets the machine as well.
    std::process::exit(1);
}
