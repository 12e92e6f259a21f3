//! Guests of a few instructions, for experiments, benchmarks and tests of the machine itself.

use crate::cpu::regions::HIGH_START;

/// Where a [`flat_kernel`] is loaded and entered.
pub const FLAT_ENTRY: u64 = HIGH_START;

/// An ELF executable of the machine code `code`, which is entered at [`FLAT_ENTRY`] in
/// long mode, ring 0, with the first GiB mapped to itself and interrupts off.
pub fn flat_kernel(code: &[u8]) -> Vec<u8> {
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(16, 0);
    elf.extend(2u16.to_le_bytes()); // ET_EXEC
    elf.extend(62u16.to_le_bytes()); // EM_X86_64
    elf.extend(1u32.to_le_bytes());
    elf.extend(FLAT_ENTRY.to_le_bytes());
    elf.extend(64u64.to_le_bytes()); // program headers
    elf.extend(0u64.to_le_bytes()); // section headers
    elf.extend(0u32.to_le_bytes());
    elf.extend([64, 56, 1, 64, 0, 0].map(u16::to_le_bytes).as_flattened());
    elf.extend(1u32.to_le_bytes()); // PT_LOAD
    elf.extend(7u32.to_le_bytes());
    let size = code.len() as u64;
    for field in [120, FLAT_ENTRY, FLAT_ENTRY, size, size, 1] {
        elf.extend(field.to_le_bytes());
    }
    elf.extend(code);
    elf
}
