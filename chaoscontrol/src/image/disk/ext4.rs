//! An empty ext4 file system that is the same everywhere: all that mke2fs would draw, look
//! up on the host or take from its configuration is said.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use xxhash_rust::xxh3::xxh3_64;

use super::{DiskError, tools::Tools};
use crate::image::cache::{self, Lock};
use crate::image::steps::{Say, Steps, Stop, tail};

/// The file system's UUID, from which its checksums derive: "chaoscontrol".
const UUID: &str = "6368616f-7363-4f6e-b472-6f6c00000000";
/// What the hashes of names in directories derive from.
const HASH_SEED: &str = "6368616f-7363-4f6e-b472-6f6c00000001";
/// The time of all that has one: 2025-01-01, 00:00 UTC, in seconds since 1970.
const TIME: &str = "1735689600";
/// A full and final list: "none" goes before it. Versions of mke2fs do not agree on what to
/// note of groups with a copy of the superblock, so there is none, as `sparse_super2` allows.
const FEATURES: &str = "none,has_journal,ext_attr,dir_index,filetype,extent,64bit,flex_bg,\
    sparse_super2,large_file,huge_file,dir_nlink,extra_isize,metadata_csum";
/// The only configuration that mke2fs gets to see.
const CONFIG: &str = "[defaults]\n\tdefault_mntopts = user_xattr\n[fs_types]\n\tchaos = {\n\t}\n";
/// The name of its kind of file system, for which the configuration says nothing.
const KIND: &str = "chaos";
/// The directory that mke2fs makes for e2fsck, which makes it again if it needs it.
const EXTRA: &str = "lost+found";

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Below this a journal of the least 1024 blocks takes blocks of 1 KiB.
const SMALL: u64 = 16 * MIB;

/// The arguments of mke2fs for a file system of `size` bytes.
fn arguments(size: u64) -> Vec<String> {
    let (block, least) = if size < SMALL { (KIB, 1) } else { (4 * KIB, 4) };
    let journal = (size / MIB / 16).clamp(least, 64);
    let inodes = (size / (16 * KIB)).min(1 << 18);
    // Tables and journal are zeroed here, so that no guest has to do it.
    let extended = format!(
        "hash_seed={HASH_SEED},root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0,nodiscard,num_backup_sb=0"
    );
    let words = format!(
        "-q -F -t {KIND} -T {KIND} -O {FEATURES} -E {extended} -U {UUID} -b {block} -N {inodes} \
         -I 256 -G 16 -J size={journal} -m 0 -e remount-ro -M / -o Linux"
    );
    words.split_whitespace().map(str::to_owned).collect()
}

/// The file of an empty file system of `size` bytes, made with `tools` if it is not cached.
///
/// # Errors
/// It cannot be made, or the cache cannot be used.
pub fn provide(size: u64, tools: &Tools, say: Say<'_>) -> Result<PathBuf, DiskError> {
    let recipe = format!("{} {:?} {TIME} {CONFIG}", tools.version, arguments(size));
    let folder = cache::folder().join("disk");
    let name = format!("ext4-{size}-{:016x}", xxh3_64(recipe.as_bytes()));
    let path = folder.join(&name);
    let whole = || path.metadata().is_ok_and(|data| data.len() == size);
    if whole() {
        return Ok(path);
    }
    let failed = |source| DiskError::Cache {
        path: folder.display().to_string(),
        source,
    };
    let lock = folder.join("lock");
    let waiting = || say("waiting for another process that makes an empty file system");
    let _lock = Lock::take(&lock, waiting).map_err(failed)?;
    if whole() {
        return Ok(path);
    }
    let work = folder.join("work");
    // What an interrupted process left behind.
    let _ = fs::remove_dir_all(&work);
    fs::create_dir_all(&work).map_err(failed)?;
    let steps = Steps::new(folder.join(format!("{name}.log")), say);
    let made = make(size, tools, &work, &steps);
    let made = made.and_then(|image| {
        fs::rename(image, &path).map_err(|e| Stop::new("keeping the file system", e))
    });
    let _ = fs::remove_dir_all(&work);
    made.map_err(|stop| DiskError::Make {
        size,
        why: stop.to_string(),
        log: steps.log().display().to_string(),
        tail: tail(steps.log()),
    })?;
    Ok(path)
}

