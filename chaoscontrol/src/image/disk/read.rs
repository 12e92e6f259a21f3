//! Reads an image as what it is made of: mostly nothing.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use super::DiskError;
use crate::devices::disk::DiskImage;

/// Bytes read at once, a multiple of [`PAGE`].
const CHUNK: usize = 1 << 20;
/// Bytes of what counts as empty or not: a hash does not know where holes are.
const PAGE: usize = 4096;

/// A new disk, and the file that it was read from.
#[derive(Clone, Debug)]
pub struct BaseImage {
    /// What it holds.
    pub image: DiskImage,
    /// XXH3-128 of its size and all that is not zero.
    pub hash: u128,
    /// The file that has to stay as it is.
    watched: Option<(PathBuf, Stamp)>,
}

/// What changes with a file's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    size: u64,
    /// Device and number of the file.
    file: (u64, u64),
    /// Last writes, to bytes and to anything: seconds and ns.
    written: [i64; 4],
}

impl Stamp {
    fn of(data: &Metadata) -> Stamp {
        Stamp {
            size: data.len(),
            file: (data.dev(), data.ino()),
            written: [
                data.mtime(),
                data.mtime_nsec(),
                data.ctime(),
                data.ctime_nsec(),
            ],
        }
    }
}

impl BaseImage {
    /// Reads the file `path`. What it holds is kept in memory, but for pages of zeros.
    pub(super) fn read(path: &Path) -> Result<BaseImage, DiskError> {
        let shown = || path.display().to_string();
        let failed = |source| DiskError::Read {
            path: shown(),
            source,
        };
        // A pipe would be waited for when it is opened.
        if !path.metadata().map_err(failed)?.is_file() {
            return Err(DiskError::NoFile { path: shown() });
        }
        let file = File::open(path).map_err(failed)?;
        let stamp = Stamp::of(&file.metadata().map_err(failed)?);
        let mut image = DiskImage::zeroed(stamp.size).map_err(|source| DiskError::Size {
            path: shown(),
            source,
        })?;
        let hash = fill(&mut image, &file).map_err(failed)?;
        // Somebody wrote to it meanwhile: what was read may never have been there.
        if Stamp::of(&file.metadata().map_err(failed)?) != stamp {
            return Err(DiskError::Changed { path: shown() });
        }
        Ok(BaseImage {
            image,
            hash,
            watched: Some((path.to_owned(), stamp)),
        })
    }

    /// The same, of which no more than its bytes matters: it can be made again.
    pub(super) fn unwatched(self) -> BaseImage {
        BaseImage {
            watched: None,
            ..self
        }
    }

    /// Looks whether a user's file still holds what was read.
    ///
    /// # Errors
    /// [`DiskError::Changed`] if it does not, or is gone.
    pub fn check(&self) -> Result<(), DiskError> {
        let Some((path, stamp)) = &self.watched else {
            return Ok(());
        };
        if path.metadata().is_ok_and(|data| Stamp::of(&data) == *stamp) {
            return Ok(());
        }
        // Somebody touched it, perhaps without any change.
        match BaseImage::read(path) {
            Ok(now) if now.hash == self.hash => Ok(()),
            _ => Err(DiskError::Changed {
                path: path.display().to_string(),
            }),
        }
    }
}

/// Writes what `file` holds to `image`, which is of its size; answers the hash.
fn fill(image: &mut DiskImage, file: &File) -> io::Result<u128> {
    let size = image.size();
    let mut hash = Xxh3::new();
    hash.update(&size.to_le_bytes());
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    while let Some(data) = data_from(file, at, size)? {
        // Holes may begin and end anywhere.
        at = data - data % PAGE as u64;
        let length = (size - at).min(CHUNK as u64) as usize;
        file.read_exact_at(&mut buffer[..length], at)?;
        for page in buffer[..length].chunks(PAGE) {
            if page.iter().any(|byte| *byte != 0) {
                hash.update(&at.to_le_bytes());
                hash.update(page);
                image.write(at, page);
            }
            at += page.len() as u64;
        }
    }
    Ok(hash.digest128())
}

