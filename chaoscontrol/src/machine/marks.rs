//! What a guest kernel can do beyond stock Linux, by the texts that our patches leave in it.
//!
//! On the software CPU any kernel is deterministic. On hardware one must keep RDTSC from
//! programs, which has to be known before it runs.

use super::boot::BootError;
use super::bzimage;

/// In a kernel that answers the RDTSC of programs from its own clock.
pub(crate) const TRAPS_RDTSC: &str = "chaoscontrol: RDTSC of programs is trapped";

/// In a kernel that counts its edges in the table at 0xE0000.
pub(crate) const COUNTS_EDGES: &str = "chaoscontrol: edges are counted at e0000";

/// Whether `kernel`, an ELF vmlinux or a bzImage, keeps the host's time stamp counter from
/// programs: user mode always has CR4.TSD set, and RDTSC counts the kernel's clock at 3 ticks
/// per ns. The kernel that this project builds does; one that cannot be read does not.
pub fn traps_rdtsc(kernel: &[u8]) -> bool {
    holds(kernel, TRAPS_RDTSC).unwrap_or(false)
}

/// Whether `kernel`, an ELF vmlinux or a bzImage, counts its own edges where the host reads
/// them.
pub fn counts_edges(kernel: &[u8]) -> bool {
    holds(kernel, COUNTS_EDGES).unwrap_or(false)
}

fn holds(kernel: &[u8], mark: &str) -> Result<bool, BootError> {
    let unpacked;
    let elf = if bzimage::is_bzimage(kernel) {
        unpacked = bzimage::unpack(kernel)?;
        &unpacked
    } else {
        kernel
    };
    // With its final zero, so that a longer text is another mark.
    let mark = [mark.as_bytes(), &[0]].concat();
    Ok(elf.windows(mark.len()).any(|window| window == mark))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_mark_is_found_whole_or_not_at_all() {
        assert!(traps_rdtsc(
            format!("\x7fELF {TRAPS_RDTSC}\0 more").as_bytes()
        ));
        assert!(!traps_rdtsc(format!("\x7fELF {TRAPS_RDTSC}!\0").as_bytes()));
        assert!(!traps_rdtsc(TRAPS_RDTSC.as_bytes()));
        assert!(!traps_rdtsc(b""));
    }

    #[test]
    fn a_bzimage_is_looked_into() {
        let kernel = format!("\x7fELF {TRAPS_RDTSC}\0");
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&kernel.repeat(2).into_bytes()).unwrap();
        let image = bzimage::tests::image(&packed.finish().unwrap());
        assert!(traps_rdtsc(&image));
        assert!(!traps_rdtsc(&image[..image.len() - 1]));
    }
}