/// Makes it in the folder `work`.
fn make(size: u64, tools: &Tools, work: &Path, steps: &Steps<'_>) -> Result<PathBuf, Stop> {
    let step = format!("making an empty file system of {} KiB", size / KIB);
    let failed = |e: std::io::Error| Stop::new(&step, e);
    let (image, config) = (work.join("image"), work.join("mke2fs.conf"));
    fs::write(&config, CONFIG).map_err(failed)?;
    let file = File::create(&image).map_err(failed)?;
    file.set_len(size).map_err(failed)?;
    let on_image = |program: &Path, words: &[&str]| {
        let mut command = Command::new(program);
        command.args(words).arg(&image).env_clear();
        command.env("MKE2FS_CONFIG", &config);
        for time in ["E2FSPROGS_FAKE_TIME", "SOURCE_DATE_EPOCH"] {
            command.env(time, TIME);
        }
        command.env("LD_LIBRARY_PATH", &tools.libraries);
        command
    };
    let words = arguments(size);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    steps.run(&step, &mut on_image(&tools.mke2fs, &words))?;
    let remove = format!("rmdir {EXTRA}");
    steps.run(&step, &mut on_image(&tools.debugfs, &["-w", "-R", &remove]))?;
    // It says so when it fails, and calls that a success.
    let mut left = Vec::new();
    let mut list = on_image(&tools.debugfs, &["-R", "ls -p /"]);
    steps.watch(&step, &mut list, |line| {
        let name = line.split('/').nth(5).unwrap_or_default();
        if !["", ".", ".."].contains(&name) {
            left.push(name.to_owned());
        }
    })?;
    if !left.is_empty() {
        let why = format!("debugfs has left {}", left.join(", "));
        return Err(Stop::new(&step, why));
    }
    file.sync_all().map_err(failed)?;
    Ok(image)
}

#[cfg(test)]
mod tests {
    use xxhash_rust::xxh3::xxh3_128;

    use super::*;
    use crate::image::disk::tools;

    /// XXH3-128 of what mke2fs 1.46.2, 1.47.0 and 1.47.2 make of the least size with blocks of
    /// 4 KiB. Should another version make something else, ARCHITECTURE.md has to tell.
    const SMALLEST: &str = "6e29921bc4c6ccceae3199d6a80a364a";

    /// A folder of its own for a test; gone at its end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let name = format!("chaoscontrol-ext4-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).unwrap();
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn made(size: u64, folder: &Path) -> PathBuf {
        let tools = tools::locate(&|_| ()).unwrap_or_else(|e| panic!("{e}"));
        let work = folder.join(size.to_string());
        fs::create_dir_all(&work).unwrap();
        let steps = Steps::new(work.join("log"), &|_| ());
        let made = make(size, &tools, &work, &steps);
        made.unwrap_or_else(|stop| panic!("{stop}\n{}", tail(steps.log())))
    }

    #[test]
    fn it_is_the_same_whenever_and_wherever_it_is_made() {
        let (first, second) = (Folder::new("first"), Folder::new("second"));
        let one = fs::read(made(SMALL, &first.0)).unwrap();
        // File systems know times by the second.
        std::thread::sleep(std::time::Duration::from_millis(1100));
        let two = fs::read(made(SMALL, &second.0)).unwrap();
        assert_eq!(one.len() as u64, SMALL);
        assert!(one == two, "two runs of mke2fs made different bytes");
        // Where its superblock has its UUID.
        let uuid: String = one[1128..1144].iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(uuid, UUID.replace('-', ""));
        assert_eq!(format!("{:032x}", xxh3_128(&one)), SMALLEST);
    }

    #[test]
    fn every_size_is_sound_and_has_a_journal() {
        let folder = Folder::new("sizes");
        for size in [
            4 * MIB,
            SMALL - 4 * KIB,
            SMALL,
            100 * MIB + 4 * KIB,
            64 << 30,
        ] {
            let image = made(size, &folder.0);
            let check = Command::new("e2fsck").arg("-fn").arg(&image).output();
            // A host whose tools were fetched has none.
            if let Ok(check) = check {
                assert!(check.status.success(), "{size}: {check:?}");
            }
            let mut superblock = [0; 1024];
            use std::os::unix::fs::FileExt;
            let file = File::open(&image).unwrap();
            file.read_exact_at(&mut superblock, 1024).unwrap();
            // s_inodes_count, s_feature_compat with has_journal, s_mtime: never mounted.
            assert_ne!(superblock[..4], [0; 4]);
            assert_eq!(superblock[92] & 4, 4, "{size}");
            assert_eq!(superblock[44..48], [0; 4]);
        }
    }
}