/// The first byte from `at` on that is not in a hole of `file`, below `size`.
fn data_from(file: &File, at: u64, size: u64) -> io::Result<Option<u64>> {
    if at >= size {
        return Ok(None);
    }
    let offset = libc::off_t::try_from(at).map_err(io::Error::other)?;
    // SAFETY: lseek(2) takes integers only, and the descriptor is open.
    let data = unsafe { libc::lseek(file.as_raw_fd(), offset, libc::SEEK_DATA) };
    let error = io::Error::last_os_error();
    match (u64::try_from(data), error.raw_os_error()) {
        (Ok(data), _) => Ok(Some(data).filter(|data| *data < size)),
        (Err(_), Some(libc::ENXIO)) => Ok(None),
        // A file system that knows no holes.
        (Err(_), Some(libc::EINVAL)) => Ok(Some(at)),
        (Err(_), _) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Image(PathBuf);

    impl Image {
        fn new(name: &str) -> Image {
            let name = format!("chaoscontrol-image-{name}-{}", std::process::id());
            Image(std::env::temp_dir().join(name))
        }

        fn error(&self) -> String {
            BaseImage::read(&self.0).unwrap_err().to_string()
        }
    }

    impl Drop for Image {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    #[test]
    fn holes_and_zeros_cost_nothing_and_make_no_difference() {
        const SIZE: u64 = (8 << 30) + 512;
        let sparse = Image::new("sparse");
        let file = File::create(&sparse.0).unwrap();
        file.set_len(SIZE).unwrap();
        file.write_all_at(b"here", 5 * 4096 + 7).unwrap();
        file.write_all_at(&[0; 9000], 4 << 30).unwrap();
        file.write_all_at(b"end", SIZE - 3).unwrap();
        let one = BaseImage::read(&sparse.0).unwrap();
        let read = |at: u64| {
            let mut bytes = [0; 4];
            one.image.read(at, &mut bytes);
            bytes
        };
        assert_eq!(read(5 * 4096 + 7), *b"here");
        assert_eq!(read(SIZE - 4), *b"\0end");
        assert!(one.image.held_bytes() < 64 << 10);
        file.write_all_at(&[0; 4096], 1 << 30).unwrap();
        let two = BaseImage::read(&sparse.0).unwrap();
        assert_eq!(one.hash, two.hash);
        file.set_len(SIZE + 512).unwrap();
        assert_ne!(BaseImage::read(&sparse.0).unwrap().hash, one.hash);
        file.set_len(SIZE).unwrap();
        file.write_all_at(&[0; 4], 5 * 4096 + 7).unwrap();
        file.write_all_at(b"here", 6 * 4096 + 7).unwrap();
        let moved = BaseImage::read(&sparse.0).unwrap();
        assert_ne!(moved.hash, one.hash, "the same page elsewhere");
    }

    #[test]
    fn what_is_no_image_is_named() {
        let image = Image::new("odd");
        assert!(image.error().contains("cannot be read: No such file"));
        fs::write(&image.0, []).unwrap();
        assert!(image.error().contains("a disk of 0 bytes is not possible"));
        fs::write(&image.0, [1; 700]).unwrap();
        let error = image.error();
        assert!(error.contains("700 bytes") && error.contains(image.0.to_str().unwrap()));
        let folder = Image(std::env::temp_dir().join("."));
        assert!(folder.error().contains("is no file"));
    }

    #[test]
    fn a_change_is_noticed_and_a_touch_is_none() {
        let image = Image::new("changed");
        fs::write(&image.0, [7; 1024]).unwrap();
        let read = BaseImage::read(&image.0).unwrap();
        read.check().unwrap();
        fs::write(&image.0, [7; 1024]).unwrap();
        read.check().unwrap();
        fs::write(&image.0, [8; 1024]).unwrap();
        let error = read.check().unwrap_err().to_string();
        assert!(error.contains("was changed while it was in use"), "{error}");
        fs::remove_file(&image.0).unwrap();
        assert!(matches!(read.check(), Err(DiskError::Changed { .. })));
    }
}
