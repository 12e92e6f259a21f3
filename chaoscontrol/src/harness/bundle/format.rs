//! The bytes of a bundle: a head that tells whether the rest is whole, and a compressed rest.
//!
//! A bundle travels by mail and by chat, and comes from people one does not know. So nothing is
//! believed before its checksum is right, and nothing makes more of a host's memory than
//! [`MOST`] bytes, whatever it claims.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use xxhash_rust::xxh3::xxh3_128;

use super::{Bundle, BundleError};
use crate::devices::disk::DiskImage;
use crate::harness::regression;

/// What each bundle begins with.
const MAGIC: &[u8; 8] = b"CHAOSBDL";
/// The version of the form.
const VERSION: u32 = 1;
/// Magic, version, checksum of what follows, and its size unpacked.
const HEAD: usize = 8 + 4 + 16 + 8;

/// The most bytes of a bundle, packed as unpacked.
pub const MOST: u64 = 2 << 30;

/// Bytes of the pages in which a disk is written down; those of zeros are left out.
const PAGE: usize = 4096;

/// The bytes of `bundle`.
///
/// # Errors
/// It is larger than [`MOST`].
pub fn write(bundle: &Bundle) -> Result<Vec<u8>, BundleError> {
    let record = regression::write(std::slice::from_ref(&bundle.record));
    let mut rest = Rest {
        packer: DeflateEncoder::new(vec![0; HEAD], Compression::fast()),
        size: 0,
    };
    rest.part(&[record.as_bytes()])?;
    rest.part(&[bundle.test.as_bytes()])?;
    rest.part(&[bundle.failure.as_bytes()])?;
    rest.part(&[&[u8::from(bundle.has_check)]])?;
    rest.part(&[&bundle.kernel])?;
    rest.part(&[&bundle.initramfs])?;
    let disk = bundle.disk.as_ref().map_or(Ok(Vec::new()), pages)?;
    rest.part(&[&disk])?;
    let size = rest.size;
    let mut bytes = rest.packer.finish().map_err(BundleError::Pack)?;
    let sum = xxh3_128(&bytes[HEAD..]);
    let head = [
        &MAGIC[..],
        &VERSION.to_le_bytes(),
        &sum.to_le_bytes(),
        &size.to_le_bytes(),
    ];
    bytes[..HEAD].copy_from_slice(&head.concat());
    Ok(bytes)
}

struct Rest {
    packer: DeflateEncoder<Vec<u8>>,
    size: u64,
}

impl Rest {
    /// Adds a part: its length, and what it consists of.
    fn part(&mut self, pieces: &[&[u8]]) -> Result<(), BundleError> {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        self.size += 8 + length as u64;
        if self.size > MOST {
            return Err(BundleError::Oversized);
        }
        let mut put = |bytes: &[u8]| self.packer.write_all(bytes).map_err(BundleError::Pack);
        put(&(length as u64).to_le_bytes())?;
        pieces.iter().try_for_each(|piece| put(piece))
    }
}

/// A disk's size, and its pages that hold something, each after its number.
fn pages(disk: &DiskImage) -> Result<Vec<u8>, BundleError> {
    let mut bytes = disk.size().to_le_bytes().to_vec();
    let mut page = [0; PAGE];
    for number in 0..disk.size().div_ceil(PAGE as u64) {
        page.fill(0);
        let at = number * PAGE as u64;
        let length = (disk.size() - at).min(PAGE as u64) as usize;
        disk.read(at, &mut page[..length]);
        if page.iter().any(|byte| *byte != 0) {
            bytes.extend(number.to_le_bytes());
            bytes.extend(page);
        }
        if bytes.len() as u64 > MOST {
            return Err(BundleError::Oversized);
        }
    }
    Ok(bytes)
}

/// Reads a bundle.
///
/// # Errors
/// What is wrong with it.
pub fn read(bytes: &[u8]) -> Result<Bundle, BundleError> {
    if bytes.len() as u64 > MOST {
        return Err(BundleError::Oversized);
    }
    if !bytes.starts_with(MAGIC) {
        return Err(BundleError::NoBundle);
    }
    let Some((head, packed)) = bytes.split_at_checked(HEAD) else {
        return Err(BundleError::Damaged("ends within its head"));
    };
    let mut head = Parts(&head[MAGIC.len()..]);
    let version = u32::from_le_bytes(head.array()?);
    if version != VERSION {
        return Err(BundleError::Version {
            of: version,
            known: VERSION,
        });
    }
    let sum = u128::from_le_bytes(head.array()?);
    let size = u64::from_le_bytes(head.array()?);
    if sum != xxh3_128(packed) {
        return Err(BundleError::Damaged(
            "does not have the checksum that its head says",
        ));
    }
    if size > MOST {
        return Err(BundleError::Oversized);
    }
    let mut unpacked = Vec::new();
    DeflateDecoder::new(packed)
        .take(size + 1)
        .read_to_end(&mut unpacked)
        .map_err(|_| BundleError::Damaged("cannot be unpacked"))?;
    if unpacked.len() as u64 != size {
        return Err(BundleError::Damaged(
            "unpacks to another size than its head says",
        ));
    }
    contents(&unpacked)
}

fn contents(unpacked: &[u8]) -> Result<Bundle, BundleError> {
    let mut parts = Parts(unpacked);
    let record = regression::read(parts.text()?).map_err(BundleError::Record)?;
    let [record] = <[_; 1]>::try_from(record)
        .map_err(|_| BundleError::Damaged("holds another number of records than one"))?;
    let test = parts.text()?.to_owned();
    let failure = parts.text()?.to_owned();
    let has_check = parts.part()? == [1];
    let kernel = parts.part()?.into();
    let initramfs = parts.part()?.into();
    let disk = match parts.part()? {
        [] => None,
        bytes => Some(disk(bytes)?),
    };
    if !parts.0.is_empty() {
        return Err(BundleError::Damaged("goes on where it should end"));
    }
    Ok(Bundle {
        record,
        test,
        failure,
        has_check,
        kernel,
        initramfs,
        disk,
    })
}

