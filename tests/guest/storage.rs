//! A body that keeps records on its disk, and finds out what power cuts left of them.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};
use std::io::{self, Write};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use chaoscontrol_guest::{Node, get_random, send_event};

/// Records in a file.
const IN_FILE: u64 = 24;
/// Bytes of the longest record, and one more.
const LONGEST: u64 = 6000;

/// In its first life: waits until whoever forks runs has given this one its own random numbers,
/// then appends records for ever and tells `wrote` and `durable` with how many.
/// Afterwards: tells `found` with the numbers of those that are whole, unmounts the disk and
/// tells `clean`.
pub fn records(node: Node) -> Result<(), String> {
    let folder = node.data_dir();
    node.setup_complete();
    let result = match node.incarnation() {
        0 => {
            sleep(Duration::from_millis(5));
            write_for_ever(folder)
        }
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

/// A bit of each byte.
const ONES: u64 = 0x0101_0101_0101_0101;

fn hash(of: impl Hash) -> u64 {
    BuildHasherDefault::<DefaultHasher>::new().hash_one(of)
}

/// All that a run decides, so that its later lives know where each record has to be.
struct Plan {
    seed: u64,
}

impl Plan {
    fn choose(&self, what: &str, number: u64, below: u64) -> u64 {
        hash((self.seed, what, number)) % below
    }

    fn length(&self, number: u64) -> usize {
        8 + self.choose("length", number, LONGEST - 8) as usize
    }

    /// Record `number`: bytes that no other record has, none of which is zero.
    fn record(&self, number: u64) -> Vec<u8> {
        let start = hash((self.seed, number));
        let word = |i: u64| start.wrapping_add(i).wrapping_mul(0x9E37_79B9_7F4A_7C15) | ONES;
        let mut bytes = vec![0; self.length(number)];
        for (bytes, i) in bytes.chunks_mut(8).zip(0..) {
            bytes.copy_from_slice(&word(i).to_le_bytes()[..bytes.len()]);
        }
        bytes
    }

    /// Whether file number `file` has all its bytes, as zeros, before its first record. Else it
    /// grows with them.
    fn is_laid_out(&self, file: u64) -> bool {
        self.choose("layout", file, 4) > 0
    }
}

/// The numbers of the records in file number `file`.
fn numbers(file: u64) -> Range<u64> {
    file * IN_FILE..(file + 1) * IN_FILE
}

fn path(folder: &Path, file: u64) -> PathBuf {
    folder.join(format!("records-{file}"))
}

/// Where the plan's seed is kept.
fn seed_path(folder: &Path) -> PathBuf {
    folder.join("seed")
}

/// Lets a file of these bytes be there as a whole, and durable.
fn create(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let new = path.with_extension("new");
    let file = File::create(&new)?;
    file.write_all_at(bytes, 0)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(path.with_file_name(""))?.sync_all()?;
    Ok(file)
}

fn write_for_ever(folder: &Path) -> io::Result<()> {
    let plan = Plan { seed: get_random() };
    create(&seed_path(folder), &plan.seed.to_le_bytes())?;
    for number in 0.. {
        let length = if plan.is_laid_out(number) {
            numbers(number).map(|record| plan.length(record)).sum()
        } else {
            0
        };
        let file = create(&path(folder, number), &vec![0; length])?;
        // Traffic in the directory.
        fs::write(folder.join(format!("junk-{number}")), [1; 5000])?;
        if number > 1 {
            fs::remove_file(folder.join(format!("junk-{}", number - 2)))?;
        }
        write(&plan, number, &file)?;
    }
    Ok(())
}

/// Writes all records of file number `number`.
fn write(plan: &Plan, number: u64, file: &File) -> io::Result<()> {
    let mut at = 0;
    for number in numbers(number) {
        let bytes = plan.record(number);
        file.write_all_at(&bytes, at)?;
        at += bytes.len() as u64;
        let count = number + 1;
        send_event("wrote", count);
        match plan.choose("what next", number, 16) {
            0 => {
                file.sync_data()?;
                send_event("durable", count);
            }
            1 => {
                file.sync_all()?;
                send_event("durable", count);
            }
            // The drive may get to see it before anybody waits for that.
            2..8 => hand_over(file)?,
            8 => sleep(Duration::from_millis(5)),
            _ => {}
        }
    }
    file.sync_data()?;
    send_event("durable", numbers(number).end);
    Ok(())
}

/// Has the drive take what `file` holds, without a flush.
fn hand_over(file: &File) -> io::Result<()> {
    let how = libc::SYNC_FILE_RANGE_WAIT_BEFORE
        | libc::SYNC_FILE_RANGE_WRITE
        | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    // SAFETY: sync_file_range(2) takes numbers only; the descriptor is open.
    match unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, how) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The bytes of a file; `None` if there is none.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// The numbers of the records that are there.
fn found(folder: &Path) -> io::Result<Vec<u64>> {
    let Some(seed) = read(&seed_path(folder))? else {
        return Ok(Vec::new());
    };
    let seed = seed.try_into().map(u64::from_le_bytes);
    let seed = seed.map_err(|seed| io::Error::other(format!("a seed of {seed:?}")))?;
    let plan = Plan { seed };
    let mut found = Vec::new();
    for number in 0.. {
        let Some(there) = read(&path(folder, number))? else {
            break;
        };
        let mut at = 0;
        for record in numbers(number) {
            let bytes = plan.record(record);
            let there = &there[at.min(there.len())..];
            let there = &there[..bytes.len().min(there.len())];
            if there == bytes {
                found.push(record);
            } else if there.iter().zip(&bytes).any(|(a, b)| a != b && *a != 0) {
                let what = format!("file {number} holds what nobody wrote there, from {at} on");
                return Err(io::Error::other(what));
            }
            at += bytes.len();
        }
    }
    Ok(found)
}

fn find(folder: &Path) -> io::Result<()> {
    let found = found(folder)?;
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
