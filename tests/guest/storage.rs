//! A body that keeps records on its disk, and finds out what a power cut left of them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use chaoscontrol_guest::{Node, send_event};

/// Bytes of a record, two of which share a page.
const RECORD: usize = 2048;
/// Records in a file.
const IN_FILE: u64 = 32;
/// Every so many records all are made durable.
const DURABLE_EACH: u64 = 8;

/// In its first life: writes records for ever and tells `wrote` and `durable` with how many.
/// Afterwards: tells `found` with the numbers of those that are whole, unmounts the disk and
/// tells `clean`.
pub fn records(node: Node) -> Result<(), String> {
    let folder = node.data_dir();
    node.setup_complete();
    let result = match node.incarnation() {
        0 => write_for_ever(folder),
        _ => find(folder),
    };
    result.map_err(|e| e.to_string())
}

/// Adds a line with a number to a file, makes it durable, and reads what is there.
pub fn append(path: &Path, number: u64) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    writeln!(file, "{number}")?;
    file.sync_data()?;
    fs::read(path).map(drop)
}

fn path(folder: &Path, file: u64) -> PathBuf {
    folder.join(format!("records-{file}"))
}

fn record(number: u64) -> [u8; RECORD] {
    let mut words = [0u64; RECORD / 8];
    for (word, i) in words.iter_mut().zip(number * 1000..) {
        *word = i.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
    words[0] = number + 1;
    words[1] = checksum(&words);
    let mut bytes = [0; RECORD];
    for (bytes, word) in bytes.chunks_exact_mut(8).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

fn checksum(words: &[u64; RECORD / 8]) -> u64 {
    let others = [&words[..1], &words[2..]].concat();
    let add = |sum: u64, word: &u64| (sum ^ word).wrapping_mul(0x0100_0000_01B3).rotate_left(17);
    others.iter().fold(1, add)
}

/// Begins file number `number`, full of zeros and durable, with traffic in the directory on the way.
fn begin(folder: &Path, number: u64) -> io::Result<File> {
    let new = folder.join("new");
    let options = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .clone();
    let file = options.open(&new)?;
    file.write_all_at(&[0; RECORD * IN_FILE as usize], 0)?;
    file.sync_all()?;
    fs::rename(&new, path(folder, number))?;
    fs::write(folder.join(format!("junk-{number}")), [1; 5000])?;
    if number > 1 {
        fs::remove_file(folder.join(format!("junk-{}", number - 2)))?;
    }
    File::open(folder)?.sync_all()?;
    Ok(file)
}

fn write_for_ever(folder: &Path) -> io::Result<()> {
    for number in 0.. {
        let file = begin(folder, number)?;
        for i in 0..IN_FILE {
            let count = number * IN_FILE + i + 1;
            let at = i * RECORD as u64;
            // The drive may get to see it before it is said to be written.
            file.write_all_at(&record(count - 1), at)?;
            send_event("wrote", count);
            if i % 2 == 1 {
                hand_over(&file, at)?;
            }
            if count.is_multiple_of(DURABLE_EACH) {
                file.sync_data()?;
                send_event("durable", count);
                sleep(Duration::from_millis(10));
            }
        }
    }
    Ok(())
}

/// Has the drive take the page at `at`, without a flush.
fn hand_over(file: &File, at: u64) -> io::Result<()> {
    let how = libc::SYNC_FILE_RANGE_WAIT_BEFORE
        | libc::SYNC_FILE_RANGE_WRITE
        | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    let page = at & !4095;
    // SAFETY: sync_file_range(2) takes numbers only; the descriptor is open.
    match unsafe { libc::sync_file_range(file.as_raw_fd(), page as i64, 4096, how) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn find(folder: &Path) -> io::Result<()> {
    let mut found = Vec::new();
    for number in 0.. {
        let bytes = match fs::read(path(folder, number)) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => break,
            Err(e) => return Err(e),
        };
        for (bytes, i) in bytes.chunks(RECORD).zip(number * IN_FILE..) {
            if *bytes == record(i) {
                found.push(i);
            }
        }
    }
    // All that is there can be read, too.
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::read(entry.path())?;
        }
    }
    let count = found.iter().zip(0..).take_while(|(n, i)| **n == *i).count();
    let others: Vec<String> = found[count..].iter().map(u64::to_string).collect();
    send_event("found", format_args!("{count} {}", others.join(",")));
    let path = std::ffi::CString::new(folder.as_os_str().as_encoded_bytes())?;
    // SAFETY: umount2(2) reads the path, which is terminated and lives until it returns.
    if unsafe { libc::umount2(path.as_ptr(), 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    send_event("clean", "");
    Ok(())
}