fn disk(bytes: &[u8]) -> Result<DiskImage, BundleError> {
    let no_disk = |_: io::Error| BundleError::Damaged("has a disk of an impossible size");
    let mut parts = Parts(bytes);
    let size = u64::from_le_bytes(parts.array()?);
    let mut disk = DiskImage::zeroed(size).map_err(|e| no_disk(io::Error::other(e)))?;
    while !parts.0.is_empty() {
        let number = u64::from_le_bytes(parts.array()?);
        let page: [u8; PAGE] = parts.array()?;
        let at = number.checked_mul(PAGE as u64).filter(|at| *at < size);
        let at = at.ok_or(BundleError::Damaged(
            "has a page behind the end of its disk",
        ))?;
        let length = (size - at).min(PAGE as u64) as usize;
        disk.write(at, &page[..length]);
    }
    Ok(disk)
}

/// What is left to be read.
struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], BundleError> {
        let split = self.0.split_at_checked(length);
        let (taken, left) = split.ok_or(BundleError::Damaged("ends within one of its parts"))?;
        self.0 = left;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BundleError> {
        let taken = self.take(N)?;
        Ok(taken.try_into().expect("so many were taken"))
    }

    fn part(&mut self) -> Result<&'a [u8], BundleError> {
        let length = u64::from_le_bytes(self.array()?);
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn text(&mut self) -> Result<&'a str, BundleError> {
        let text = std::str::from_utf8(self.part()?);
        text.map_err(|_| BundleError::Damaged("has a text that is none"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Stream;
    use crate::harness::regression::example;

    fn bundle() -> Bundle {
        let mut disk = DiskImage::zeroed(3 * 4096 + 512).unwrap();
        disk.write(4096, b"here");
        disk.write(3 * 4096 + 510, b"is");
        Bundle {
            record: example(),
            test: "a::b".to_owned(),
            failure: "two leaders\n".to_owned(),
            has_check: true,
            kernel: vec![7; 30_000].into(),
            initramfs: (0..90_000u32)
                .map(|i| (i.wrapping_mul(i) >> 7) as u8)
                .collect(),
            disk: Some(disk),
        }
    }

    fn error(bytes: &[u8]) -> String {
        read(bytes).unwrap_err().to_string()
    }

    /// `bytes` with the checksum of what they hold.
    fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
        let sum = xxh3_128(&bytes[HEAD..]);
        bytes[12..28].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    #[test]
    fn what_is_written_is_read_again() {
        let without = Bundle {
            disk: None,
            has_check: false,
            ..bundle()
        };
        for bundle in [bundle(), without] {
            let bytes = write(&bundle).unwrap();
            assert!(bytes.len() < 110_000, "{}", bytes.len());
            assert_eq!(read(&bytes).unwrap(), bundle);
        }
    }

    #[test]
    fn each_damage_has_its_error() {
        let bytes = write(&bundle()).unwrap();
        assert!(error(b"[[failure]]").contains("is no bundle"));
        assert!(error(&bytes[..20]).contains("ends within its head"));
        assert!(error(&bytes[..bytes.len() - 1]).contains("checksum"));
        let mut later = bytes.clone();
        later[8] = 9;
        assert!(error(&later).contains("version 9, and this chaoscontrol reads version 1"));
        let mut flipped = bytes.clone();
        flipped[HEAD + 99] ^= 4;
        assert!(error(&flipped).contains("checksum"));
        let mut bomb = bytes.clone();
        bomb[28..36].copy_from_slice(&(MOST + 1).to_le_bytes());
        assert!(error(&bomb).contains("2 GiB"));
        let mut more = bytes.clone();
        more[28] += 1;
        assert!(error(&more).contains("another size"));
        // What unpacks to more than it claims is given up there.
        let mut zeros = DeflateEncoder::new(bytes[..HEAD].to_vec(), Compression::best());
        zeros.write_all(&vec![0; 64 << 20]).unwrap();
        let mut zeros = zeros.finish().unwrap();
        zeros[28..36].copy_from_slice(&1000u64.to_le_bytes());
        assert!(error(&sealed(zeros)).contains("another size"));
    }

    #[test]
    fn whatever_somebody_changes_is_an_error_or_a_bundle() {
        let bytes = write(&bundle()).unwrap();
        let mut unpacked = Vec::new();
        let mut decoder = DeflateDecoder::new(&bytes[HEAD..]);
        decoder.read_to_end(&mut unpacked).unwrap();
        let mut errors = 0;
        for seed in 0..400 {
            let mut stream = Stream::new(seed, "bundle", &[]);
            // Of the packed bytes, with a right checksum, and of the unpacked ones.
            let mut packed = bytes.clone();
            let mut plain = unpacked.clone();
            for bytes in [&mut packed, &mut plain] {
                for _ in 0..=stream.below(4) {
                    // The first bytes hold most of what there is to misread.
                    let reach = [64, 4096, bytes.len()][stream.index(3)].min(bytes.len());
                    let at = stream.index(reach);
                    match stream.below(3) {
                        0 => bytes.truncate(at.max(HEAD)),
                        1 => bytes[at] = stream.bits() as u8,
                        _ => bytes[at] ^= 1 << stream.below(8),
                    }
                }
            }
            errors += u32::from(read(&packed).is_err());
            errors += u32::from(read(&sealed(packed)).is_err());
            errors += u32::from(contents(&plain).is_err());
        }
        assert!(errors > 600, "{errors}");
    }
}
