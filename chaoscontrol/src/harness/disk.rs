//! The key `disk`: the size of an empty file system, or the path of an image.

use std::fmt;

use super::settings::size;

/// Bytes of the smallest disk that has room for a file system with a journal.
pub const LEAST: u64 = 4 << 20;
/// Bytes of the largest disk.
pub const MOST: u64 = 64 << 30;
/// What a size is a multiple of.
const PAGE: u64 = 4096;

/// What each VM's disk holds when it is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Disk<P = String> {
    /// An empty file system on so many bytes.
    Empty(u64),
    /// An image, relative to the package.
    Image(P),
}

impl<P> Disk<P> {
    /// What says that there is no disk, where a place of less weight names one.
    pub const NONE: &str = "none";

    /// What a user can write.
    pub const WANTED: &str = "a size from 4M to 64G in whole pages of 4K, as in 64M, the path of an image, as in disk.img, or none";

    /// The same with another kind of path.
    pub fn map<Q>(self, path: impl FnOnce(P) -> Q) -> Disk<Q> {
        match self {
            Disk::Empty(size) => Disk::Empty(size),
            Disk::Image(name) => Disk::Image(path(name)),
        }
    }
}

impl Disk {
    /// Reads `64M` or `path.img`. What begins with a digit and has no more than digits and
    /// letters is meant for a size.
    pub fn read(text: &str) -> Option<Disk> {
        let text = text.trim();
        let is_size = text.starts_with(|c: char| c.is_ascii_digit())
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ' ');
        if !is_size {
            return (!text.is_empty()).then(|| Disk::Image(text.to_owned()));
        }
        let size = size(text)?;
        let fits = (LEAST..=MOST).contains(&size) && size.is_multiple_of(PAGE);
        fits.then_some(Disk::Empty(size))
    }
}

impl fmt::Display for Disk {
    /// As [`Disk::read`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = match self {
            Disk::Image(path) => return f.write_str(path),
            Disk::Empty(size) => size,
        };
        let units = [(30, "G"), (20, "M"), (10, "K"), (0, "")];
        let whole = |(shift, _): &(u32, &str)| size.is_multiple_of(1 << shift);
        let (shift, unit) = units.into_iter().find(whole).unwrap_or((0, ""));
        write!(f, "{}{unit}", size >> shift)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        assert_eq!(Disk::read(" 64M"), Some(Disk::Empty(64 << 20)));
        for text in [
            "64M",
            "65M",
            "tests/disk.img",
            "./64M",
            "a",
            "64.img",
            "/x y/z",
        ] {
            assert_eq!(Disk::read(text).unwrap().to_string(), text);
        }
        for wrong in ["", " ", "5", "1T", "3M", "65537M", "64 MB", "4194816"] {
            assert_eq!(Disk::read(wrong), None, "{wrong}");
        }
        assert_eq!(Disk::Empty(64 << 30).to_string(), "64G");
        assert_eq!(Disk::Empty((4 << 20) + 4096).to_string(), "4100K");
    }
}
