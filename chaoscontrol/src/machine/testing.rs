//! Tiny hand-assembled guests for tests.

use chaoscontrol_guest::protocol::VERSION;

pub use super::flat::flat_kernel as tiny_kernel;

/// Where the guests below keep their results.
pub const RESULTS: u64 = 0x20_0000;

/// Reads the PM timer, stores it, and writes a letter to COM1, for ever.
pub fn busy_guest() -> Vec<u8> {
    let mut code = vec![0x31, 0xC9]; // xor ecx, ecx
    code.extend([0xBF, 0, 0, 0x20, 0]); // mov edi, RESULTS
    let top = code.len();
    code.extend([0x66, 0xBA, 0x08, 0x06, 0xED]); // mov dx, 0x608; in eax, dx
    code.extend([0x89, 0x04, 0x8F, 0xFF, 0xC1]); // mov [rdi + rcx * 4], eax; inc ecx
    code.extend([0x81, 0xE1, 0xFF, 0xFF, 0, 0]); // and ecx, 0xFFFF
    code.extend([0xB0, b'a', 0x66, 0xBA, 0xF8, 0x03, 0xEE]); // mov al, 'a'; mov dx, 0x3F8; out dx, al
    let back = -(code.len() as i8 + 2 - top as i8);
    code.extend([0xEB, back as u8]); // jmp top
    tiny_kernel(&code)
}

/// Counts the PIT's interrupts, 1 ms apart, and sleeps in between.
pub fn timer_guest() -> Vec<u8> {
    timed_guest(&[])
}

/// Like [`timer_guest`], and sends the SDK message `SetupComplete` at each interrupt.
pub fn beacon_guest() -> Vec<u8> {
    let mut body = vec![0xBF, 0xF0, 0x01, 0x10, 0x00]; // mov edi, 0x1001F0
    body.extend([0xBE, 1, 0, 0, 0, 0xB8]); // mov esi, 1; mov eax, VERSION
    body.extend(VERSION.to_le_bytes());
    body.extend([0x66, 0xBA, 0x10, 0x05, 0xEF]); // mov dx, 0x510; out dx, eax
    timed_guest(&body)
}

/// Like [`timer_guest`], but never sleeps.
pub fn spinning_guest() -> Vec<u8> {
    let mut kernel = timed_guest(&[]);
    // sti; hlt; jmp becomes sti; nop; jmp.
    let at = kernel
        .windows(4)
        .position(|w| w == [0xFB, 0xF4, 0xEB, 0xFC]);
    kernel[at.expect("the guest sleeps") + 1] = 0x90;
    kernel
}

fn timed_guest(body: &[u8]) -> Vec<u8> {
    let mut code = vec![0x0F, 0x01, 0x1C, 0x25, 0x80, 0x01, 0x10, 0x00]; // lidt [0x100180]
    let outs = [
        (0x20, 0x11),
        (0x21, 0x20),
        (0x21, 0x04),
        (0x21, 0x01),
        (0x21, 0xFE),
        (0x43, 0x34),
        (0x40, 0xA9),
        (0x40, 0x04),
    ];
    for (port, value) in outs {
        code.extend([0xB0, value, 0xE6, port]); // mov al, value; out port, al
    }
    code.extend([0xFB, 0xF4, 0xEB, 0xFC]); // sti; hlt; jmp to the sti
    code.resize(0x100, 0x90);
    code.extend([0xFF, 0x04, 0x25, 0, 0, 0x20, 0]); // inc dword [RESULTS]
    code.extend(body);
    code.extend([0xB0, 0x20, 0xE6, 0x20, 0x48, 0xCF]); // mov al, 0x20; out 0x20, al; iretq
    code.resize(0x180, 0x90);
    code.extend(0x20Fu16.to_le_bytes());
    code.extend(0x10_1000u64.to_le_bytes());
    code.resize(0x1F0, 0);
    code.push(4);
    code.resize(0x1200, 0);
    let handler = 0x10_0100u64;
    let gate = (handler & 0xFFFF) | 0x10 << 16 | 0x8E << 40 | (handler >> 16) << 48;
    code.extend(gate.to_le_bytes());
    code.extend([0; 8]);
    tiny_kernel(&code)
}

