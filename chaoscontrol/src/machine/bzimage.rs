//! Takes the ELF kernel out of a bzImage on the host, so that no guest spends millions of
//! instructions on decompressing it.

use std::io::Read;

use super::boot::BootError;

/// More than any kernel unpacks to, in bytes.
const MAX_KERNEL: u64 = 512 << 20;

/// Whether `image` has the magic numbers of a bzImage's setup sector.
pub fn is_bzimage(image: &[u8]) -> bool {
    image.get(0x1FE..0x200) == Some(&[0x55, 0xAA]) && image.get(0x202..0x206) == Some(b"HdrS")
}

fn word(image: &[u8], at: usize) -> u64 {
    match image.get(at..at + 4) {
        Some(bytes) => u64::from(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])),
        None => 0,
    }
}

/// The payload of a bzImage (boot protocol 2.08 and later), unpacked. gzip and zstd are
/// understood.
///
/// # Errors
/// An older protocol, another compression, a damaged stream.
pub fn unpack(image: &[u8]) -> Result<Vec<u8>, BootError> {
    let fail = |text: String| BootError::Payload(text);
    let sectors = match image[0x1F1] {
        0 => 4,
        n => u64::from(n),
    };
    let start = (sectors + 1) * 512 + word(image, 0x248);
    let end = start + word(image, 0x24C);
    let payload = image
        .get(start as usize..end as usize)
        .filter(|payload| !payload.is_empty())
        .ok_or_else(|| fail("it names no payload inside of the file".into()))?;
    let format = match payload {
        [0x7F, b'E', b'L', b'F', ..] => return Ok(payload.to_vec()),
        [0x1F, 0x8B, ..] => {
            return read(flate2::read::GzDecoder::new(payload));
        }
        [0x28, 0xB5, 0x2F, 0xFD, ..] => {
            let decoder = ruzstd::decoding::StreamingDecoder::new(payload)
                .map_err(|e| fail(e.to_string()))?;
            return read(decoder);
        }
        [0xFD, b'7', b'z', ..] => "xz",
        [b'B', b'Z', b'h', ..] => "bzip2",
        [0x5D, 0, 0, ..] => "lzma",
        [0x89, b'L', b'Z', b'O', ..] => "lzo",
        [0x02, 0x21, 0x4C, 0x18, ..] => "lz4",
        _ => "an unknown format",
    };
    Err(fail(format!(
        "it is compressed with {format}; gzip and zstd are supported. \
         Unpack it with the kernel's scripts/extract-vmlinux and name the vmlinux"
    )))
}

fn read(decoder: impl Read) -> Result<Vec<u8>, BootError> {
    let mut kernel = Vec::new();
    decoder
        .take(MAX_KERNEL)
        .read_to_end(&mut kernel)
        .map_err(|e| BootError::Payload(e.to_string()))?;
    Ok(kernel)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A bzImage with this payload.
    pub fn image(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 1024];
        image[0x1F1] = 1;
        image[0x1FE..0x200].copy_from_slice(&[0x55, 0xAA]);
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x24C..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        image.extend(payload);
        image
    }

    #[test]
    fn gzip_is_unpacked() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, b"\x7fELF kernel").unwrap();
        let image = image(&packed.finish().unwrap());
        assert!(is_bzimage(&image));
        assert_eq!(unpack(&image).unwrap(), b"\x7fELF kernel");
        assert!(unpack(&image[..image.len() - 1]).is_err());
    }

    #[test]
    fn other_formats_are_named() {
        let error = unpack(&image(b"\xFD7zXZ")).unwrap_err().to_string();
        assert!(error.contains("compressed with xz"), "{error}");
        assert!(unpack(&image(b"")).is_err());
        assert!(!is_bzimage(b"MZ"));
    }
}
