//! Bodies that show what an agent does to its own VM.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::process::Command;
use std::thread::{self, sleep};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chaoscontrol_guest::{Node, send_event};

const BEAT: Duration = Duration::from_millis(10);

/// Two threads that count their beats; a life more in a file each time it starts.
pub fn beats(node: Node) -> Result<(), String> {
    let path = node.data_dir().join("lives");
    let appended = OpenOptions::new().create(true).append(true).open(&path);
    appended
        .and_then(|mut file| file.write_all(b"x"))
        .map_err(|e| e.to_string())?;
    let lives = fs::read(&path).map_err(|e| e.to_string())?.len();
    send_event("life", format_args!("{lives} {}", node.incarnation()));
    node.setup_complete();
    thread::spawn(|| beat("second"));
    beat("first")
}

/// Tells its count, and what the clocks say in ms, every 10 ms.
fn beat(name: &str) -> ! {
    let begin = Instant::now();
    for count in 0.. {
        let monotonic = begin.elapsed().as_millis();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        let wall = wall.map_or(0, |wall| wall.as_millis());
        send_event(name, format_args!("{count} {monotonic} {wall}"));
        sleep(BEAT);
    }
    unreachable!("counting does not end")
}

/// What a child of [`family`] is called, but for its number.
const CHILD: &str = "consistent-hasher-";

/// Runs two programs whose names begin alike.
pub fn family(node: Node) -> Result<(), String> {
    for number in 1..=2 {
        let path = format!("/tmp/{CHILD}{number}");
        std::os::unix::fs::symlink("/init", &path).map_err(|e| e.to_string())?;
        let child = Command::new(path).spawn();
        child.map_err(|e| e.to_string())?;
    }
    node.setup_complete();
    beat("parent")
}

/// Runs as such a program, if this process is one.
pub fn enter_child() {
    let name = std::env::args().next().unwrap_or_default();
    if let Some((_, number)) = name.rsplit_once(CHILD) {
        beat(&format!("child {number}"));
    }
}

static MIB: [u8; 1 << 20] = [1; 1 << 20];

/// Takes 40 MiB, a MiB every 10 ms, and tells when it has them; again and again.
pub fn hungry(node: Node) -> Result<(), String> {
    send_event("life", node.incarnation());
    node.setup_complete();
    loop {
        // So much at once is given back to the kernel when it is dropped.
        let mut hoard = Vec::with_capacity(40 << 20);
        for _ in 0..40 {
            sleep(BEAT);
            hoard.extend_from_slice(&MIB);
        }
        send_event("fed", std::hint::black_box(&hoard).len());
    }
}

/// Writes 64 KiB to a new file every 10 ms, and removes it.
pub fn writes(node: Node) -> Result<(), String> {
    let path = node.data_dir().join("file");
    node.setup_complete();
    loop {
        let written = File::create(&path).and_then(|mut file| file.write_all(&[1; 64 << 10]));
        match written {
            Ok(()) => send_event("wrote", ""),
            Err(error) if error.kind() == ErrorKind::StorageFull => send_event("full", ""),
            Err(error) => return Err(error.to_string()),
        }
        fs::remove_file(&path).map_err(|e| e.to_string())?;
        sleep(BEAT);
    }
}
