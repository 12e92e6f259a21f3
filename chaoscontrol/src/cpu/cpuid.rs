//! What CPUID answers: one CPU for every host, x86-64-v2 without XSAVE.
//!
//! The vendor is AMD, family 17h: Linux then needs no page-table isolation, finds
//! cache sizes in plain leaves, and calibrates nothing through model-specific
//! registers. The `lean` profile shows neither a TSC nor an APIC, so a kernel takes
//! its time from the PM timer and its interrupts from the PIC.

/// EAX, EBX, ECX, EDX.
pub type Registers = [u32; 4];

/// Family 17h, model 1, stepping 2.
const SIGNATURE: u32 = 0x0080_0F12;

/// FPU, DE, PSE, MSR, PAE, CX8, PGE, CMOV, PAT, PSE36, CLFSH, MMX, FXSR, SSE, SSE2.
const FEATURES_EDX: u32 = 1
    | 1 << 2
    | 1 << 3
    | 1 << 5
    | 1 << 6
    | 1 << 8
    | 1 << 13
    | 1 << 15
    | 1 << 16
    | 1 << 17
    | 1 << 19
    | 1 << 23
    | 1 << 24
    | 1 << 25
    | 1 << 26;

/// SSE3, SSSE3, CX16, SSE4.1, SSE4.2, POPCNT, and the bit that says "hypervisor".
const FEATURES_ECX: u32 = 1 | 1 << 9 | 1 << 13 | 1 << 19 | 1 << 20 | 1 << 23 | 1 << 31;

/// What leaf 0x8000_0001 repeats of leaf 1: its first 18 bits without SEP, MMX and FXSR.
const REPEATED: u32 = 0x0183_F3FF;

/// SYSCALL, NX, 1 GiB pages, long mode.
const EXTENDED_EDX: u32 = 1 << 11 | 1 << 20 | 1 << 26 | 1 << 29;

/// LAHF, PREFETCHW, topology extensions.
const EXTENDED_ECX: u32 = 1 | 1 << 8 | 1 << 22;

/// LFENCE always serializes; a null selector clears the base.
const EXTENDED2_EAX: u32 = 1 << 2 | 1 << 6;

const BRAND: &[u8; 48] = b"ChaosControl virtual x86-64-v2 CPU\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

fn text(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

/// A cache in the form of leaf 0x8000_001D: kind (1 data, 2 code, 3 both), level, ways, sets; 64-byte lines.
fn cache(kind: u32, level: u32, ways: u32, sets: u32) -> Registers {
    [
        kind | level << 5 | 1 << 8,
        63 | (ways - 1) << 22,
        sets - 1,
        0,
    ]
}

/// The leaves with an answer, and how many subleaves ECX chooses from; 0 where it does not.
pub const LEAVES: &[(u32, u32)] = &[
    (0, 0),
    (1, 0),
    (0x4000_0000, 0),
    (0x8000_0000, 0),
    (0x8000_0001, 0),
    (0x8000_0002, 0),
    (0x8000_0003, 0),
    (0x8000_0004, 0),
    (0x8000_0005, 0),
    (0x8000_0006, 0),
    (0x8000_0008, 0),
    (0x8000_001D, 4),
    (0x8000_0021, 0),
];

/// The answer to leaf EAX and subleaf ECX; all zeros for what is not listed.
pub fn cpuid(leaf: u32, subleaf: u32) -> Registers {
    let vendor = b"AuthenticAMD";
    match leaf {
        0 | 0x8000_0000 => [
            if leaf == 0 { 0xD } else { 0x8000_0021 },
            text(vendor, 0),
            text(vendor, 8),
            text(vendor, 4),
        ],
        // One logical processor, 64-byte lines for CLFLUSH.
        1 => [SIGNATURE, 1 << 16 | 8 << 8, FEATURES_ECX, FEATURES_EDX],
        0x4000_0000 => {
            let name = b"ChaosControl";
            [leaf, text(name, 0), text(name, 4), text(name, 8)]
        }
        0x8000_0001 => [
            SIGNATURE,
            0,
            EXTENDED_ECX,
            EXTENDED_EDX | FEATURES_EDX & REPEATED,
        ],
        0x8000_0002..=0x8000_0004 => {
            let at = (leaf - 0x8000_0002) as usize * 16;
            [0, 4, 8, 12].map(|n| text(BRAND, at + n))
        }
        // TLBs; L1 data 32 KiB in 8 ways, L1 code 64 KiB in 4.
        0x8000_0005 => [0xFF40_FF40, 0xFF40_FF40, 0x2008_0140, 0x4004_0140],
        // TLBs; L2 512 KiB in 8 ways, L3 8 MiB in 16.
        0x8000_0006 => [0x2600_6400, 0x6600_6400, 0x0200_6140, 0x0040_8140],
        // 40 physical and 48 virtual address bits, one core.
        0x8000_0008 => [48 << 8 | 40, 0, 0, 0],
        0x8000_001D => match subleaf {
            0 => cache(1, 1, 8, 64),
            1 => cache(2, 1, 4, 256),
            2 => cache(3, 2, 8, 1024),
            3 => cache(3, 3, 16, 8192),
            _ => [0; 4],
        },
        0x8000_0021 => [EXTENDED2_EAX, 0, 0, 0],
        _ => [0; 4],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_tsc_nor_apic_nor_avx_shows() {
        let [_, _, ecx, edx] = cpuid(1, 0);
        assert_eq!(edx & (1 << 4 | 1 << 9), 0);
        assert_eq!(ecx & (1 << 26 | 1 << 27 | 1 << 28 | 1 << 30), 0);
        assert_eq!(cpuid(7, 0), [0; 4]);
        assert_eq!(cpuid(0x8000_0001, 0)[3] & (1 << 4 | 1 << 27), 0);
    }

    #[test]
    fn leaves_with_an_answer_are_listed() {
        for leaf in (0..0x100)
            .chain(0x4000_0000..0x4000_0100)
            .chain(0x8000_0000..0x8000_0100)
        {
            let subleaves = LEAVES.iter().find(|l| l.0 == leaf).map(|l| l.1);
            for subleaf in 0..8 {
                let listed = subleaves.is_some_and(|n| n == 0 || subleaf < n);
                assert_eq!(
                    cpuid(leaf, subleaf) != [0; 4],
                    listed,
                    "{leaf:#x} {subleaf}"
                );
            }
        }
    }

    #[test]
    fn the_signature_is_found() {
        let [_, b, c, d] = cpuid(0x4000_0000, 0);
        let name: Vec<u8> = [b, c, d].iter().flat_map(|w| w.to_le_bytes()).collect();
        assert_eq!(name, b"ChaosControl");
    }
}