/// Blocks of 4 KiB that [`disk_guest`] writes to, one after the other.
pub const DISK_GUEST_BLOCKS: u64 = 64;

/// Writes to its disk for ever, and never flushes: the n-th request writes n into the first and
/// the last sector of block n mod 64. After `halt_after` of them it goes off by itself.
pub fn disk_guest(halt_after: u32) -> Vec<u8> {
    const TABLE: u32 = 0x10_1000;
    const HEADER: u32 = 0x10_1100;
    const STATUS: u32 = 0x10_1120;
    const AVAILABLE: u32 = 0x10_1200;
    const USED: u32 = 0x10_1300;
    const DATA: u32 = 0x10_2000;
    // A 1 GiB page for the devices' windows: mov rax, imm64; mov [PDPT + 24], rax.
    let mut code = vec![0x48, 0xB8];
    code.extend(0xC000_0083u64.to_le_bytes());
    code.extend([0x48, 0x89, 0x04, 0x25, 0x18, 0xA0, 0, 0]);
    code.extend([0xBF, 0, 0, 0, 0xD0]); // mov edi, 0xD0000000
    let registers = [
        (0x070, 3),
        (0x024, 0),
        (0x020, 1 << 9), // FLUSH
        (0x024, 1),
        (0x020, 1), // VERSION_1
        (0x070, 11),
        (0x038, 4),
        (0x080, TABLE),
        (0x090, AVAILABLE),
        (0x0A0, USED),
        (0x044, 1),
        (0x070, 15),
    ];
    for (register, value) in registers {
        code.extend([0xC7, 0x87]); // mov dword [rdi + register], value
        code.extend([u32::to_le_bytes(register), value.to_le_bytes()].concat());
    }
    let absolute = |code: &mut Vec<u8>, opcode: &[u8], address: u32| {
        code.extend(opcode);
        code.extend(address.to_le_bytes());
    };
    code.extend([0x31, 0xC9]); // xor ecx, ecx
    let top = code.len();
    code.extend([0xFF, 0xC1]); // inc ecx
    absolute(&mut code, &[0x89, 0x0C, 0x25], DATA); // mov [DATA], ecx
    absolute(&mut code, &[0x89, 0x0C, 0x25], DATA + 0xE00);
    code.extend([0x89, 0xC8, 0x83, 0xE0, 0x3F, 0xC1, 0xE0, 3]); // mov eax, ecx; and eax, 63; shl eax, 3
    absolute(&mut code, &[0x89, 0x04, 0x25], HEADER + 8); // the sector
    absolute(&mut code, &[0x66, 0x89, 0x0C, 0x25], AVAILABLE + 2);
    code.extend([0xC7, 0x47, 0x50, 0, 0, 0, 0]); // mov dword [rdi + 0x50], 0
    absolute(&mut code, &[0x66, 0x39, 0x0C, 0x25], USED + 2); // cmp [USED + 2], cx
    code.extend([0x75, 0xF6]); // jne to the cmp
    code.extend([0x81, 0xF9]); // cmp ecx, halt_after
    code.extend(halt_after.to_le_bytes());
    code.extend([0x74, 2]); // je to the hlt
    let back = -(code.len() as i8 + 2 - top as i8);
    code.extend([0xEB, back as u8, 0xF4]); // jmp top; hlt
    code.resize((TABLE - 0x10_0000) as usize, 0);
    for (address, length, flags, next) in [
        (HEADER, 16u32, 1u16, 1u16),
        (DATA, 4096, 1, 2),
        (STATUS, 1, 2, 0),
    ] {
        code.extend(u64::from(address).to_le_bytes());
        code.extend(length.to_le_bytes());
        code.extend([flags.to_le_bytes(), next.to_le_bytes()].concat());
    }
    code.resize((HEADER - 0x10_0000) as usize, 0);
    code.push(1); // VIRTIO_BLK_T_OUT
    code.resize((DATA - 0x10_0000) as usize + 0x1000, 0);
    tiny_kernel(&code)
}
