//! Tiny hand-assembled guests for tests.

/// An ELF executable whose `code` is entered at 0x10_0000 in long mode.
pub fn tiny_kernel(code: &[u8]) -> Vec<u8> {
    const ENTRY: u64 = 0x10_0000;
    let mut elf = Vec::new();
    elf.extend(b"\x7fELF\x02\x01\x01");
    elf.resize(16, 0);
    elf.extend(2u16.to_le_bytes()); // ET_EXEC
    elf.extend(62u16.to_le_bytes()); // EM_X86_64
    elf.extend(1u32.to_le_bytes());
    elf.extend(ENTRY.to_le_bytes());
    elf.extend(64u64.to_le_bytes()); // program headers
    elf.extend(0u64.to_le_bytes());
    elf.extend(0u32.to_le_bytes());
    elf.extend([64, 56, 1, 64, 0, 0].map(u16::to_le_bytes).as_flattened());
    elf.extend(1u32.to_le_bytes()); // PT_LOAD
    elf.extend(7u32.to_le_bytes());
    let size = code.len() as u64;
    for field in [120, ENTRY, ENTRY, size, size, 1] {
        elf.extend(field.to_le_bytes());
    }
    elf.extend(code);
    elf
}
